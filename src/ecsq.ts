// Ecsq: codebooks for an entropy coder, found on atoms: many errors' worth of bits, or as many bits as are wanted.
import type { Atoms } from "./atoms.ts";
import type { Clustering } from "./codebook.ts";
import type { ClusterOptions, RateTarget } from "./options.ts";
import type { EncodeScope } from "./wasm/encode.ts";

// Room that the kernel wants for cells.
const MOST_CELLS = 1024;
/** Bits that a value costs beside its codes: float32 in the codebook, and a byte in the entropy coder's tables. */
export const ENTRY_BITS = 40;
// Where the search ends: this near to the bits wanted; a bit is 6.02 dB.
const NEAR_BITS = 0.0005;
const DB_PER_BIT = 6.020599913279624;
// A codebook may be larger than wanted by this share, so that 2 values reach 1 bit.
const SLACK = 0.003;
const MOST_TRIALS = 40;
// Up to so many cells a start at half a step, and at quarters, is tried as well.
const TWO_STARTS = 40;
const FOUR_STARTS = 12;

/** What one lambda gives. */
export interface EcsqPoint {
  /** Cost of a bit, in the unit of the squared error. */
  readonly lambda: number;
  /** Ideal code lengths and table entries, bits in all. */
  readonly bits: number;
  /** Sum of importance times squared error. */
  readonly error: number;
  readonly levels: number;
}

/** The rate-distortion curve of some atoms, a point at a time; some ten microseconds to a millisecond each. */
export class EcsqCurve {
  readonly #scope: EncodeScope;
  readonly #options: ClusterOptions;
  readonly #atoms: Atoms;
  readonly #values: number;
  readonly #p0: number;
  readonly #p1: number;
  readonly #n0: number;
  readonly #bounds: number;
  readonly #centers: number;
  readonly #lengths: number;
  readonly #result: number;
  readonly #codebook: number;
  readonly #thresholds: number;
  readonly #count: number;
  readonly #shift: number;
  /** Weights that the atoms stand for. */
  readonly weights: number;
  /** Squared error with one value, their mean. */
  readonly variation: number;
  /** Sum of importance times squared weight. */
  readonly signal: number;

  /** Takes room that the caller releases; `atoms` may shrink by those that have no weight. */
  constructor(scope: EncodeScope, atoms: Atoms, options: ClusterOptions) {
    const room = (atoms.count + 1) * 8;
    this.#scope = scope;
    this.#options = options;
    this.#atoms = atoms;
    this.#values = scope.reserve(room);
    this.#p0 = scope.reserve(room);
    this.#p1 = scope.reserve(room);
    this.#n0 = scope.reserve(room);
    this.#bounds = scope.reserve((MOST_CELLS + 2) * 4);
    this.#centers = scope.reserve((MOST_CELLS + 1) * 8);
    this.#lengths = scope.reserve((MOST_CELLS + 1) * 8);
    this.#result = scope.reserve(32);
    this.#codebook = scope.reserve((MOST_CELLS + 1) * 4);
    this.#thresholds = scope.reserve((MOST_CELLS + 1) * 4);
    this.#count = scope.kernels.ecsqPrefix(
      this.#values,
      this.#p0,
      this.#p1,
      this.#n0,
      atoms.weight,
      atoms.sum,
      atoms.tally,
      atoms.count,
      this.#result,
    );
    const [shift = 0, variation = 0] = scope.f64(this.#result, 2);
    const [mass = 0] = scope.f64(this.#p0 + this.#count * 8, 1);
    const [weights = 0] = scope.f64(this.#n0 + this.#count * 8, 1);
    this.#shift = shift;
    this.weights = weights;
    this.variation = variation;
    this.signal = variation + shift * shift * mass;
  }

  /** Whether any atom has weight. */
  get empty(): boolean {
    return this.#count === 0;
  }

  /** The best partition found for this `lambda`: of several starts, where few cells make them differ. */
  point(lambda: number): EcsqPoint {
    return this.#best(lambda).point;
  }

  #best(lambda: number): { readonly point: EcsqPoint; readonly offset: number } {
    let best = this.#solve(lambda, 0);
    let offset = 0;
    if (this.#options.pins.length > 0 || best.levels > TWO_STARTS) return { point: best, offset };
    for (const other of best.levels > FOUR_STARTS ? [0.5] : [0.25, 0.5, 0.75]) {
      const found = this.#solve(lambda, other);
      if (found.error + lambda * found.bits < best.error + lambda * best.bits) {
        best = found;
        offset = other;
      }
    }
    return { point: best, offset };
  }

  #solve(lambda: number, offset: number): EcsqPoint {
    const { levels, pins } = this.#options;
    const [pin] = pins;
    const cells = this.#scope.kernels.ecsq(
      this.#bounds,
      this.#centers,
      this.#lengths,
      this.#result,
      this.#values,
      this.#atoms.weight,
      this.#atoms.sum,
      this.#p0,
      this.#p1,
      this.#n0,
      this.#count,
      this.#shift,
      this.variation,
      lambda,
      ENTRY_BITS,
      levels,
      pin === undefined ? 0 : 1,
      pin ?? 0,
      offset,
    );
    const [bits = 0, error = 0] = this.#scope.f64(this.#result, 2);
    return { lambda, bits: bits + ENTRY_BITS * cells, error, levels: cells };
  }

