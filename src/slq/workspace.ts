// Workspace: the Wasm memories of an engine, and the passes over a layer, a tile at a time.

import { WlqError } from "../error.ts";
import { type Passes, type Run, TILE } from "../passes.ts";
import { type EncodeScope, encodeBinary, encodeScope } from "../wasm/encode.ts";
import { type SlqScope, slqBinary, slqScope } from "../wasm/slq.ts";
import { loadWork } from "../wasm/work.ts";
import { Freezer } from "./freeze.ts";
import type { HalfOctaves } from "./grid.ts";
import type { Layer } from "./layer.ts";

/** What a codebook costs the weights as they are. */
export interface CodeCost {
  /** Weights per code. */
  readonly counts: Float64Array;
  /** Squared error per code. */
  readonly errors: Float64Array;
  readonly sumSquares: number;
  readonly maxError: number;
}

/** Compiles the kernels, once. */
export async function loadKernels(): Promise<void> {
  const loads: Promise<void>[] = [];
  if (!encodeBinary.ready) loads.push(loadWork(encodeBinary));
  if (!slqBinary.ready) loads.push(loadWork(slqBinary));
  await Promise.all(loads);
}

/** Two kernel instances with a tile of room in each. After {@link loadKernels}. */
export class Workspace {
  readonly encode: EncodeScope;
  readonly freezer: Freezer;
  readonly #slq: SlqScope;
  // encode: a tile of weights, codes and decoded values
  readonly #weights: number;
  readonly #codes: number;
  readonly #decoded: number;
  readonly #values: number;
  readonly #thresholds: number;
  readonly #totals: number;
  readonly #scratch: number;
  // slq: a tile of weights, mask, codes and free weights
  readonly #tile: number;
  readonly #mask: number;
  readonly #tileCodes: number;
  readonly #packed: number;
  readonly #codebook: number;

  constructor() {
    const encode = encodeScope();
    this.encode = encode;
    this.#weights = encode.reserve(TILE * 4);
    this.#codes = encode.reserve(TILE);
    this.#decoded = encode.reserve(TILE * 4);
    this.#values = encode.reserve(1024);
    this.#thresholds = encode.reserve(1024);
    this.#totals = encode.reserve(256 * 16 + 16);
    this.#scratch = encode.reserve(257 * 64);
    const slq = slqScope();
    this.#slq = slq;
    this.#tile = slq.reserve(TILE * 4);
    this.#mask = slq.reserve(TILE);
    this.#tileCodes = slq.reserve(TILE);
    this.#packed = slq.reserve(TILE * 4);
    this.#codebook = slq.reserve(1024);
    this.freezer = new Freezer(slq);
  }

  /** The free weights of a layer, or their magnitudes, as a run for clustering. */
  freeRun(layer: Layer, absolute: boolean): Run {
    const { data, mask, free } = layer;
    const weights = this.#weights;
    const plain = free === data.length && !absolute;
    const starts = plain ? new Float64Array(0) : this.#freeStarts(layer);
    let held = -1;
    const take = (tile: number): void => {
      if (tile === held) return;
      this.#load(data, tile * TILE, mask);
      this.#slq.kernels.takeFree(this.#packed, this.#tile, this.#mask, this.#size(data, tile * TILE), absolute ? 1 : 0);
      held = tile;
    };
    const copy = (start: number, end: number): void => {
      const target = this.encode.f32(weights, end - start);
      if (plain) {
        target.set(data.subarray(start, end));
        return;
      }
      let tile = 0;
      // the last tile that begins at or before `start`
      for (let step = 1 << 30; step > 0; step >>= 1) {
        if (tile + step < starts.length - 1 && (starts[tile + step] as number) <= start) tile += step;
      }
      for (let at = start; at < end; tile++) {
        const stop = Math.min(end, starts[tile + 1] as number);
        if (stop <= at) continue;
        take(tile);
        target.set(this.#slq.f32(this.#packed + (at - (starts[tile] as number)) * 4, stop - at), at - start);
        at = stop;
      }
    };
    const run: Run = {
      count: free,
      weights,
      importance: 0,
      fetch(start, end, check = true) {
        copy(start, end);
        if (check) run.check(start, end);
        return nothing();
      },
      check: (start, end) => {
        if (this.encode.kernels.firstNonFinite(weights, end - start) < end - start) throw this.#nonFinite(layer);
      },
    };
    return run;
  }

  // How many weights are free before each tile.
  #freeStarts({ data, mask }: Layer): Float64Array {
    const tiles = Math.ceil(data.length / TILE);
    const starts = new Float64Array(tiles + 1);
    for (let t = 0; t < tiles; t++) {
      const n = this.#size(data, t * TILE);
      this.#slq.u8(this.#mask, n).set(mask.subarray(t * TILE, t * TILE + n));
      starts[t + 1] = (starts[t] as number) + this.#slq.kernels.countFree(this.#mask, n);
    }
    return starts;
  }

