// Scale: factors per channel or group before one shared codebook, found in turns with it.
import { clusterRun } from "./cluster.ts";
import { type Clustering, type Grouping, groupingOf, MOST_GROUPS, runPlace } from "./codebook.ts";
import { WlqError } from "./error.ts";
import type { ClusterOptions, QuantizePlan, RateTarget } from "./options.ts";
import { eachTile, type Passes, type Run, TILE, wholeRun } from "./passes.ts";
import type { EncodeScope } from "./wasm/encode.ts";

/** A shared codebook and the scale values of its groups. */
export interface ScaledCodebook extends Clustering {
  readonly scale: Float32Array;
}

// Turns of codebook and scales: two give nearly all there is. A turn is some three passes over the weights.
const TURNS = 2;
// Larger groups start at their root mean square, smaller ones at their largest magnitude, which then has a code of its own.
const SMALL_GROUP = 256;

/**
 * A codebook optimal for w / s with importance s^2 and, in turn, s as the least-squares fit of its group. Scales are
 * float16 before any weight is assigned; the largest begins at 1, so that they fit float16's range.
 * `whole` fetches the tensor as one run in row-major order.
 */
export function* clusterScaled(
  scope: EncodeScope,
  whole: Run,
  grouping: Grouping,
  options: ClusterOptions,
): Passes<ScaledCodebook> {
  const scale = new Float32Array(grouping.groups);
  let clustering: Clustering = { codebook: new Float32Array(options.levels) };
  if (grouping.count === 0) return { ...clustering, scale };
  const mark = scope.mark();
  const fit = new ScaleFit(scope, whole, grouping, scale);
  yield* fit.start();
  const target = withoutScales(options.target, grouping);
  for (let turn = 0; turn < TURNS; turn++) {
    // the rounding to the tensor's dtype comes after the product with the scale
    clustering = yield* clusterRun(scope, fit.normalized(), { ...options, target, format: 0 });
    yield* fit.refit(clustering);
  }
  scope.release(mark);
  return { ...clustering, scale };
}

/**
 * The tensor as one run, to look at what codebooks would cost: where it has scales as w / s by its first ones, each weight
 * counting s^2 times its importance. Takes room that the caller releases.
 */
export function* codebookRun(
  scope: EncodeScope,
  { scale, shape, axis, groupSize }: QuantizePlan,
  weighted: boolean,
): Passes<Run> {
  const grouping = groupingOf(scale === "none" ? "tensor" : scale, shape, axis, groupSize);
  const whole = wholeRun(scope, grouping.count, weighted);
  if (scale === "none") return whole;
  const fit = new ScaleFit(scope, whole, grouping, new Float32Array(grouping.groups));
  yield* fit.start();
  return fit.normalized();
}

// Scales are a part of the bits a weight that are wanted.
function withoutScales(target: RateTarget | undefined, { groups, count }: Grouping): RateTarget | undefined {
  return target?.kind === "bits" ? { kind: "bits", value: target.value - (16 * groups) / count } : target;
}

/**
 * Per-group sums and factors in Wasm memory. Where groups are consecutive stretches only those of one tile are held, so
 * that millions of small groups cost nothing; channels of an inner axis come back again and again and are all held.
 */
class ScaleFit {
  readonly #scope: EncodeScope;
  readonly #whole: Run;
  readonly #grouping: Grouping;
  readonly #scale: Float32Array;
  /** Tiles end at group ends and groups are finished with their tile. */
  readonly #windowed: boolean;
  readonly #tile: number;
  readonly #held: number;
  readonly #sums: number;
  readonly #inverse: number;
  readonly #square: number;
  readonly #values: number;
  readonly #cost: number;
  readonly #codes: number;
  readonly #codebook: number;
  readonly #thresholds: number;

  constructor(scope: EncodeScope, whole: Run, grouping: Grouping, scale: Float32Array) {
    const { groups, inner, outer } = grouping;
    if (groups > MOST_GROUPS && inner > TILE) {
      throw new WlqError(
        "limit",
        `${groups} channels of ${inner} weights are too many for a scale each: use codebooks a channel`,
      );
    }
    this.#scope = scope;
    this.#whole = whole;
    this.#grouping = grouping;
    this.#scale = scale;
    this.#windowed = outer === 1 && inner <= TILE;
    this.#tile = this.#windowed ? TILE - (TILE % inner) : TILE;
    this.#held = this.#windowed ? Math.min(groups, Math.ceil(TILE / inner) + 1) : groups;
    this.#sums = scope.reserve(this.#held * 32);
    this.#inverse = scope.reserve(this.#held * 4);
    this.#square = scope.reserve(this.#held * 4);
    this.#values = scope.reserve(TILE * 4);
    this.#cost = scope.reserve(TILE * 4);
    this.#codes = scope.reserve(TILE);
    this.#codebook = scope.reserve(1024);
    this.#thresholds = scope.reserve(1024);
  }

