// Refit: rounds of SLQ without training: clusters by what they cost in layer outputs, free weights by least squares.
import { countOutputs } from "../formats/layer.ts";
import type { Source } from "../io/source.ts";
import { type CalibrateScope, calibrateScope, loadCalibrate } from "../wasm/calibrate.ts";
import { LANES } from "./blocks.ts";
import { INDEPENDENT, shrinkageOf } from "./shrinkage.ts";
import { type LayerStatistics, StatisticsFile } from "./statistics.ts";

/** Options of {@link createRefit}. */
export interface RefitOptions {
  /** What is added to the diagonal of the inputs' second moment, as a share of its mean. Default 0.01. */
  readonly damping?: number;
  /** Most steps of conjugate gradients for eight outputs at a time. Default 60. */
  readonly steps?: number;
}

/** The defaults of {@link RefitOptions}. */
export const REFIT_DEFAULTS: Readonly<Required<RefitOptions>> = { damping: 0.01, steps: 60 };

/** What of an `Slq` is needed here. */
export interface Rounds {
  readonly round: number;
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly masks: Readonly<Record<string, Uint8Array>>;
  /** The clusters of the coming round. */
  probe(): Promise<
    readonly {
      readonly layer: string;
      readonly codebook: Float32Array;
      readonly frozen: Uint8Array;
      readonly codes: Uint8Array;
    }[]
  >;
}

/** Stands in for training between rounds, with statistics of the layers' inputs. */
export interface Refit {
  /**
   * For `next({ losses })`, by layer and code: error power over output power of the layer with just that cluster
   * quantized; layers without statistics by their weights. No loss where a cluster is frozen.
   */
  losses(): Promise<Record<string, (number | null)[]>>;
  /** Sets the free weights such that the layers' outputs are nearest to what they were. Returns error over power by layer. */
  refit(): Promise<Record<string, number>>;
}

// Of the gradient's norm, with which a fit is done.
const TOLERANCE = 1e-7;

/**
 * Rounds without training and without labels: clusters freeze by what they cost in the layers' outputs, and the weights that
 * are free make up for them by least squares.
 *
 * @param statistics a file of `calibrate` or `createObserver`
 * @param slq before its first round: its weights are those that outputs are compared with
 * @throws RangeError where rounds are done already, or a layer's statistics are for another size; WlqError for the file
 * @example
 * const slq = await createSlq({ fc1, fc2 }, { levels: 17, partition: "loss" });
 * const { losses, refit } = await createRefit(statistics, slq);
 * while (!slq.done) {
 *   await slq.next({ losses: await losses() });
 *   await refit();
 * }
 */
export async function createRefit(statistics: Source, slq: Rounds, options: RefitOptions = {}): Promise<Refit> {
  const { damping, steps } = { ...REFIT_DEFAULTS, ...options };
  if (!(damping > 0 && damping <= 1)) throw new RangeError(`damping must be above 0 and at most 1, got ${damping}`);
  if (!Number.isInteger(steps) || steps < 1) throw new RangeError(`steps must be a positive integer, got ${steps}`);
  if (slq.round > 0) throw new RangeError(`a refit begins before the first round, ${slq.round} are done`);
  const file = await StatisticsFile.open(statistics);
  await loadCalibrate();
  const { weights } = slq;
  for (const [name, { length }] of Object.entries(weights)) {
    const layer = file.layer(name);
    const count = layer?.shape.reduce((a, b) => a * b, 1) ?? length;
    if (count !== length) throw new RangeError(`layer "${name}" has ${length} weights, in the statistics ${count}`);
  }
  const before = new Map(Object.entries(weights).map(([name, data]) => [name, data.slice()]));
  const open = async (name: string): Promise<Outputs> => {
    const known = file.layer(name) ? await file.read(name) : undefined;
    return new Outputs(calibrateScope(), known, before.get(name) as Float32Array, damping);
  };
  return {
    async losses() {
      const all: Record<string, (number | null)[]> = {};
      for (const { layer, codebook, frozen, codes } of await slq.probe()) {
        const [now, mask] = [weights[layer] as Float32Array, slq.masks[layer] as Uint8Array];
        const outputs = await open(layer);
        all[layer] = Array.from(codebook, (value, code) => {
          if (frozen[code]) return null;
          return outputs.errorOf(now.map((w, i) => (mask[i] && codes[i] === code ? value : w)));
        });
      }
      return all;
    },
    async refit() {
      const all: Record<string, number> = {};
      for (const [name, mask] of Object.entries(slq.masks)) {
        const now = weights[name] as Float32Array;
        const outputs = await open(name);
        if (mask.includes(1)) outputs.refit(now, mask, steps);
        all[name] = outputs.errorOf(now);
      }
      return all;
    },
  };
}

