// Weights of a model file: raw bytes of a tensor to float32 in Wasm memory, in the stretches that passes wish for.
import { takeChannels } from "./channels.ts";
import type { Grouping } from "./codebook.ts";
import { WlqError } from "./error.ts";
import type { Place } from "./io/place.ts";
import type { Wish } from "./passes.ts";
import { countElements, dtypeBits, type FloatDtype } from "./tensor.ts";
import type { EncodeScope } from "./wasm/encode.ts";

// A tensor of up to this many bytes is read once and kept while it is worked on.
const KEEP_BYTES = 16_777_216;
// Read ahead where reads follow each other.
const AHEAD_BYTES = 4_194_304;
// Channels of an inner axis are taken out of their rows, and kept, this many bytes at a time: the whole tensor is read
// once for each such block.
const CHANNEL_BYTES = 33_554_432;
// Of channels longer than that, runs of this many bytes are read one by one.
const LONG_RUN = 65536;
// Weights converted at a time.
const STAGE = 65536;
// Who reads without waiting lets others have a turn after this many bytes.
const TURN_BYTES = 33_554_432;

interface Readable {
  readonly byteLength: number;
  read(start: number, end: number): Promise<Uint8Array>;
  readonly place?: Place | undefined;
}

/** Lets timers, messages and signals through. */
function turn(): Promise<void> {
  const { setImmediate: soon = setTimeout } = globalThis as { setImmediate?: (then: () => void) => unknown };
  return new Promise((resolve) => soon(resolve));
}

/** Reads one float tensor. Owned by one operation; reads follow each other. */
export class WeightReader {
  readonly #scope: EncodeScope;
  readonly #entry: Readable;
  readonly #dtype: FloatDtype;
  readonly #width: number;
  #kept: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #keptFrom = 0;
  #lastEnd = 0;
  #channels: Uint8Array = new Uint8Array(0);
  #firstChannel = 0;
  #lastChannel = 0;
  #filled = 0;

  constructor(scope: EncodeScope, entry: Readable, dtype: FloatDtype) {
    this.#scope = scope;
    this.#entry = entry;
    this.#dtype = dtype;
    this.#width = dtypeBits(dtype) / 8;
  }

  /** Weights `start` to `end` in row-major order, as float32 at `target`. */
  async load(target: number, start: number, end: number): Promise<void> {
    const fill = this.#entry.place?.fill;
    for (let at = start; at < end; at += STAGE) {
      const to = Math.min(end, at + STAGE);
      if (fill) {
        this.#convert(target + (at - start) * 4, to - at, (raw) => fill(raw, at * this.#width));
        this.#filled += (to - at) * this.#width;
        if (this.#filled >= TURN_BYTES) {
          this.#filled = 0;
          await turn();
        }
        continue;
      }
      const bytes = await this.#bytes(at * this.#width, to * this.#width);
      this.#convert(target + (at - start) * 4, to - at, (raw) => raw.set(bytes));
    }
  }

  /** Fulfils a wish of a clustering pass. */
  async fulfil(wish: Wish, grouping: Grouping): Promise<void> {
    const { first, last, start, end, weights } = wish;
    const { inner, outer, count } = grouping;
    if (outer === 1) {
      await this.load(weights, first * inner + start, Math.min(count, (last - 1) * inner + end));
      return;
    }
    const { groups } = grouping;
    const length = inner * outer;
    const read = (from: number, to: number): Promise<Uint8Array> => this.#entry.read(from, to);
    if (length * this.#width <= CHANNEL_BYTES) {
      if (first < this.#firstChannel || last > this.#lastChannel) {
        const most = Math.max(last - first, Math.floor(CHANNEL_BYTES / (length * this.#width)));
        this.#channels = new Uint8Array(0);
        this.#firstChannel = first;
        this.#lastChannel = Math.min(groups, first + most);
        this.#channels = await takeChannels(read, grouping, this.#width, first, this.#lastChannel, 0, outer);
      }
      for (let g = first; g < last; g++) {
        const at = (g - this.#firstChannel) * length;
        this.#convertAll(weights + (g - first) * (end - start) * 4, this.#channels, at + start, at + end);
      }
    } else if (inner * this.#width < LONG_RUN) {
      // a stretch of one very long channel
      const from = Math.floor(start / inner);
      const bytes = await takeChannels(read, grouping, this.#width, first, last, from, Math.ceil(end / inner));
      this.#convertAll(weights, bytes, start - from * inner, end - from * inner);
    } else {
      for (let e = start; e < end; ) {
        const o = Math.floor(e / inner);
        const run = Math.min(end, (o + 1) * inner) - e;
        const from = (o * groups + first) * inner + (e - o * inner);
        await this.load(weights + (e - start) * 4, from, from + run);
        e += run;
      }
    }
  }

  /** Elements `start` to `end` of raw bytes, as float32 at `target`. */
  #convertAll(target: number, bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; at += STAGE) {
      const to = Math.min(end, at + STAGE);
      const part = bytes.subarray(at * this.#width, to * this.#width);
      this.#convert(target + (at - start) * 4, to - at, (raw) => raw.set(part));
    }
  }

  async #keep(from: number, to: number): Promise<void> {
    const { place } = this.#entry;
    if (place?.refill) {
      const length = to - from;
      const { buffer } = this.#kept;
      const room = buffer.byteLength < length ? new Uint8Array(length) : new Uint8Array(buffer, 0, length);
      this.#kept = await place.refill(room, from);
    } else this.#kept = (await this.#entry.read(from, to)) as Uint8Array<ArrayBuffer>;
    this.#keptFrom = from;
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
      await this.#keep(from, to);
    }
    this.#lastEnd = end;
    return this.#kept.subarray(start - this.#keptFrom, end - this.#keptFrom);
  }

  /** `count` weights, whose raw bytes `put` puts into Wasm memory, as float32 at `target`. */
  #convert(target: number, count: number, put: (raw: Uint8Array) => void): void {
    const scope = this.#scope;
    if (this.#dtype === "F32") {
      put(scope.u8(target, count * 4));
      return;
    }
    const mark = scope.mark();
    const raw = scope.reserve(count * this.#width);
    put(scope.u8(raw, count * this.#width));
    if (this.#dtype === "F16") scope.kernels.f16ToF32(target, raw, count);
    else if (this.#dtype === "BF16") scope.kernels.bf16ToF32(target, raw, count);
    else scope.kernels.f64ToF32(target, raw, count);
    scope.release(mark);
  }
}

/** All weights of a tensor as float32. Throws `non-finite` with the first that is not. */
export async function wholeTensor(
  scope: EncodeScope,
  entry: ConstructorParameters<typeof WeightReader>[1] & { readonly shape: readonly number[] },
  dtype: FloatDtype,
): Promise<Float32Array> {
  const weights = new Float32Array(countElements(entry.shape));
  const mark = scope.mark();
  try {
    const reader = new WeightReader(scope, entry, dtype);
    const at = scope.reserve(STAGE * 4);
    for (let start = 0; start < weights.length; start += STAGE) {
      const n = Math.min(STAGE, weights.length - start);
      await reader.load(at, start, start + n);
      const bad = scope.kernels.firstNonFinite(at, n);
      weights.set(scope.f32(at, n), start);
      if (bad < n) throw new WlqError("non-finite", `weight ${start + bad} is ${weights[start + bad]}`);
    }
    return weights;
  } finally {
    scope.release(mark);
  }
}
