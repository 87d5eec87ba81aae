// Blocks: a tensor's weights, codes and values in Wasm memory, and what its layer's inputs make of an error.
import type { Coding } from "../codebook.ts";
import { countOutputs } from "../formats/layer.ts";
import type { RoundFormat } from "../tensor.ts";
import type { CalibrateScope } from "../wasm/calibrate.ts";
import { shrinkageOf } from "./shrinkage.ts";
import type { LayerStatistics } from "./statistics.ts";

/** How codes are chosen. */
export interface CompensateOptions {
  /** Added to the covariance's diagonal, as a share of its mean. */
  readonly damping: number;
  /** Share of the samples that counts as independent of each other, see `shrinkageOf`; 0: the covariance is as it is. */
  readonly independent: number;
  /** Turns of refinement: values by least squares, then codes by coordinate descent. */
  readonly turns: number;
  /** Most sweeps of the descent a turn. */
  readonly sweeps: number;
  /** What a bit of an entropy coder counts: 1 as much as the error that it could take away, 0 nothing. */
  readonly rate: number;
  /** Whether values may be fitted anew: not those of a grid. */
  readonly fit: boolean;
  /** Values that stay: zero. */
  readonly pins: readonly number[];
  /** Whether the outputs' mean error is put right in the model: then only the covariance counts. */
  readonly shiftable: boolean;
  readonly format: RoundFormat;
}

/** Outputs that the kernels take at a time. */
export const LANES = 8;

/** Outputs that see the same inputs, and what is added to their matrix. */
export interface Part {
  readonly group: number;
  readonly first: number;
  readonly last: number;
  readonly damping: number;
}

export interface State {
  readonly codebook: Float32Array;
  readonly scale: Float32Array | undefined;
  readonly codes: Uint8Array;
}

/** A tensor in Wasm memory, worked on eight outputs at a time. Kernels read and write what the pointers say. */
export class Blocks {
  readonly scope: CalibrateScope;
  readonly statistics: LayerStatistics;
  readonly options: CompensateOptions;
  readonly coding: Coding;
  /** Of a power of two. */
  readonly levels: number;
  readonly outputs: number;
  readonly columns: number;
  readonly stride: number;
  readonly codebook: Float32Array;
  readonly scale: Float32Array | undefined;
  // bytes between the float32 weights of two outputs, of two columns; codes have a quarter of them
  readonly outputStep: number;
  readonly columnStep: number;
  readonly weights: number;
  readonly codes: number;
  readonly order: number;
  readonly matrix: number;
  readonly block: number;
  readonly errors: number;
  readonly gradients: number;
  readonly blockCodes: number;
  readonly values: number;
  readonly borders: number;
  readonly small: number;
  readonly prices: number;
  /** The group whose order is at hand, and whose matrix; -1: none. */
  arranged = -1;
  filled = -1;
  /** Counts what changes values; `valuesAt`: those at hand, where all outputs have the same. */
  changes = 0;
  valuesAt = -1;

  constructor(
    scope: CalibrateScope,
    statistics: LayerStatistics,
    weights: Float32Array,
    coding: Coding,
    options: CompensateOptions,
  ) {
    const { layer } = statistics;
    const { columns } = layer;
    this.scope = scope;
    this.statistics = statistics;
    this.options = options;
    this.coding = coding;
    this.codebook = coding.codebook.slice();
    this.scale = coding.scale?.values.slice();
    this.outputs = countOutputs(layer);
    this.columns = columns;
    this.stride = (columns + 3) & ~3;
    let levels = 2;
    while (levels < coding.levels) levels *= 2;
    this.levels = levels;
    const inner = layer.layout === "inner";
    this.outputStep = inner ? 4 : columns * 4;
    this.columnStep = inner ? this.outputs * 4 : 4;
    const blockBytes = columns * LANES * 8;
    this.weights = scope.reserve(weights.byteLength);
    this.codes = scope.reserve(weights.length);
    this.order = scope.reserve(columns * 4);
    this.block = scope.reserve(blockBytes);
    this.errors = scope.reserve(blockBytes);
    this.gradients = scope.reserve(blockBytes);
    this.blockCodes = scope.reserve(columns * LANES);
    this.values = scope.reserve(LANES * levels * 8);
    this.borders = scope.reserve(LANES * levels * 8);
    this.small = scope.reserve(Math.max(64, levels * 8));
    this.prices = scope.reserve(levels * 8);
    this.matrix = statistics.covariance ? scope.reserve(this.stride * this.stride * 8) : 0;
    scope.f32(this.weights, weights.length).set(weights);
  }

