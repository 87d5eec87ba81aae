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
const CODEBOOK_BYTES = 4 << 20;

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
  readonly #totals: number;
  readonly #sums: number;
  readonly #scratch: number;
  readonly #weighted: number;
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
    this.tileSize = this.#all ? TILE : Math.min(TILE, (most - 1) * inner) & ~7;
    const held = this.#all ? groups : Math.min(groups, Math.ceil(this.tileSize / inner) + 1);
    this.weights = scope.reserve(TILE * 4);
    this.importance = weighted ? scope.reserve(TILE * 4) : 0;
    this.decoded = scope.reserve(TILE * 4);
    this.codes = scope.reserve(TILE);
    this.packed = scope.reserve(TILE);
    this.#shared = scope.reserve(1024);
    this.#codebooks = scope.reserve(held * levels * 4 + 1024);
    this.#thresholds = scope.reserve(held * padded * 4);
    this.#totals = scope.reserve(256 * 16);
    this.#sums = scope.reserve(24);
    this.#scratch = scope.reserve(257 * 64);
    this.#weighted = scope.reserve(16);
    scope.u8(this.#weighted, 16).fill(0);
    scope.u8(this.#totals, 256 * 16).fill(0);
    scope.u8(this.#sums, 24).fill(0);
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
    kernels.measure(this.#totals, this.#sums, this.weights, this.decoded, this.codes, count, levels, this.#scratch);
    if (this.importance) {
      kernels.measureWeighted(this.#weighted, this.weights, this.decoded, this.importance, count);
    }
  }

  /** Packs the tile's `count` codes to `packed`; returns the bytes. */
  pack(count: number): number {
    this.#scope.kernels.pack(this.packed, this.codes, count, this.#bits);
    return Math.ceil((count * this.#bits) / 8);
  }

  /** What all tiles cost so far. */
  stats(): QuantizationStats {
    const { levels, codebook, scale } = this.#coding;
    const { count } = this.#grouping;
    const totals = this.#scope.f64(this.#totals, 512);
    const counts = new Float64Array(levels);
    const errors = new Float64Array(levels);
    for (let c = 0; c < levels; c++) {
      counts[c] = totals[2 * c] as number;
      errors[c] = totals[2 * c + 1] as number;
    }
    const [squares = 0, worst = 0, decodedSquares = 0] = this.#scope.f64(this.#sums, 3);
    const tableBits = codebook.length * 32 + (scale ? scale.values.length * 16 : 0);
    const stats = statsOf(count, squares, decodedSquares, counts, errors, worst, this.#bits, tableBits);
    if (!this.importance) return stats;
    const [error = 0, signal = 0] = this.#scope.f64(this.#weighted, 2);
    return { ...stats, weighted: { error, signal, sqnrDb: sqnrOf(signal, error) } };
  }
}

/** Statistics from sums: of squared weights, per code counts and squared errors, and the largest squared error. */
function statsOf(
  count: number,
  squares: number,
  decodedSquares: number,
  counts: Float64Array,
  errors: Float64Array,
  worst: number,
  bits: number,
  tableBits: number,
): QuantizationStats {
  let error = 0;
  let entropy = 0;
  for (let c = 0; c < counts.length; c++) {
    error += errors[c] as number;
    const share = (counts[c] as number) / count;
    if (share > 0) entropy -= share * Math.log2(share);
  }
  return {
    count,
    sumSquares: squares,
    mse: count > 0 ? error / count : 0,
    sqnrDb: sqnrOf(squares, error),
    maxError: Math.sqrt(worst),
    // w.q = (w.w + q.q - e.e) / 2
    cosine: squares > 0 ? cosineOf(squares, decodedSquares, error) : 1,
    bitsPerWeight: count > 0 ? bits + tableBits / count : 0,
    tableBitsPerWeight: count > 0 ? tableBits / count : 0,
    entropyBits: entropy,
    counts,
    errors,
  };
}

function cosineOf(squares: number, decodedSquares: number, error: number): number {
  return decodedSquares > 0 ? (squares + decodedSquares - error) / (2 * Math.sqrt(squares * decodedSquares)) : 0;
}