  /** Scales from the groups' own size. */
  *start(): Passes<void> {
    const { inner, outer, count } = this.#grouping;
    const size = Math.min(count, inner * outer);
    // with values of 1 the last sum is that of the importance: a root mean square must not depend on its size
    this.#scope.f32(this.#values, TILE).fill(1);
    yield* this.#eachTile(0, ([square = 0, top = 0, , importance = 0]) => {
      return size > SMALL_GROUP && importance > 0 ? Math.sqrt(square / importance) || top : top;
    });
    let largest = 0;
    for (const s of this.#scale) largest = Math.max(largest, s);
    if (largest > 0) for (let g = 0; g < this.#scale.length; g++) this.#scale[g] = (this.#scale[g] as number) / largest;
    this.#round();
  }

  /** Scales that fit the codes of this codebook best. */
  *refit({ codebook, thresholds }: Clustering): Passes<void> {
    const scope = this.#scope;
    scope.f32(this.#codebook, codebook.length).set(codebook);
    scope.kernels.thresholds(this.#thresholds, this.#codebook, codebook.length, 256);
    if (thresholds) scope.f32(this.#thresholds, thresholds.length).set(thresholds);
    this.#hold(0, this.#held);
    yield* this.#eachTile(codebook.length, ([, , cross = 0, own = 0], present) => {
      return own > 0 && cross > 0 ? cross / own : present;
    });
    this.#round();
  }

  /** The tensor as w / s, each weight counting s^2 times its importance. */
  normalized(): Run {
    const fit = this;
    const whole = this.#whole;
    this.#hold(0, this.#held);
    return {
      count: whole.count,
      weights: this.#values,
      importance: this.#cost,
      *fetch(start, end) {
        yield* whole.fetch(start, end);
        fit.#normalize(start, end - start);
      },
      check: whole.check,
    };
  }

  // Sums of every group, then its new scale; `levels` > 0: with the codes of the codebook held in Wasm memory.
  *#eachTile(levels: number, scaleOf: (sums: Float64Array, present: number) => number): Passes<void> {
    const scope = this.#scope;
    const whole = this.#whole;
    const { groups, inner } = this.#grouping;
    const sums = (): Float64Array => scope.f64(this.#sums, this.#held * 4);
    // a window's groups are done with it; those of other sections stay 0 here
    const found = new Float32Array(groups);
    const settle = (first: number, count: number): void => {
      for (let j = 0; j < count; j++) {
        found[first + j] = scaleOf(sums().subarray(j * 4, j * 4 + 4), this.#scale[first + j] as number);
      }
    };
    // largest magnitudes are no sums: without windows one thread does it
    const shared = this.#windowed ? () => found : sums;
    yield* eachTile(scope, whole, this.#tile, this.#tile * (this.#windowed ? 32 : 1e9), shared, (start, end) => {
      const n = end - start;
      if (levels > 0) {
        // nearest in w / s is nearest in w but for a rounding: good enough to fit a factor
        this.#normalize(start, n);
        // the costs are not wanted here: their place is the search's scratch
        scope.kernels.assign(this.#codes, this.#values, n, this.#thresholds, levels, 128, this.#cost);
        scope.kernels.lookup32(this.#values, this.#codes, n, this.#codebook, levels, false);
      }
      const period = this.#windowed ? -1 : groups;
      const at = runPlace(inner, this.#windowed ? 0 : start % (groups * inner));
      if (this.#windowed) sums().fill(0);
      scope.kernels.scaleSums(this.#sums, whole.weights, this.#values, whole.importance, n, at.inner, period, at.first);
      if (this.#windowed) settle(start / inner, Math.ceil(n / inner));
    });
    if (!this.#windowed) settle(0, groups);
    this.#scale.set(found);
  }

  // w / s and s^2 of the weights in hand, to `#values` and `#cost`.
  #normalize(start: number, count: number): void {
    const { inner, groups } = this.#grouping;
    let first = start % (groups * inner);
    if (this.#windowed) {
      const group = Math.floor(start / inner);
      first = start - group * inner;
      this.#hold(group, Math.min(groups, Math.ceil((start + count) / inner)) - group);
    }
    const at = runPlace(inner, first);
    this.#scope.kernels.normalizeRuns(
      this.#values,
      this.#cost,
      this.#whole.weights,
      this.#whole.importance,
      count,
      this.#inverse,
      this.#square,
      at.inner,
      this.#windowed ? -1 : groups,
      at.first,
    );
  }

  #hold(first: number, groups: number): void {
    const inverse = this.#scope.f32(this.#inverse, groups);
    const square = this.#scope.f32(this.#square, groups);
    for (let j = 0; j < groups; j++) {
      const s = this.#scale[first + j] ?? 0;
      inverse[j] = s > 0 ? 1 / s : 0;
      square[j] = s * s;
    }
  }

  // To float16; a scale too small for it is kept at the smallest, since 0 is for groups of zeros.
  #round(): void {
    const scale = this.#scale;
    const mark = this.#scope.mark();
    const at = this.#scope.reserve(TILE * 4);
    for (let from = 0; from < scale.length; from += TILE) {
      const part = scale.subarray(from, from + TILE);
      for (let g = 0; g < part.length; g++) {
        const s = part[g] as number;
        part[g] = s > 0 ? Math.min(65504, Math.max(s, 2 ** -24)) : 0;
      }
      this.#scope.f32(at, part.length).set(part);
      this.#scope.kernels.roundTo(at, part.length, 1);
      part.set(this.#scope.f32(at, part.length));
    }
    this.#scope.release(mark);
  }
}
