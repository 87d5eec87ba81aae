// Rate-curve: what a tensor, entropy-coded, takes and loses at several prices of a bit, from one look at its weights.
import { runAtoms } from "./atoms.ts";
import { groupingOf } from "./codebook.ts";
import { EcsqCurve, type EcsqPoint } from "./ecsq.ts";
import type { QuantizePlan } from "./options.ts";
import { type Passes, wholeRun } from "./passes.ts";
import { normalizedRun } from "./scale.ts";
import type { EncodeScope } from "./wasm/encode.ts";

const SCALE_BITS = 16;

/** Points of a tensor's curve, one for each of the `lambdas`. */
export interface RatePoints {
  /** Sum of importance times squared weight. */
  readonly signal: number;
  readonly points: readonly Pick<EcsqPoint, "bits" | "error">[];
}

/** The points of a tensor with one codebook, with its first scales where it has some. */
export function* pointsAt(
  scope: EncodeScope,
  { shape, scale, axis, groupSize, levels, cluster }: QuantizePlan,
  lambdas: readonly number[],
  weighted: boolean,
): Passes<RatePoints> {
  const grouping = groupingOf(scale === "none" ? "tensor" : scale, shape, axis, groupSize);
  const mark = scope.mark();
  const whole = wholeRun(scope, grouping.count, weighted);
  const run = scale === "none" ? whole : yield* normalizedRun(scope, whole, grouping);
  const curve = new EcsqCurve(scope, yield* runAtoms(scope, run, levels, true), cluster);
  const scales = scale === "none" ? 0 : SCALE_BITS * grouping.groups;
  const points = lambdas.map((lambda) => {
    const { bits, error } = curve.empty ? { bits: 0, error: 0 } : curve.point(lambda);
    return { bits: bits + scales, error };
  });
  scope.release(mark);
  return { signal: curve.signal, points };
}