  /** Codebook and thresholds of the point at `lambda`. */
  clustering(lambda: number): Clustering {
    // the kernel's partition is that of the last start
    const { levels } = this.#solve(lambda, this.#best(lambda).offset);
    const { format, pins } = this.#options;
    const [, , , held = -1] = this.#scope.f64(this.#result, 4);
    const count = this.#scope.kernels.codebookOfCells(
      this.#codebook,
      this.#thresholds,
      this.#bounds,
      this.#centers,
      this.#lengths,
      levels,
      this.#atoms.weight,
      this.#atoms.sum,
      this.#p0,
      this.#n0,
      lambda,
      held,
      pins[0] ?? 0,
      format,
    );
    const codebook = this.#scope.f32(this.#codebook, count).slice();
    // a codebook has two values at least: the second has no weights
    if (count < 2)
      return {
        codebook: Float32Array.of(...codebook, ...codebook),
        thresholds: Float32Array.of(Number.POSITIVE_INFINITY),
      };
    return { codebook, thresholds: this.#scope.f32(this.#thresholds, count - 1).slice() };
  }

  /** The lambda whose point comes nearest to the target from the side that keeps it. */
  reach(target: RateTarget | undefined): number {
    if (!target) return 0;
    if (target.kind === "lambda") return target.value;
    // how many bits a weight too many
    const excess = ({ bits, error }: EcsqPoint): number => {
      if (target.kind === "bits") return bits / this.weights - target.value;
      return error > 0 ? (this.#decibels(this.signal / error) - target.value) / DB_PER_BIT : Number.POSITIVE_INFINITY;
    };
    const spread = this.variation / this.weights;
    if (!(spread > 0)) return 0;
    let lambda =
      target.kind === "bits"
        ? 1.97 * spread * power2(-2 * target.value)
        : 1.39 * (this.signal / this.weights) * power2((-2 * target.value) / DB_PER_BIT);
    // beyond this every value that can have a code has one
    const least = spread * power2(-20) * power2(-20) * power2(-20);
    const slack = target.kind === "bits" ? Math.max(NEAR_BITS, target.value * SLACK) : NEAR_BITS;
    let low = 0;
    let high = Number.POSITIVE_INFINITY;
    let best = lambda;
    let before = Number.NaN;
    let nearest = Number.POSITIVE_INFINITY;
    for (let trial = 0; trial < MOST_TRIALS; trial++) {
      const much = excess(this.point(lambda));
      const kept = target.kind === "bits" ? much <= slack : much >= -NEAR_BITS;
      // what keeps the target comes before what is nearer
      const distance = kept ? Math.abs(much) : Math.abs(much) + 1e9;
      if (distance < nearest) {
        nearest = distance;
        best = lambda;
      }
      if (Math.abs(much) <= NEAR_BITS || lambda < least) break;
      if (much > 0) low = lambda;
      else high = lambda;
      let next = lambda * power2(2 * much);
      if (low > 0 && high < Number.POSITIVE_INFINITY) {
        // rates jump where a level comes or goes: no use in looking closer
        if (high < low * 1.002) break;
        // every third trial halves, so that a steep place cannot hold the search up
        if (!(next > low && next < high) || trial % 3 === 2) next = Math.sqrt(low * high);
      } else {
        // all levels are used: a smaller lambda buys nothing any more
        if (lambda < high && Math.abs(much - before) < 10 * NEAR_BITS) break;
        next = low > 0 ? Math.max(next, 4 * lambda) : Math.min(next, lambda / 4);
        before = much;
      }
      lambda = next;
    }
    return best;
  }

  #decibels(ratio: number): number {
    return (DB_PER_BIT / 2) * this.#scope.kernels.binaryLogarithm(ratio);
  }
}

/** 2^x for |x| up to some 100, roughly, and with the same bits on every engine. */
export function power2(x: number): number {
  let y = 1 + (Math.max(-24, Math.min(24, x)) * Math.LN2) / 4096;
  for (let i = 0; i < 12; i++) y *= y;
  return y;
}

/** The codebook for the rate or error that the options want; `undefined` where no atom has weight. */
export function ecsqClustering(scope: EncodeScope, atoms: Atoms, options: ClusterOptions): Clustering | undefined {
  const curve = new EcsqCurve(scope, atoms, options);
  if (curve.empty) return undefined;
  return curve.clustering(curve.reach(options.target));
}
