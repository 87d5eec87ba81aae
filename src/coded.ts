// Coded: a tensor whose codebook is found, as a stretch of output: codes or the values they stand for.
import { addCosts, costsOf, SPAN, TileCoder } from "./assign.ts";
import type { OutputError } from "./calibration.ts";
import { bitsForLevels, type Coding, packedBytes, type QuantizationStats } from "./codebook.ts";
import { roundFormat } from "./container/coding.ts";
import type { TensorEntry } from "./formats/format.ts";
import type { ImportanceTensor } from "./importance.ts";
import type { LazySegment } from "./io/segment.ts";
import { checkAborted } from "./io/sink.ts";
import { countElements, type FloatDtype } from "./tensor.ts";
import type { CodesByThreads, EntropyData, FoundByThreads } from "./threads.ts";
import type { EncodeScope } from "./wasm/encode.ts";
import { WeightReader } from "./weights.ts";

/** How the codes of one tensor are entropy-coded. */
export interface EntropyCode extends EntropyData {
  /** Its blocks, where they are held from when their sizes were found. */
  readonly kept?: readonly Uint8Array[] | undefined;
  /** All that is stored, and zeros behind that make codebook, scales and codes a multiple of 8 together. */
  segment(scope: EncodeScope, clustered: Clustered, signal: AbortSignal | undefined, tell: Tell): LazySegment;
}

/** Weights of one tensor that are stored exactly, beside their codes. */
export interface Outliers {
  /** How many. */
  readonly count: number;
  /** As they are stored: a multiple of 8 bytes. */
  readonly bytes: Uint8Array;
  /** Puts them into arrays of weights that begin at weight `start`. */
  put(start: number, ...values: Float32Array[]): void;
  /** Statistics that count what they take. */
  counted(stats: QuantizationStats): QuantizationStats;
}

/** A tensor whose codebook is found; statistics come with its codes. */
export interface Clustered {
  /** Its weights, 0 where outliers are. */
  readonly entry: TensorEntry;
  readonly coding: Coding;
  readonly outliers?: Outliers | undefined;
  readonly importance: ImportanceTensor | undefined;
  readonly output?: OutputError;
  /** Absent: codes are packed. */
  entropy?: EntropyCode | undefined;
  stats?: QuantizationStats;
  /** Where threads code it. */
  readonly threads?: FoundByThreads;
}

/** Weights `start` to `end` of a tensor, from one multiple of SPAN to another; `costs` gets what they cost. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
  readonly costs?: Float64Array[];
}

export type Tell = (tensor: string, weights: number) => void;

// Bytes of codes handed on at a time.
const CHUNK = 262_144;

/** Codes a tensor tile by tile, in order; `coder` has the tile. Tiles are of one size, a power of two, but for the last. */
export async function* codedTiles(
  scope: EncodeScope,
  clustered: Clustered,
  signal: AbortSignal | undefined,
  stretch?: Stretch,
): AsyncGenerator<{ readonly coder: TileCoder; readonly start: number; readonly count: number }, void, void> {
  const { entry, coding, importance, outliers } = clustered;
  const total = countElements(entry.shape);
  const { start: first, end: last, costs } = stretch ?? { start: 0, end: total };
  let sums: Float64Array | undefined;
  const mark = scope.mark();
  try {
    const dtype = entry.dtype as FloatDtype;
    const reader = new WeightReader(scope, entry, dtype);
    const weigher = importance && new WeightReader(scope, importance, importance.dtype);
    const coder = new TileCoder(scope, coding, roundFormat(dtype), weigher !== undefined);
    for (let start = first, end = first; start < last; start = end) {
      checkAborted(signal);
      end = Math.min(start + coder.tileSize, last);
      await reader.load(coder.weights, start, end);
      await weigher?.load(coder.importance, start, end);
      coder.tile(start, end - start, outliers?.put);
      yield { coder, start, count: end - start };
      if (end % SPAN > 0 && end < last) continue;
      const own = coder.takeSums();
      costs?.push(own);
      sums = addCosts(sums, own);
    }
    const stats = costsOf(coding, sums ?? coder.takeSums(), weigher !== undefined);
    clustered.stats = outliers ? outliers.counted(stats) : stats;
  } finally {
    scope.release(mark);
  }
}

/** A coded tensor as a stretch of output: packed codes, one byte a code, or values in the tensor's dtype. */
export function codedSegment(
  scope: EncodeScope,
  clustered: Clustered,
  kind: "packed" | "codes" | "dense",
  signal: AbortSignal | undefined,
  tell: Tell,
  stretch?: Stretch,
): LazySegment {
  const { entry, coding, threads } = clustered;
  const total = countElements(entry.shape);
  const bytes = packedBytes(total, bitsForLevels(coding.levels));
  const byteLength = kind === "packed" ? bytes : kind === "codes" ? total : entry.byteLength;
  return {
    byteLength,
    async *chunks() {
      if (threads) return yield* codesByThreads(clustered, threads.codes(kind), tell);
      const mark = scope.mark();
      try {
        // room for a tile of float64
        const dense = scope.reserve(kind === "dense" && entry.dtype !== "F32" ? CHUNK : 0);
        let chunk = new Uint8Array(Math.min(CHUNK, byteLength));
        let filled = 0;
        for await (const { coder, count } of codedTiles(scope, clustered, signal, stretch)) {
          let size = count;
          let at = coder.codes;
          if (kind === "packed") {
            size = coder.pack(count);
            at = coder.packed;
          } else if (kind === "dense") {
            size = (count * entry.byteLength) / total;
            at = toDtype(scope, entry.dtype as FloatDtype, dense, coder.decoded, count);
          }
          if (filled + size > chunk.length) {
            yield chunk.subarray(0, filled);
            chunk = new Uint8Array(Math.max(CHUNK, size));
            filled = 0;
          }
          chunk.set(scope.u8(at, size), filled);
          filled += size;
          tell(entry.name, count);
        }
        if (filled > 0) yield chunk.subarray(0, filled);
      } finally {
        scope.release(mark);
      }
    },
  };
}

/** The bytes that threads made of a tensor, which leave its statistics. */
export async function* codesByThreads(
  clustered: Clustered,
  codes: AsyncIterable<CodesByThreads>,
  tell: Tell,
): AsyncGenerator<Uint8Array, void, void> {
  let sums: Float64Array | undefined;
  for await (const { bytes, count, costs } of codes) {
    for (const own of costs) sums = addCosts(sums, own);
    tell(clustered.entry.name, count);
    yield bytes;
  }
  if (sums) clustered.stats = costsOf(clustered.coding, sums, clustered.importance !== undefined);
}

function toDtype(scope: EncodeScope, dtype: FloatDtype, target: number, values: number, count: number): number {
  if (dtype === "F32") return values;
  if (dtype === "F16") scope.kernels.f32ToF16(target, values, count);
  else if (dtype === "BF16") scope.kernels.f32ToBf16(target, values, count);
  else scope.kernels.f32ToF64(target, values, count);
  return target;
}
