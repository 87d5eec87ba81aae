// Assign: weights to codes, tile by tile, with what it costs; thresholds, codebooks and sums live here.
import {
  bitsForLevels,
  type Coding,
  decodeGrouping,
  type Grouping,
  MOST_GROUPS,
  type QuantizationStats,
  runPlace,
  sqnrOf,
} from "./codebook.ts";
import type { RoundFormat } from "./tensor.ts";
import type { EncodeScope } from "./wasm/encode.ts";

// The order of sums follows these tiles, so their size is part of what "same bytes everywhere" means for the report.
const TILE = 32768;
/** Stretches of a tensor that threads code by themselves begin at multiples of this; tiles divide it. */
export const SPAN: number = 1_048_576;
const CODEBOOK_BYTES = 4 << 20;
// Sum of squares, largest squared error, sum of decoded squares; weighted error and signal; 256 codes' counts and errors.
const SUMS = 518;
// Where among the sums the largest squared error is, which is no sum.
const WORST = 1;

/** Codes one tensor, a tile at a time: put weights at `weights`, call `tile`, take `codes`, `decoded` or `packed`. */
export class TileCoder {
  readonly #scope: EncodeScope;
  readonly #coding: Coding;
  readonly #format: RoundFormat;
  readonly #grouping: Grouping;
  readonly #bits: number;
  readonly #stride: number;
  readonly #all: boolean;
  readonly #shared: number;
  readonly #codebooks: number;
  readonly #thresholds: number;
  readonly #sums: number;
  readonly #scratch: number;
  /** Most weights a tile; a multiple of 8. */
  readonly tileSize: number;
  /** Where `tile` reads float32 weights. */
  readonly weights: number;
  /** Where `tile` reads float32 importance; 0 where every weight counts the same. */
  readonly importance: number;
  /** Where `tile` leaves one byte a code. */
  readonly codes: number;
  /** Where `tile` leaves the values that the codes stand for, float32. */
  readonly decoded: number;
  /** Where `pack` leaves the packed codes. */
  readonly packed: number;

