// Compress from a stream to a stream: a safetensors model whose tensors are in memory one at a time.
import { bitsForLevels, type Coding, packedBytes } from "./codebook.ts";
import { type Clustered, codedSegment } from "./coded.ts";
import { type CompressOptions, cluster, reportOf, tensorReport } from "./compress.ts";
import { isContainer } from "./container/coding.ts";
import { oddness, readSafetensors } from "./container/safetensors.ts";
import { containerSegments } from "./container/writer.ts";
import { WlqError } from "./error.ts";
import type { TensorEntry } from "./formats/format.ts";
import { safetensorsModel } from "./formats/safetensors.ts";
import type { Inlet } from "./io/inlet.ts";
import { type LazySegment, segmentChunks } from "./io/segment.ts";
import { checkBuffer, type StreamPair, through } from "./io/through.ts";
import { oneOf } from "./options.ts";
import type { Report } from "./report.ts";
import { countElements, type FloatDtype } from "./tensor.ts";
import { encodeBinary, encodeScope } from "./wasm/encode.ts";
import { loadWork } from "./wasm/work.ts";
import { type Work, workOn } from "./work.ts";

export interface CompressStreamOptions
  extends Omit<CompressOptions, "to" | "formats" | "resolve" | "companion" | "nonFinite" | "entropy" | "calibration"> {
  /** `container` (default) or `dense`. */
  readonly to?: "container" | "dense";
  /**
   * Most bytes of the input held at once, 512 MiB by default: the largest tensor that is quantized, and tensors of a size
   * that is no multiple of 8, which a container has at its end. A model that needs more is refused when its header is read.
   */
  readonly maxBuffer?: number;
}

/** The two ends of a compression, and what became of the model once all is written. */
export interface CompressStream extends StreamPair {
  /** Fails with the stream. */
  readonly report: Promise<Report>;
}

/**
 * Compresses a safetensors model on its way: `body.pipeThrough(compressStream()).pipeTo(sink)`. The result has the bytes
 * that {@link compress} with `entropy: "none"` gives, since entropy-coded sizes are known too late. A tensor's codebook needs all of the tensor, so one is held in memory at a time; other
 * formats, and a NaN or infinity in a weight, are refused, since the header is written before they are seen.
 *
 * @throws the streams fail with WlqError; RangeError and TypeError for wrong options
 */
export function compressStream(options: CompressStreamOptions = {}): CompressStream {
  for (const key of ["formats", "resolve", "companion", "nonFinite", "entropy", "calibration"]) {
    if (key in options) throw new RangeError(`compressStream has no option ${key}: use compress with random access`);
  }
  const { to = "container" } = options;
  oneOf("to", to, ["container", "dense"]);
  let settle: { resolve(report: Report): void; reject(reason: unknown): void };
  const report = new Promise<Report>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // who does not ask for it need not hear of its failure
  report.catch(() => {});
  const pair = through(
    (inlet) => chunksOf(inlet, { ...options, to }, (value) => settle.resolve(value)),
    options.signal,
    (reason) => settle.reject(reason),
  );
  return { ...pair, report };
}

/** Throws `unsupported` for what cannot be safetensors; `instead` says what to use then. The header can be read after it. */
export async function checkStream(inlet: Inlet, instead: string): Promise<void> {
  inlet.keep([{ start: 0, end: 8, once: false }]);
  const head = await inlet.read(0, 8);
  // other formats do not begin with so small a number
  if (new DataView(head.slice().buffer).getBigUint64(0, true) > 2n ** 40n) {
    throw new WlqError(
      "unsupported",
      `the stream is not safetensors; for other formats use ${instead} with random access`,
    );
  }
}

