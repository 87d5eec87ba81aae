// Weights of a model file: raw bytes of a tensor to float32 in Wasm memory, in the stretches that passes wish for.
import { groupLength, type Wish } from "./cluster.ts";
import type { Grouping } from "./codebook.ts";
import type { FloatDtype } from "./tensor.ts";
import { DTYPE_BITS } from "./tensor.ts";
import type { EncodeScope } from "./wasm/encode.ts";

// A tensor of up to this many bytes is read once and kept while it is worked on.
const KEEP_BYTES = 16 << 20;
// Read ahead where reads follow each other.
const AHEAD_BYTES = 4 << 20;
// Weights converted at a time.
const STAGE = 65536;

/** Reads one float tensor. Owned by one operation; reads follow each other. */
export class WeightReader {
  readonly #scope: EncodeScope;
  readonly #entry: { readonly byteLength: number; read(start: number, end: number): Promise<Uint8Array> };
  readonly #dtype: FloatDtype;
  readonly #width: number;
  #kept: Uint8Array = new Uint8Array(0);
  #keptFrom = 0;
  #lastEnd = 0;

  constructor(
    scope: EncodeScope,
    entry: { readonly byteLength: number; read(start: number, end: number): Promise<Uint8Array> },
    dtype: FloatDtype,
  ) {
    this.#scope = scope;
    this.#entry = entry;
    this.#dtype = dtype;
    this.#width = DTYPE_BITS[dtype] / 8;
  }

  /** Weights `start` to `end` in row-major order, as float32 at `target`. */
  async load(target: number, start: number, end: number): Promise<void> {
    for (let at = start; at < end; at += STAGE) {
      const to = Math.min(end, at + STAGE);
      const bytes = await this.#bytes(at * this.#width, to * this.#width);
      this.#convert(target + (at - start) * 4, bytes, to - at);
    }
  }

  /** Fulfils a wish of a clustering pass. */
  async fulfil(wish: Wish, grouping: Grouping): Promise<void> {
    const { first, last, start, end, weights } = wish;
    const { inner, outer, groups, count } = grouping;
    if (outer === 1) {
      await this.load(weights, first * inner + start, Math.min(count, (last - 1) * inner + end));
      return;
    }
    const wanted = last - first;
    if (start === 0 && end === groupLength(grouping, first)) {
      // whole channels: rows of them as they lie, then one stretch a channel
      const mark = this.#scope.mark();
      const rows = this.#scope.reserve(wanted * outer * inner * 4);
      if (wanted === groups) await this.load(rows, 0, count);
      else {
        for (let o = 0; o < outer; o++) {
          const from = (o * groups + first) * inner;
          await this.load(rows + o * wanted * inner * 4, from, from + wanted * inner);
        }
      }
      this.#scope.kernels.gather(weights, rows, outer, wanted, inner);
      this.#scope.release(mark);
      return;
    }
    // a stretch of one very long channel, piece by piece
    for (let e = start; e < end; ) {
      const o = Math.floor(e / inner);
      const run = Math.min(end, (o + 1) * inner) - e;
      const from = (o * groups + first) * inner + (e - o * inner);
      await this.load(weights + (e - start) * 4, from, from + run);
      e += run;
    }
  }

  async #bytes(start: number, end: number): Promise<Uint8Array> {
    const { byteLength } = this.#entry;
    if (start < this.#keptFrom || end > this.#keptFrom + this.#kept.length) {
      let from = start;
      let to = end;
      if (byteLength <= KEEP_BYTES) {
        from = 0;
        to = byteLength;
      } else if (start === this.#lastEnd || start === 0) {
        to = Math.min(byteLength, Math.max(end, start + AHEAD_BYTES));
      }
      this.#kept = await this.#entry.read(from, to);
      this.#keptFrom = from;
    }
    this.#lastEnd = end;
    return this.#kept.subarray(start - this.#keptFrom, end - this.#keptFrom);
  }

  #convert(target: number, bytes: Uint8Array, count: number): void {
    const scope = this.#scope;
    if (this.#dtype === "F32") {
      scope.u8(target, bytes.length).set(bytes);
      return;
    }
    const mark = scope.mark();
    const raw = scope.reserve(bytes.length);
    scope.u8(raw, bytes.length).set(bytes);
    if (this.#dtype === "F16") scope.kernels.f16ToF32(target, raw, count);
    else if (this.#dtype === "BF16") scope.kernels.bf16ToF32(target, raw, count);
    else scope.kernels.f64ToF32(target, raw, count);
    scope.release(mark);
  }
}