  #nonFinite({ name, data }: Layer): WlqError {
    const index = data.findIndex((x) => !Number.isFinite(x));
    return new WlqError("non-finite", `layer "${name}": weight ${index} is ${data[index]}`, { tensor: name });
  }

  /** Counts and sums of the free weights by half octave. */
  halfOctaves(layer: Layer): HalfOctaves {
    const { encode } = this;
    const slq = this.#slq;
    const mark = slq.mark();
    const table = slq.reserve(512 * 16);
    slq.u8(table, 512 * 16).fill(0);
    this.#eachFree(layer, (count) => {
      slq.f32(this.#tile, count).set(encode.f32(this.#weights, count));
      slq.kernels.halfOctaves(table, this.#tile, count);
    });
    const result = new BigUint64Array(slq.u8(table, 512 * 16).slice().buffer);
    slq.release(mark);
    return result;
  }

  /** The largest magnitude of the free weights; 0 where there are none. */
  largestFree(layer: Layer): number {
    let largest = 0;
    this.#eachFree(layer, (count) => {
      largest = Math.max(largest, this.encode.kernels.maxMagnitude(this.#weights, count));
    });
    return largest;
  }

  /** The `n`-th largest magnitude (from 1) of the free weights. */
  nthMagnitude(layer: Layer, n: number): number {
    const slq = this.#slq;
    const mark = slq.mark();
    const cells = slq.reserve(32768 * 4);
    const lower = slq.reserve(65536 * 4);
    slq.u8(cells, 32768 * 4).fill(0);
    slq.u8(lower, 65536 * 4).fill(0);
    const copy = (count: number): void => slq.f32(this.#tile, count).set(this.encode.f32(this.#weights, count));
    this.#eachFree(layer, (count) => {
      copy(count);
      slq.kernels.countMagnitudes(cells, this.#tile, count);
    });
    const [cell, before] = placeOf(slq.i32(cells, 32768), n);
    this.#eachFree(layer, (count) => {
      copy(count);
      slq.kernels.countLower(lower, this.#tile, count, cell);
    });
    const [place] = placeOf(slq.i32(lower, 65536), n - before);
    slq.release(mark);
    return new Float32Array(new Uint32Array([cell * 65536 + place]).buffer)[0] as number;
  }

  #eachFree(layer: Layer, work: (count: number) => void): void {
    const run = this.freeRun(layer, false);
    for (let start = 0; start < run.count; start += TILE) {
      const end = Math.min(run.count, start + TILE);
      run.fetch(start, end);
      work(end - start);
    }
  }

  /** Codes every weight with the nearest value of the ascending codebook, and measures. `thresholds`: other borders. */
  code(layer: Layer, codebook: Float32Array, thresholds?: (of: Float32Array) => void): CodeCost {
    const { encode } = this;
    const { kernels } = encode;
    const levels = codebook.length;
    encode
      .f32(this.#values, 256)
      .fill(codebook[levels - 1] ?? 0)
      .set(codebook);
    kernels.thresholds(this.#thresholds, this.#values, levels, 256);
    thresholds?.(encode.f32(this.#thresholds, levels - 1));
    return this.#measured(layer, codebook, (start, count) => {
      kernels.assign(this.#codes, this.#weights, count, this.#thresholds, levels, 128, this.#scratch);
      layer.codes.set(encode.u8(this.#codes, count), start);
    });
  }

  /** What the codes that a layer has cost. */
  measure(layer: Layer, codebook: Float32Array): CodeCost {
    this.encode.f32(this.#values, 256).fill(0).set(codebook);
    return this.#measured(layer, codebook, (start, count) => {
      this.encode.u8(this.#codes, count).set(layer.codes.subarray(start, start + count));
    });
  }

  /** Codes of frozen weights, from the weights: what a state file has no room for. */
  recode(layer: Layer): void {
    const { codebook, codes } = layer;
    if (codebook.length === 0) return;
    const sorted = [...codebook.keys()].sort((a, b) => (codebook[a] as number) - (codebook[b] as number));
    this.code(
      layer,
      codebook.map((_, i) => codebook[sorted[i] as number] as number),
    );
    // the reference's codebook does not ascend
    if (sorted.some((c, i) => c !== i))
      for (let i = 0; i < codes.length; i++) codes[i] = sorted[codes[i] as number] as number;
  }

  // `codes` puts the codes of a tile, whose weights are there, in their place.
  #measured({ data }: Layer, codebook: Float32Array, codes: (start: number, count: number) => void): CodeCost {
    const { encode } = this;
    const levels = codebook.length;
    const sums = this.#totals + 256 * 16;
    encode.u8(this.#totals, 256 * 16 + 16).fill(0);
    for (let start = 0; start < data.length; start += TILE) {
      const count = this.#size(data, start);
      encode.f32(this.#weights, count).set(data.subarray(start, start + count));
      codes(start, count);
      encode.kernels.lookup32(this.#decoded, this.#codes, count, this.#values, levels, false);
      encode.kernels.measure(
        this.#totals,
        sums,
        this.#weights,
        this.#decoded,
        this.#codes,
        count,
        levels,
        this.#scratch,
      );
    }
    const totals = encode.f64(this.#totals, 2 * levels);
    const [sumSquares = 0, worst = 0] = encode.f64(sums, 2);
    return {
      counts: Float64Array.from({ length: levels }, (_, c) => totals[2 * c] as number),
      errors: Float64Array.from({ length: levels }, (_, c) => totals[2 * c + 1] as number),
      sumSquares,
      maxError: Math.sqrt(worst),
    };
  }

  /** One Lloyd step of the seed: codes relative to `centroids`, then float32 sums in data order and counts. */
  referenceStep(layer: Layer, centroids: Float32Array): { readonly sums: Float32Array; readonly counts: Uint32Array } {
    const slq = this.#slq;
    const { data, codes } = layer;
    const k = centroids.length;
    const mark = slq.mark();
    const sums = slq.reserve(1024);
    const counts = slq.reserve(1024);
    slq.u8(sums, 1024).fill(0);
    slq.u8(counts, 1024).fill(0);
    slq.f32(this.#codebook, k).set(centroids);
    for (let start = 0; start < data.length; start += TILE) {
      const count = this.#load(data, start);
      slq.kernels.referenceAssign(this.#tileCodes, this.#tile, count, this.#codebook, k);
      slq.kernels.referenceSums(sums, counts, this.#tile, this.#tileCodes, count);
      codes.set(slq.u8(this.#tileCodes, count), start);
    }
    const result = { sums: slq.f32(sums, k).slice(), counts: new Uint32Array(slq.i32(counts, k)) };
    slq.release(mark);
    return result;
  }

  /** XXH64 of some bytes, padded with zeros to blocks of 32, in hexadecimal. */
  hash(bytes: Uint8Array): string {
    const mark = this.encode.mark();
    const padded = Math.max(32, Math.ceil(bytes.length / 32) * 32);
    const at = this.encode.reserve(padded);
    this.encode.u8(at, padded).fill(0).set(bytes);
    const hash = BigInt.asUintN(64, this.encode.kernels.xxh64(at, padded, 0n));
    this.encode.release(mark);
    return hash.toString(16).padStart(16, "0");
  }

  // A tile of the layer to slq memory; returns its size.
  #load(data: Float32Array, start: number, mask?: Uint8Array): number {
    const slq = this.#slq;
    const count = this.#size(data, start);
    slq.f32(this.#tile, count).set(data.subarray(start, start + count));
    if (mask) slq.u8(this.#mask, count).set(mask.subarray(start, start + count));
    return count;
  }

  #size(data: Float32Array, start: number): number {
    return Math.min(TILE, data.length - start);
  }
}

/** From the top: the place of the n-th (from 1), and how many come before that place. */
function placeOf(counts: Int32Array, n: number): [place: number, before: number] {
  let before = 0;
  for (let i = counts.length - 1; i >= 0; i--) {
    const count = counts[i] as number;
    if (before + count >= n) return [i, before];
    before += count;
  }
  return [0, before];
}

// A pass that wishes for nothing: the weights are at hand.
function* nothing(): Passes<void> {
  yield* [];
}
