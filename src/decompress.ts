// Decompress: a container to a file of the original's format and dtypes.
import { type FileOptions, writings } from "./compress.ts";
import { type CodedTensor, isCoded, MODEL_NAME, roundFormat } from "./container/coding.ts";
import { type Container, find, openContainer } from "./container/reader.ts";
import { oddness, type SafeTensor, safetensorsHead } from "./container/safetensors.ts";
import { inflated, inflatedBytes, MODEL_KEY } from "./container/skeleton.ts";
import { malformed, WlqError } from "./error.ts";
import type { OutputFiles } from "./formats/format.ts";
import { copySegment, type LazySegment, type Segment } from "./io/segment.ts";
import { checkAborted, type Sink, writeAll } from "./io/sink.ts";
import { type ByteSource, byteSource, type Source } from "./io/source.ts";
import { countElements, dtypeBits, type FloatDtype } from "./tensor.ts";
import { type DecodeScope, decodeBinary, decodeScope } from "./wasm/decode.ts";
import { load } from "./wasm/kernel.ts";

/** What a decompression did. */
export interface DecompressReport {
  readonly format: string;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly seconds: number;
}

/**
 * Restores a model file from a container: same format, dtypes and tensors, quantized values.
 *
 * @throws WlqError `checksum`, `malformed`, `truncated`, `unsupported` (not a container, or a format not handed in)
 */
export async function decompress(source: Source, sink: Sink, options: FileOptions = {}): Promise<DecompressReport> {
  const started = performance.now();
  try {
    await load(decodeBinary);
    const { signal, companion } = options;
    const input = byteSource(source);
    const container = await openContainer(input, decodeScope(), true);
    const files = await restore(container, options);
    const bytesOut = await writeAll(writings(sink, files, companion), signal);
    const { format } = container.header;
    return { format, bytesIn: input.byteLength, bytesOut, seconds: (performance.now() - started) / 1000 };
  } catch (error) {
    if (!sink.locked) await sink.abort(error).catch(() => {});
    throw error;
  }
}

/** The files that a container holds. */
export async function restore(container: Container, options: FileOptions): Promise<OutputFiles> {
  const { header } = container;
  // reading nothing still compares the header, which no other read may do where all tensors are empty
  await container.read(header.checksums, 0, 0);
  const { formats = [], onProgress, signal } = options;
  let done = 0;
  let total = 0;
  const coded = [...header.tensors.values()].filter(isCoded);
  for (const { shape } of coded) total += countElements(shape);
  const tell = (tensor: string, weights: number): void => {
    checkAborted(signal);
    done += weights;
    onProgress?.({ phase: "write", tensor, done, total });
  };
  const payloads = new Map<string, LazySegment>();
  for (const tensor of coded) payloads.set(tensor.name, decodedSegment(container, tensor, tensor.dtype, tell));
  if (header.format === "safetensors") return restoreSafetensors(container, payloads);
  const format = formats.find((f) => f.name === header.format);
  if (!format) {
    throw new WlqError(
      "unsupported",
      `the container holds a model of format "${header.format}": hand that format in (formats: […])`,
    );
  }
  const model = await format.open(await skeletonSource(container), { skeleton: true });
  const entries = new Map(model.tensors.map((t) => [t.name, t]));
  for (const { name, dtype, shape } of coded) {
    const entry = entries.get(name);
    if (entry?.dtype !== dtype || entry.shape.join() !== shape.join()) {
      throw malformed(name, `is ${dtype} [${shape}], in the model it was cut out of ${entry?.dtype} [${entry?.shape}]`);
    }
  }
  return model.dense(payloads);
}

// The skeleton is read in whole checksum tiles; a deflated one at once.
async function skeletonSource(container: Container): Promise<ByteSource> {
  const { byName, metadata } = container.header;
  const part = find(byName, MODEL_NAME);
  const { byteLength } = part;
  const bytes = inflatedBytes(metadata[MODEL_KEY]);
  if (bytes !== undefined) return byteSource(await inflated(await container.read(part), bytes));
  const tile = 65536;
  return {
    byteLength,
    async read(start, end) {
      if (end > byteLength) {
        throw new WlqError("truncated", `bytes ${start} to ${end} of the model are wanted, it has ${byteLength}`);
      }
      if (start === end) return new Uint8Array(0);
      const from = start - (start % tile);
      const bytes = await container.read(part, from, Math.min(byteLength, Math.ceil(end / tile) * tile));
      return bytes.subarray(start - from, end - from);
    },
  };
}

/** Tensors of the restored file with their sizes, in their order there. */
export function restoredOrder(container: Container): { tensor: SafeTensor | CodedTensor; byteLength: number }[] {
  // in file order: a coded tensor stands where its codebook does
  const place = (tensor: SafeTensor | CodedTensor) => (isCoded(tensor) ? tensor.parts[0] : tensor).offset;
  return [...container.header.tensors.values()]
    .sort((a, b) => place(a) - place(b))
    .map((tensor) => ({ tensor, byteLength: restoredBytes(tensor) }))
    .sort((a, b) => oddness(a.byteLength) - oddness(b.byteLength));
}

function restoredBytes(tensor: SafeTensor | CodedTensor): number {
  return isCoded(tensor) ? (countElements(tensor.shape) * dtypeBits(tensor.dtype)) / 8 : tensor.byteLength;
}

async function restoreSafetensors(container: Container, payloads: ReadonlyMap<string, Segment>): Promise<OutputFiles> {
  const { header } = container;
  const parts = restoredOrder(container).map(({ tensor, byteLength }) => {
    const { name, dtype, shape } = tensor;
    const content = isCoded(tensor)
      ? (payloads.get(name) as Segment)
      : copySegment({ read: (a, b) => container.read(tensor, a, b) }, 0, byteLength);
    return { name, dtype, shape, byteLength, content };
  });
  return { main: [safetensorsHead(parts, header.metadata), ...parts.map((p) => p.content)], companions: new Map() };
}

// Decoded values are handed on in stretches of this many bytes.
const CHUNK = 1_048_576;

/** A coded tensor's elements in `dtype`, its own or F32. */
export function decodedSegment(
  container: Container,
  tensor: CodedTensor,
  dtype: FloatDtype,
  tell?: (tensor: string, weights: number) => void,
): LazySegment {
  const { name, shape } = tensor;
  const byteLength = (countElements(shape) * dtypeBits(dtype)) / 8;
  return {
    byteLength,
    async *chunks() {
      let chunk = new Uint8Array(Math.min(CHUNK, byteLength));
      let filled = 0;
      for await (const { scope, values, count } of container.tiles(tensor)) {
        const bytes = inDtype(scope, dtype, values, count);
        if (filled + bytes.length > chunk.length) {
          yield chunk.subarray(0, filled);
          chunk = new Uint8Array(CHUNK);
          filled = 0;
        }
        chunk.set(bytes, filled);
        filled += bytes.length;
        tell?.(name, count);
      }
      if (filled > 0) yield chunk.subarray(0, filled);
    },
  };
}

/** Values in hand as bytes of a dtype; a view that dies with the next tile. */
function inDtype(scope: DecodeScope, dtype: string, values: number, count: number): Uint8Array {
  const format = roundFormat(dtype);
  if (format) scope.kernels.f32To16(values, values, count, format);
  else if (dtype === "F64") return new Uint8Array(new Float64Array(scope.f32(values, count)).buffer);
  else return scope.u8(values, count * 4);
  return scope.u8(values, count * 2);
}