  /** What is added to the diagonal of a group's matrix. */
  damping(group: number): number {
    let sum = 0;
    for (const x of this.diagonal(group)) sum += x;
    const { covariance, samples } = this.statistics;
    const { damping, independent } = this.options;
    const columns = this.columns;
    const base = (damping * sum) / columns;
    if (!covariance || independent === 0) return base;
    const count = (columns * (columns + 1)) / 2;
    const own = covariance.subarray(group * count, (group + 1) * count);
    let trace = 0;
    for (let c = 0, at = 0; c < columns; at += columns - c++) trace += own[at] as number;
    return base + (shrinkageOf(own, columns, samples * independent) * trace) / columns;
  }

  /** Puts the columns of a group in the order of what an error in them costs, the dearest last. */
  arrange(group: number): void {
    if (this.arranged === group) return;
    const cost = this.diagonal(group);
    const order = Int32Array.from({ length: this.columns }, (_, c) => c);
    // the sort is stable: ties keep their order
    order.sort((a, b) => (cost[a] as number) - (cost[b] as number));
    this.scope.i32(this.order, this.columns).set(order);
    this.arranged = group;
    this.filled = -1;
  }

  /** What an error in each column costs: the diagonal of the matrix, without damping. */
  diagonal(group: number): Float64Array {
    const { mean, square } = this.statistics;
    const from = group * this.columns;
    return Float64Array.from({ length: this.columns }, (_, c) => {
      const own = square[from + c] as number;
      const m = mean[from + c] as number;
      return this.options.shiftable ? Math.max(0, own - m * m) : own;
    });
  }

  /** The damped matrix of a group; kept until the next. */
  fill({ group, damping }: Part): void {
    this.arrange(group);
    if (!this.matrix || this.filled === group) return;
    const { covariance, mean } = this.statistics;
    const columns = this.columns;
    const count = (columns * (columns + 1)) / 2;
    const own = (covariance as Float32Array).subarray(group * count, (group + 1) * count);
    this.put(own, this.options.shiftable ? undefined : mean.subarray(group * columns, (group + 1) * columns), damping);
    this.filled = group;
  }

  /** The matrix from a triangle, with the products of `mean` and with damping, in the order at hand. */
  put(covariance: Float32Array, mean: Float32Array | undefined, damping: number): void {
    const scope = this.scope;
    const columns = this.columns;
    const mark = scope.mark();
    const triangle = scope.reserve(covariance.byteLength);
    scope.f32(triangle, covariance.length).set(covariance);
    const means = mean ? scope.reserve(columns * 4) : 0;
    if (mean) scope.f32(means, columns).set(mean);
    scope.kernels.fillMatrix(this.matrix, triangle, means, this.order, columns, this.stride, damping);
    scope.release(mark);
  }

  /** Does something to each block of outputs, with weights, values, codes and errors at hand; keeps the codes. */
  eachBlock({ first, last }: Part, work: (lanes: number, first: number) => void): void {
    const { kernels } = this.scope;
    const [outputStep, columnStep] = [this.outputStep / 4, this.columnStep / 4];
    for (let o = first; o < last; o += LANES) {
      const lanes = Math.min(LANES, last - o);
      this.load(o, lanes);
      const codes = this.codes + o * outputStep;
      kernels.loadCodes(this.blockCodes, codes, this.order, this.columns, lanes, outputStep, columnStep);
      kernels.blockErrors(this.errors, this.block, this.blockCodes, this.columns, this.values, this.levels);
      work(lanes, o);
      kernels.storeCodes(codes, this.blockCodes, this.order, this.columns, lanes, outputStep, columnStep);
    }
  }

  /** Sum over lanes of x' matrix x, without damping; by the diagonal alone where there is no matrix. */
  form(x: number, lanes: number, { group, damping }: Part): number {
    if (!this.matrix) return this.diagonalForm(x, lanes, this.diagonal(group));
    this.scope.kernels.blockForms(this.small, this.matrix, x, this.columns, this.stride);
    return this.sum(lanes) - damping * this.dots(x, x, lanes);
  }