  constructor(scope: EncodeScope, coding: Coding, format: RoundFormat, weighted = false) {
    this.#scope = scope;
    this.#coding = coding;
    this.#format = format;
    this.#bits = bitsForLevels(coding.levels);
    this.#grouping = decodeGrouping(coding);
    const { groups, inner } = this.#grouping;
    const { levels } = coding;
    this.#stride = 1 << this.#bits;
    // a single codebook is padded for the 256-entry search
    const padded = groups === 1 ? 256 : this.#stride;
    const most = Math.min(MOST_GROUPS, Math.max(8, Math.floor(CODEBOOK_BYTES / ((levels + padded) * 4))));
    this.#all = groups <= most;
    // a power of two, which divides spans and blocks of the entropy coder
    this.tileSize = this.#all ? TILE : 1 << (31 - Math.clz32(Math.min(TILE, most * inner)));
    const held = this.#all ? groups : Math.min(groups, Math.ceil(this.tileSize / inner) + 1);
    this.weights = scope.reserve(TILE * 4);
    this.importance = weighted ? scope.reserve(TILE * 4) : 0;
    this.decoded = scope.reserve(TILE * 4);
    this.codes = scope.reserve(TILE);
    this.packed = scope.reserve(TILE);
    this.#shared = scope.reserve(1024);
    this.#codebooks = scope.reserve(held * levels * 4 + 1024);
    this.#thresholds = scope.reserve(held * padded * 4);
    this.#sums = scope.reserve(SUMS * 8);
    this.#scratch = scope.reserve(257 * 64);
    scope.f64(this.#sums, SUMS).fill(0);
    if (this.#all) this.#prepare(0, groups, padded);
  }

  #prepare(first: number, count: number, padded: number): void {
    const { kernels } = this.#scope;
    const { codebook, thresholds, levels, scale } = this.#coding;
    const { groups } = this.#grouping;
    if (scale) this.#scope.f32(this.#shared, levels).set(codebook);
    const target = this.#scope.f32(this.#codebooks, count * levels);
    for (let j = 0; j < count; j++) {
      const group = (first + j) % groups;
      const own = this.#codebooks + j * levels * 4;
      const factor = scale?.values[group] as number;
      if (scale) {
        kernels.scaleCodebook(own, this.#shared, levels, factor, this.#format);
      } else {
        target.set(codebook.subarray(group * levels, (group + 1) * levels), j * levels);
      }
      const limits = this.#thresholds + j * padded * 4;
      kernels.thresholds(limits, own, levels, padded);
      if (!thresholds) continue;
      const from = scale ? 0 : group * (levels - 1);
      this.#scope.f32(limits, levels - 1).set(thresholds.subarray(from, from + levels - 1));
      // a group of zeros, whose scale is 0, keeps the code of zero
      if (scale && factor > 0) kernels.scaleCodebook(limits, limits, levels - 1, factor, 0);
    }
  }

  /**
   * Codes the `count` weights at `weights`, which begin at element `start` (a multiple of 8), and adds up their cost.
   * Before that, `exact` puts outliers among the weights and among what they decode to.
   */
  tile(start: number, count: number, exact?: (start: number, ...values: Float32Array[]) => void): void {
    const { kernels } = this.#scope;
    const { groups, inner } = this.#grouping;
    const { levels, chosen } = this.#coding;
    if (chosen) this.#scope.u8(this.codes, count).set(chosen.subarray(start, start + count));
    if (groups === 1) {
      if (!chosen) kernels.assign(this.codes, this.weights, count, this.#thresholds, levels, 128, this.#scratch);
      kernels.lookup32(this.decoded, this.codes, count, this.#codebooks, levels, false);
    } else {
      let first = start % (groups * inner);
      let period = groups;
      if (!this.#all) {
        const group = Math.floor(first / inner);
        first -= group * inner;
        this.#prepare(group, Math.ceil((first + count) / inner), this.#stride);
        period = -1; // as unsigned: never wraps
      }
      const at = runPlace(inner, first);
      if (!chosen) {
        kernels.assignRuns(
          this.codes,
          this.weights,
          count,
          this.#thresholds,
          levels,
          this.#stride,
          at.inner,
          period,
          at.first,
          this.#scratch,
        );
      }
      kernels.lookupRuns(this.decoded, this.codes, count, this.#codebooks, levels, at.inner, period, at.first);
    }
    exact?.(start, this.#scope.f32(this.weights, count), this.#scope.f32(this.decoded, count));
    kernels.measure(this.#sums + 48, this.#sums, this.weights, this.decoded, this.codes, count, levels, this.#scratch);
    if (this.importance) {
      kernels.measureWeighted(this.#sums + 24, this.weights, this.decoded, this.importance, count);
    }
  }

  /** Packs the tile's `count` codes to `packed`; returns the bytes. */
  pack(count: number): number {
    this.#scope.kernels.pack(this.packed, this.codes, count, this.#bits);
    return Math.ceil((count * this.#bits) / 8);
  }

  /** What tiles cost since the last call, as sums. */
  takeSums(): Float64Array {
    const sums = this.#scope.f64(this.#sums, SUMS);
    const taken = sums.slice();
    sums.fill(0);
    return taken;
  }
}

/** Adds what other tiles cost to `total`, or begins with it. */
export function addCosts(total: Float64Array | undefined, sums: Float64Array): Float64Array {
  return total ? total.map((x, i) => (i === WORST ? Math.max(x, sums[i] as number) : x + (sums[i] as number))) : sums;
}

/** The statistics that sums of {@link TileCoder.takeSums}, added up, stand for. */
export function costsOf(coding: Coding, sums: Float64Array, weighted: boolean): QuantizationStats {
  const { levels, codebook, scale } = coding;
  const { count } = decodeGrouping(coding);
  const [squares = 0, worst = 0, decodedSquares = 0, weightedError = 0, signal = 0] = sums;
  const counts = new Float64Array(levels);
  const errors = new Float64Array(levels);
  const mean = (sum: number): number => (count > 0 ? sum / count : 0);
  let error = 0;
  let entropy = 0;
  for (let c = 0; c < levels; c++) {
    counts[c] = sums[6 + 2 * c] as number;
    errors[c] = sums[7 + 2 * c] as number;
    error += errors[c] as number;
    const share = mean(counts[c] as number);
    if (share > 0) entropy -= share * Math.log2(share);
  }
  const tableBits = codebook.length * 32 + (scale ? scale.values.length * 16 : 0);
  return {
    count,
    sumSquares: squares,
    mse: mean(error),
    sqnrDb: sqnrOf(squares, error),
    maxError: Math.sqrt(worst),
    // w.q = (w.w + q.q - e.e) / 2
    cosine:
      squares > 0
        ? decodedSquares > 0
          ? (squares + decodedSquares - error) / (2 * Math.sqrt(squares * decodedSquares))
          : 0
        : 1,
    bitsPerWeight: mean(count) * bitsForLevels(levels) + mean(tableBits),
    tableBitsPerWeight: mean(tableBits),
    entropyBits: entropy,
    counts,
    errors,
    ...(weighted && { weighted: { error: weightedError, signal, sqnrDb: sqnrOf(signal, weightedError) } }),
  };
}