/** The outputs of a layer, eight at a time, in Wasm memory. */
class Outputs {
  readonly #scope: CalibrateScope;
  readonly #known: LayerStatistics | undefined;
  readonly #before: Float32Array;
  readonly #share: number;
  readonly #columns: number;
  readonly #stride: number;
  readonly #matrix: number;
  readonly #block: number;
  readonly #product: number;
  #filled = -1;
  /** Of the outputs that are right, once it is known. */
  #power: number | undefined;
  #damping = 0;

  /** `before`: the weights whose outputs are right. */
  constructor(scope: CalibrateScope, known: LayerStatistics | undefined, before: Float32Array, share: number) {
    this.#scope = scope;
    this.#known = known;
    this.#before = before;
    this.#share = share;
    const columns = known?.covariance ? known.layer.columns : 0;
    this.#columns = columns;
    this.#stride = (columns + 3) & ~3;
    this.#matrix = scope.reserve(this.#stride * this.#stride * 8);
    this.#block = scope.reserve(columns * LANES * 8);
    this.#product = scope.reserve(columns * LANES * 8);
  }

  /** Error power over output power, with the weights `now`. */
  errorOf(now: Float32Array): number {
    const known = this.#known;
    let [error, power] = [0, 0];
    const first = this.#power === undefined;
    if (!known?.covariance) {
      const cost = (i: number): number => (known ? costOf(known, i) : 1);
      this.#before.forEach((w, i) => {
        error += cost(i) * (w - (now[i] as number)) ** 2;
        power += cost(i) * w * w;
      });
    } else {
      this.#eachBlock(known, (at) => {
        error += this.#form(at, (i) => (this.#before[i] as number) - (now[i] as number));
        if (first) power += this.#form(at, (i) => this.#before[i] as number);
      });
    }
    this.#power = first ? power : this.#power;
    return this.#power ? error / this.#power : 0;
  }

  /** Conjugate gradients on the free errors of eight outputs at once, each preconditioned with the diagonal. */
  refit(now: Float32Array, mask: Uint8Array, steps: number): void {
    const known = this.#known;
    // where inputs do not depend on each other, weights cannot make up for one another
    if (!known?.covariance) return;
    this.#eachBlock(known, (at) => {
      const count = this.#columns * LANES;
      const error = new Float64Array(count);
      const free = new Uint8Array(count);
      for (let e = 0; e < count; e++) {
        const i = at[e] as number;
        if (i < 0) continue;
        error[e] = (this.#before[i] as number) - (now[i] as number);
        free[e] = mask[i] as number;
      }
      this.#solve(error, free, steps);
      for (let e = 0; e < count; e++) {
        const i = at[e] as number;
        if (i >= 0 && free[e]) now[i] = (this.#before[i] as number) - (error[e] as number);
      }
    });
  }

  #solve(error: Float64Array, free: Uint8Array, steps: number): void {
    const count = error.length;
    const diagonal = this.#scope.f64(this.#matrix, this.#stride * this.#stride);
    const inverse = Float64Array.from(
      { length: this.#columns },
      (_, c) => 1 / (diagonal[c * (this.#stride + 1)] as number),
    );
    const residual = this.#product8(error).map((x, e) => (free[e] ? -x : 0));
    const ready = (e: number): number => (residual[e] as number) * (inverse[e >> 3] as number);
    const direction = Float64Array.from(residual, (_, e) => ready(e));
    let slope = laneSums(count, (e) => (residual[e] as number) * ready(e));
    const least = slope.map((x) => x * TOLERANCE * TOLERANCE);
    for (let step = 0; step < steps && slope.some((x, lane) => x > (least[lane] as number)); step++) {
      const image = this.#product8(direction);
      const curve = laneSums(count, (e) => (direction[e] as number) * (image[e] as number));
      const length = slope.map((x, lane) => ((curve[lane] as number) > 0 ? x / (curve[lane] as number) : 0));
      for (let e = 0; e < count; e++) {
        if (!free[e]) continue;
        const by = length[e & 7] as number;
        error[e] = (error[e] as number) + by * (direction[e] as number);
        residual[e] = (residual[e] as number) - by * (image[e] as number);
      }
      const next = laneSums(count, (e) => (residual[e] as number) * ready(e));
      const turn = next.map((x, lane) => ((slope[lane] as number) > 0 ? x / (slope[lane] as number) : 0));
      for (let e = 0; e < count; e++) direction[e] = ready(e) + (turn[e & 7] as number) * (direction[e] as number);
      slope = next;
    }
  }

  #product8(x: Float64Array): Float64Array {
    const scope = this.#scope;
    scope.f64(this.#block, x.length).set(x);
    scope.kernels.matrixProduct(this.#product, this.#matrix, this.#block, this.#columns, this.#stride);
    return scope.f64(this.#product, x.length).slice();
  }

  #form(at: Int32Array, of: (i: number) => number): number {
    const x = Float64Array.from(at, (i) => (i < 0 ? 0 : of(i)));
    const image = this.#product8(x);
    let sum = 0;
    for (let e = 0; e < x.length; e++) {
      sum += (x[e] as number) * ((image[e] as number) - this.#damping * (x[e] as number));
    }
    return sum;
  }

  /** `work` gets where the weights of eight outputs lie, column by column; -1 where there is no such output. */
  #eachBlock(known: LayerStatistics, work: (at: Int32Array) => void): void {
    const { layer } = known;
    const { groups, columns, layout } = layer;
    const outputs = countOutputs(layer);
    const at = new Int32Array(columns * LANES);
    for (let group = 0; group < groups; group++) {
      this.#fill(known, group);
      const last = ((group + 1) * outputs) / groups;
      for (let o = (group * outputs) / groups; o < last; o += LANES) {
        for (let e = 0; e < at.length; e++) {
          const [c, output] = [e >> 3, o + (e & 7)];
          at[e] = output >= last ? -1 : layout === "inner" ? c * outputs + output : output * columns + c;
        }
        work(at);
      }
    }
  }

  /** The damped second moment of a group. */
  #fill({ covariance, mean, square, samples }: LayerStatistics, group: number): void {
    if (this.#filled === group) return;
    const scope = this.#scope;
    const columns = this.#columns;
    const count = (columns * (columns + 1)) / 2;
    const own = (covariance as Float32Array).subarray(group * count, (group + 1) * count);
    const from = group * columns;
    let [sum, trace] = [0, 0];
    for (let c = 0, i = 0; c < columns; i += columns - c++) {
      sum += square[from + c] as number;
      trace += own[i] as number;
    }
    this.#damping = (this.#share * sum + shrinkageOf(own, columns, samples * INDEPENDENT) * trace) / columns;
    const mark = scope.mark();
    const [triangle, means, order] = [scope.reserve(count * 4), scope.reserve(columns * 4), scope.reserve(columns * 4)];
    scope.f32(triangle, count).set(own);
    scope.f32(means, columns).set(mean.subarray(from, from + columns));
    scope.i32(order, columns).set(Int32Array.from({ length: columns }, (_, c) => c));
    scope.kernels.fillMatrix(this.#matrix, triangle, means, order, columns, this.#stride, this.#damping);
    scope.release(mark);
    this.#filled = group;
  }
}

function laneSums(count: number, of: (e: number) => number): Float64Array {
  const sums = new Float64Array(LANES);
  for (let e = 0; e < count; e++) sums[e & 7] = (sums[e & 7] as number) + of(e);
  return sums;
}

/** The mean square of the input that a weight sees. */
function costOf({ layer, square }: LayerStatistics, i: number): number {
  const { columns, groups, layout } = layer;
  const outputs = countOutputs(layer);
  if (layout === "inner") return square[Math.floor(i / outputs)] as number;
  const group = Math.floor((Math.floor(i / columns) * groups) / outputs);
  return square[group * columns + (i % columns)] as number;
}