  /** Sum over lanes of cost times x squared. */
  diagonalForm(x: number, lanes: number, cost: Float64Array): number {
    const order = this.scope.i32(this.order, this.columns);
    const from = this.scope.f64(x, this.columns * LANES);
    const to = this.scope.f64(this.gradients, this.columns * LANES);
    for (let e = 0; e < to.length; e++) to[e] = (from[e] as number) * (cost[order[e >> 3] as number] as number);
    return this.dots(x, this.gradients, lanes);
  }

  dots(a: number, b: number, lanes: number): number {
    this.scope.kernels.blockDots(this.small, a, b, this.columns);
    return this.sum(lanes);
  }

  /** Of what a kernel found for each lane. */
  sum(lanes: number): number {
    let sum = 0;
    for (const own of this.scope.f64(this.small, lanes)) sum += own;
    return sum;
  }

  /** Weights and values of the outputs from `o` on. */
  load(o: number, lanes: number): void {
    const { kernels } = this.scope;
    const src = this.weights + o * this.outputStep;
    kernels.loadBlock(this.block, src, this.order, this.columns, lanes, this.outputStep, this.columnStep);
    const { levels, granularity } = this.coding;
    const all = this.levels;
    const distinct = granularity === "channel" || this.scale;
    if (!distinct && this.valuesAt === this.changes) return;
    this.valuesAt = this.changes;
    const decoded = this.decoded(o, lanes);
    const values = this.scope.f64(this.values, LANES * all);
    const borders = this.scope.f64(this.borders, LANES * all).fill(Number.POSITIVE_INFINITY);
    for (let lane = 0; lane < LANES; lane++) {
      const own = lane * levels;
      for (let c = 0; c < all; c++) values[lane * all + c] = decoded[own + Math.min(c, levels - 1)] as number;
      for (let c = 0; c + 1 < levels; c++) {
        const middle = ((decoded[own + c] as number) + (decoded[own + c + 1] as number)) / 2;
        borders[lane * all + c] = this.border(o + Math.min(lane, lanes - 1), c) ?? middle;
      }
    }
  }

  /** Between code `c` and the next, where it is not the middle: an entropy coder's favour for frequent codes. */
  border(output: number, c: number): number | undefined {
    const { thresholds, granularity, levels } = this.coding;
    if (!thresholds) return undefined;
    const at = (granularity === "channel" ? output * (levels - 1) : 0) + c;
    return (thresholds[at] as number) * (this.scale ? (this.scale[output] as number) : 1);
  }

  /** The values that the codes of eight outputs stand for, as a decoder finds them. */
  decoded(o: number, lanes: number): Float32Array {
    const { levels, granularity } = this.coding;
    const out = new Float32Array(LANES * levels);
    for (let lane = 0; lane < LANES; lane++) {
      const output = o + Math.min(lane, lanes - 1);
      const from = granularity === "channel" ? output * levels : 0;
      const factor = this.scale ? (this.scale[output] as number) : 1;
      // + 0: a decoder's zero has no sign
      for (let c = 0; c < levels; c++)
        out[lane * levels + c] = Math.fround(factor * (this.codebook[from + c] as number)) + 0;
    }
    return this.scale ? this.rounded(out, this.options.format) : out;
  }

  rounded(values: Float32Array, format: RoundFormat): Float32Array {
    if (format === 0) return values;
    const scope = this.scope;
    const mark = scope.mark();
    const at = scope.reserve(values.byteLength);
    scope.f32(at, values.length).set(values);
    scope.kernels.roundTo(at, values.length, format);
    const out = scope.f32(at, values.length).slice();
    scope.release(mark);
    return out;
  }

  /** What the codes as they are cost by `prices`. */
  priceOfCodes(): number {
    if (this.options.rate === 0) return 0;
    const prices = this.scope.f64(this.prices, this.levels);
    let sum = 0;
    for (const code of this.scope.u8(this.codes, this.outputs * this.columns)) sum += prices[code] as number;
    return sum;
  }

  state(): State {
    const codes = this.scope.u8(this.codes, this.outputs * this.columns).slice();
    return { codebook: this.codebook.slice(), scale: this.scale?.slice(), codes };
  }

  restore({ codebook, scale, codes }: State): void {
    this.codebook.set(codebook);
    if (scale) this.scale?.set(scale);
    this.scope.u8(this.codes, codes.length).set(codes);
    this.changes++;
  }
}