async function* chunksOf(
  inlet: Inlet,
  options: CompressStreamOptions & { readonly to: "container" | "dense" },
  done: (report: Report) => void,
): AsyncGenerator<Uint8Array, void, void> {
  const started = performance.now();
  if (!encodeBinary.ready) await loadWork(encodeBinary);
  const { onProgress, signal, to, maxBuffer = 2 ** 29, ...select } = options;
  await checkStream(inlet, "compress");
  const header = await readSafetensors(inlet);
  if (isContainer(header)) {
    throw new WlqError("already-compressed", "this stream is a wlq container already: decompress it first");
  }
  const model = safetensorsModel(header, inlet);
  const { work, kept, importance, warnings } = await workOn(model, to, select);
  for (const { entry, plan, outliers } of work) {
    const late = outliers ? "outliers take bytes" : plan.cluster.method === "ecsq" && 'method "ecsq" finds levels';
    if (!late) continue;
    const why = `${late} that the header of a stream tells before they are known: use compress`;
    throw new WlqError("unsupported", `tensor "${entry.name}": ${why}`, { tensor: entry.name });
  }
  const place = new Map([...header.tensors.values()].map((t) => [t.name, t.offset]));
  keepWhatWaits(inlet, model.tensors, work, place, to, maxBuffer);

  const total = 2 * work.reduce((sum, { entry }) => sum + countElements(entry.shape), 0);
  let weights = 0;
  const progress = (phase: "cluster" | "write", tensor: string, count: number) => {
    weights += count;
    onProgress?.({ phase, tensor, done: weights, total });
  };
  const scope = encodeScope();
  const clustered = new Map<string, Clustered>();
  const find = async ({ entry, plan }: Work): Promise<Coding> => {
    const known = clustered.get(entry.name);
    if (known) return known.coding;
    progress("cluster", entry.name, 0);
    const item = await cluster(scope, entry, plan, importance?.(entry), signal).catch((error: unknown) => {
      throw error instanceof WlqError && error.code === "non-finite" ? nonFinite(entry.name, error) : error;
    });
    clustered.set(entry.name, item);
    progress("cluster", entry.name, countElements(entry.shape));
    return item.coding;
  };
  const written = (tensor: string, count: number) => progress("write", tensor, count);
  const coded = work.map((item) => {
    const { entry, plan } = item;
    const count = countElements(entry.shape);
    const codes: LazySegment = {
      byteLength: to === "dense" ? entry.byteLength : packedBytes(count, bitsForLevels(plan.levels)),
      async *chunks() {
        await find(item);
        const kind = to === "dense" ? "dense" : "packed";
        yield* codedSegment(scope, clustered.get(entry.name) as Clustered, kind, signal, written).chunks();
        inlet.release(place.get(entry.name) as number);
      },
    };
    return { name: entry.name, dtype: entry.dtype as FloatDtype, layout: plan, coding: () => find(item), codes };
  });
  const sizes = new Map<string, number>();
  const segments =
    to === "dense"
      ? (await model.dense(new Map(coded.map((c) => [c.name, c.codes])))).main
      : await containerSegments(scope, model, coded, sizes, false);
  let bytesOut = 0;
  for await (const chunk of segmentChunks(segments)) {
    bytesOut += chunk.length;
    yield chunk;
  }
  const bytesIn = 8 + header.bytes.length + model.tensors.reduce((sum, t) => sum + t.byteLength, 0);
  await inlet.end(bytesIn);
  const tensors = model.tensors.map((entry) => tensorReport(entry, clustered.get(entry.name), sizes, kept));
  done(reportOf({ format: model.format, to, bytesIn, bytesOut, tensors, warnings }, started));
}

/** Quantized tensors are held while they are worked on; a container has odd-sized others at its end, where they wait for. */
function keepWhatWaits(
  inlet: Inlet,
  tensors: readonly TensorEntry[],
  work: readonly Work[],
  place: ReadonlyMap<string, number>,
  to: "container" | "dense",
  maxBuffer: number,
): void {
  const names = new Set(work.map(({ entry }) => entry.name));
  const rank = (t: TensorEntry): number => (to === "dense" || names.has(t.name) ? 0 : oddness(t.byteLength));
  const stretches = tensors
    .map((t) => ({ t, start: place.get(t.name) as number }))
    .filter(({ t }) => names.has(t.name) || rank(t) > 0)
    .map(({ t, start }) => ({ start, end: start + t.byteLength, once: !names.has(t.name) }));
  let largest = 0;
  let others = 0;
  for (const { start, end, once } of stretches) {
    if (once) others += end - start;
    else largest = Math.max(largest, end - start);
  }
  checkBuffer(largest + others, maxBuffer, "compress");
  inlet.keep(stretches);
}

function nonFinite(tensor: string, cause: WlqError): WlqError {
  const advice = "a stream's header is written before the weights are seen: exclude the tensor, or use compress";
  return new WlqError("non-finite", `tensor "${tensor}": ${cause.message}; ${advice}`, { tensor, cause });
}
