// Freeze: the live weights of a layer frozen, checked and put back, a tile at a time.
import { TILE } from "../passes.ts";
import type { SlqScope } from "../wasm/slq.ts";
import type { Layer } from "./layer.ts";

/** Owns a tile of room in a kernel instance: weights, mask and codes. */
export class Freezer {
  readonly #slq: SlqScope;
  readonly #tile: number;
  readonly #mask: number;
  readonly #codes: number;
  readonly #codebook: number;
  readonly #freezes: number;

  constructor(slq: SlqScope) {
    this.#slq = slq;
    this.#tile = slq.reserve(TILE * 4);
    this.#mask = slq.reserve(TILE);
    this.#codes = slq.reserve(TILE);
    this.#codebook = slq.reserve(1024);
    this.#freezes = slq.reserve(256);
  }

  /** Freezes the weights whose code is marked in `freezes`; counts the free ones anew. */
  freeze(layer: Layer, freezes: Uint8Array): void {
    const slq = this.#slq;
    const { data, mask, codes, codebook } = layer;
    slq
      .u8(this.#freezes, 256)
      .fill(0)
      .set(freezes.map((f) => (f ? 255 : 0)));
    this.#putCodebook(codebook);
    let free = 0;
    for (let start = 0; start < data.length; start += TILE) {
      const count = this.#load(data, start, mask, codes);
      slq.kernels.freeze(this.#tile, this.#mask, this.#codes, count, this.#codebook, codebook.length, this.#freezes);
      free += slq.kernels.countFree(this.#mask, count);
      data.set(slq.f32(this.#tile, count), start);
      mask.set(slq.u8(this.#mask, count), start);
    }
    layer.free = free;
  }

  /** Freezes the weights whose magnitude is at least `limit`, or at most `limit` if `below`. */
  freezeBeyond(layer: Layer, limit: number, below: boolean): void {
    const slq = this.#slq;
    const { data, mask, codes, codebook } = layer;
    this.#putCodebook(codebook);
    let free = 0;
    for (let start = 0; start < data.length; start += TILE) {
      const count = this.#load(data, start, mask, codes);
      slq.kernels.freezeBeyond(this.#mask, this.#tile, count, limit, below ? 1 : 0);
      slq.kernels.snap(this.#tile, this.#mask, this.#codes, count, this.#codebook, codebook.length);
      free += slq.kernels.countFree(this.#mask, count);
      data.set(slq.f32(this.#tile, count), start);
      mask.set(slq.u8(this.#mask, count), start);
    }
    layer.free = free;
  }

  /** The codes that frozen weights have. */
  frozenCodes({ mask, codes }: Layer): number[] {
    const seen = new Uint8Array(256);
    for (let i = 0; i < codes.length; i++) if (mask[i] === 0) seen[codes[i] as number] = 1;
    return [...seen.keys()].filter((c) => seen[c]);
  }

  /** Puts frozen weights back; returns how many had moved. */
  snap({ data, mask, codes, codebook, free }: Layer): number {
    if (free === data.length) return 0;
    const slq = this.#slq;
    this.#putCodebook(codebook);
    let moved = 0;
    for (let start = 0; start < data.length; start += TILE) {
      const count = this.#load(data, start, mask, codes);
      const here = slq.kernels.snap(this.#tile, this.#mask, this.#codes, count, this.#codebook, codebook.length);
      if (here > 0) data.set(slq.f32(this.#tile, count), start);
      moved += here;
    }
    return moved;
  }

  /** Index of the first frozen weight that has other bits than its value; -1 if there is none. */
  firstMoved({ data, mask, codes, codebook, free }: Layer): number {
    if (free === data.length) return -1;
    const slq = this.#slq;
    this.#putCodebook(codebook);
    for (let start = 0; start < data.length; start += TILE) {
      const count = this.#load(data, start, mask, codes);
      const at = slq.kernels.firstMoved(this.#tile, this.#mask, this.#codes, count, this.#codebook, codebook.length);
      if (at < count) return start + at;
    }
    return -1;
  }

  // A tile of a layer to Wasm memory; returns its size.
  #load(data: Float32Array, start: number, mask: Uint8Array, codes: Uint8Array): number {
    const slq = this.#slq;
    const count = Math.min(TILE, data.length - start);
    slq.f32(this.#tile, count).set(data.subarray(start, start + count));
    slq.u8(this.#mask, count).set(mask.subarray(start, start + count));
    slq.u8(this.#codes, count).set(codes.subarray(start, start + count));
    return count;
  }

  #putCodebook(codebook: Float32Array): void {
    this.#slq.f32(this.#codebook, 256).fill(0).set(codebook);
  }
}
