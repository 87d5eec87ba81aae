// Decode: packed codes and a codebook to weights, tile by tile through Wasm memory.
import { bitsForLevels, type Coding, decodeGrouping, type Grouping } from "./codebook.ts";
import type { DecodeScope } from "./wasm/decode.ts";

/** How values were rounded to the tensor's dtype: 0 float32, 1 float16, 2 bfloat16. As kernels number them. */
export type RoundFormat = 0 | 1 | 2;

// 16,384 weights are 64 kB of float32: written by the kernel and copied out again while they are in the cache.
const TILE = 16384;
// Codebooks prepared at once take at most this much Wasm memory.
const CODEBOOK_BYTES = 4 << 20;

/** Decodes a stretch of one tensor at a time. Reserve, use and release within one synchronous call of the owner. */
export class TileDecoder {
  readonly #scope: DecodeScope;
  readonly #coding: Coding;
  readonly #grouping: Grouping;
  readonly #bits: number;
  readonly #format: RoundFormat;
  readonly #packed: number;
  readonly #codes: number;
  readonly #values: number;
  readonly #shared: number;
  readonly #codebooks: number;
  readonly #all: boolean;
  /** Most weights a `tile` call takes; a multiple of 8. */
  readonly tileSize: number;

  constructor(scope: DecodeScope, coding: Coding, format: RoundFormat) {
    this.#scope = scope;
    this.#coding = coding;
    this.#format = format;
    this.#bits = bitsForLevels(coding.levels);
    this.#grouping = decodeGrouping(coding);
    const { groups, inner } = this.#grouping;
    const most = Math.max(8, Math.floor(CODEBOOK_BYTES / (coding.levels * 4)));
    this.#all = groups <= most;
    this.tileSize = this.#all ? TILE : Math.min(TILE, (most - 1) * inner) & ~7;
    const held = this.#all ? groups : Math.min(groups, Math.ceil(this.tileSize / inner) + 1);
    this.#packed = scope.reserve(TILE);
    this.#codes = scope.reserve(TILE);
    this.#values = scope.reserve(TILE * 4);
    this.#shared = scope.reserve(1024);
    // 1 KiB behind: a corrupt code reads there, not outside
    this.#codebooks = scope.reserve(held * coding.levels * 4 + 1024);
    if (this.#all) this.#prepare(0, groups);
  }

  #prepare(first: number, count: number): void {
    const { codebook, levels, scale } = this.#coding;
    const { groups } = this.#grouping;
    const size = levels * 4;
    if (scale) this.#scope.f32(this.#shared, levels).set(codebook);
    const target = this.#scope.f32(this.#codebooks, count * levels);
    for (let j = 0; j < count; j++) {
      const group = (first + j) % groups;
      if (scale) {
        const factor = scale.values[group] as number;
        this.#scope.kernels.scaleCodebook(this.#codebooks + j * size, this.#shared, levels, factor, this.#format);
      } else {
        target.set(codebook.subarray(group * levels, (group + 1) * levels), j * levels);
      }
    }
  }

  /** Decodes weights `start` to `start + count` (start a multiple of 8, count at most `tileSize`); a pointer to float32. */
  tile(packed: Uint8Array, start: number, count: number): number {
    const { kernels } = this.#scope;
    const { groups, inner } = this.#grouping;
    const { levels } = this.#coding;
    this.#scope.u8(this.#packed, packed.length).set(packed);
    if (groups === 1 && this.#bits === 4) {
      kernels.decode4(this.#values, this.#packed, count, this.#codebooks);
      return this.#values;
    }
    kernels.unpack(this.#codes, this.#packed, count, this.#bits);
    if (groups === 1) {
      kernels.lookup32(this.#values, this.#codes, count, this.#codebooks, levels);
      return this.#values;
    }
    let first = start % (groups * inner);
    let period = groups;
    if (!this.#all) {
      const group = Math.floor(first / inner);
      first -= group * inner;
      this.#prepare(group, Math.ceil((first + count) / inner));
      period = -1; // as unsigned: never wraps
    }
    kernels.lookupRuns(this.#values, this.#codes, count, this.#codebooks, levels, inner, period, first);
    return this.#values;
  }
}

/** All of `coding.codes` to `out` (Float32Array, element count of the shape). */
export function decodeInto(
  scope: DecodeScope,
  coding: Coding & { readonly codes: Uint8Array },
  format: RoundFormat,
  out: Float32Array,
): void {
  const mark = scope.mark();
  try {
    const bits = bitsForLevels(coding.levels);
    const decoder = new TileDecoder(scope, coding, format);
    for (let start = 0; start < out.length; start += decoder.tileSize) {
      const count = Math.min(decoder.tileSize, out.length - start);
      const bytes = coding.codes.subarray((start * bits) / 8, Math.ceil(((start + count) * bits) / 8));
      out.set(scope.f32(decoder.tile(bytes, start, count), count), start);
    }
  } finally {
    scope.release(mark);
  }
}
