// The Caffe format: the blobs of a .caffemodel as tensors, and the file rewritten around them.
import type { Segment } from "../io/segment.ts";
import type { ByteSource } from "../io/source.ts";
import type { BlobPayload } from "./caffe-blob.ts";
import { caffeError, openBlob } from "./caffe-blob.ts";
import { looksLikeCaffe } from "./caffe-detect.ts";
import { readNet } from "./caffe-net.ts";
import { roleOf } from "./caffe-roles.ts";
import type { Format, Model, OpenOptions, TensorEntry } from "./format.ts";
import { splice } from "./protobuf.ts";

/** A model opened here. */
export interface CaffeModel extends Model {
  skeleton(omit: ReadonlySet<string>): Promise<readonly Segment[]>;
}

/** The Caffe format, with what its models have beyond others. */
export interface CaffeFormat extends Format {
  open(source: ByteSource, options: OpenOptions): Promise<CaffeModel>;
}

interface Stored {
  readonly entry: TensorEntry;
  readonly payload: BlobPayload;
}

/**
 * The Caffe format (`.caffemodel`, a binary NetParameter), for `compress(…, { formats: [caffe()] })`.
 *
 * Reads `layer`, V1 `layers` and V0 layers inside them. A tensor is `<layer>.weight` and `<layer>.bias` for
 * convolutions, inner products and embeddings, else `<layer>.blob<i>`; a name that is taken gets `~1`. Payloads are
 * read in ranges and never held; all that is not replaced is copied byte for byte.
 */
export function caffe(): CaffeFormat {
  return { name: "caffe", detect: looksLikeCaffe, open };
}

async function open(source: ByteSource, { skeleton = false }: OpenOptions): Promise<CaffeModel> {
  const stored: Stored[] = [];
  const unique = uniqueNames();
  for (const layer of await readNet(source)) {
    for (const [index, blob] of layer.blobs.entries()) {
      const role = roleOf(layer, index, blob.legacy ?? blob.dims ?? []);
      const name = unique(`${layer.name}.${role.suffix}`);
      const payload = openBlob(source, blob, name, skeleton);
      if (payload) stored.push({ entry: entryOf(name, payload, role.weight, role.axis), payload });
    }
  }
  return {
    format: "caffe",
    tensors: stored.map(({ entry }) => entry),
    warnings: [],
    async dense(payloads) {
      checkNames(stored, payloads.keys(), payloads);
      const edits = stored.flatMap(({ entry, payload }) => {
        const bytes = payloads.get(entry.name);
        if (!bytes && payload.isAbsent) throw missing(entry.name);
        return bytes ? payload.edits(bytes) : [];
      });
      return { main: splice(source, edits), companions: new Map() };
    },
    async skeleton(omit) {
      checkNames(stored, omit);
      return splice(
        source,
        stored.flatMap(({ entry, payload }) => (omit.has(entry.name) ? payload.edits(undefined) : [])),
      );
    },
  };
}

function entryOf(name: string, payload: BlobPayload, weight: boolean, axis: number): TensorEntry {
  const { dtype, shape, byteLength } = payload;
  return {
    name,
    dtype,
    shape,
    byteLength,
    axis,
    weight,
    async read(start, end) {
      if (payload.isAbsent) throw missing(name);
      if (start < 0 || end < start || end > byteLength) {
        throw new RangeError(`bytes ${start} to ${end} of tensor "${name}" are wanted, it has ${byteLength}`);
      }
      return payload.read(start, end);
    },
  };
}

/** Gives a name back, or with `~1`, `~2` … where it was given before. */
function uniqueNames(): (name: string) => string {
  const taken = new Map<string, number>();
  return (wanted) => {
    let name = wanted;
    // Where the last clash ended, so that thousands of equal names do not each begin at ~1.
    let n = taken.get(wanted) ?? 0;
    for (; taken.has(name); name = `${wanted}~${n}`) n++;
    taken.set(wanted, n);
    taken.set(name, taken.get(name) ?? 0);
    return name;
  };
}

function missing(name: string): Error {
  return caffeError("not-found", name, "its payload was left out of this skeleton and is not given");
}

function checkNames(stored: readonly Stored[], names: Iterable<string>, payloads?: ReadonlyMap<string, Segment>): void {
  const sizes = new Map(stored.map(({ entry }) => [entry.name, entry.byteLength]));
  for (const name of names) {
    const size = sizes.get(name);
    const given = payloads?.get(name)?.byteLength ?? size;
    if (size === undefined) throw caffeError("not-found", name, "the model has no such tensor");
    if (given !== size) throw caffeError("malformed", name, `it has ${size} bytes, its new payload ${given}`);
  }
}
