// Rate-curve: what a tensor, entropy-coded, takes and loses at several prices of a bit, from one look at its weights.
import type { runAtoms } from "./atoms.ts";
import type { groupingOf } from "./codebook.ts";
import type { EcsqCurve, EcsqPoint } from "./ecsq.ts";
import type { QuantizePlan } from "./options.ts";
import type { Passes } from "./passes.ts";
import type { codebookRun } from "./scale.ts";
import type { EncodeScope } from "./wasm/encode.ts";

const SCALE_BITS = 16;

/** What this file needs of others that it does not import, so that bundlers can keep it apart. */
interface Library {
  readonly EcsqCurve: typeof EcsqCurve;
  readonly codebookRun: typeof codebookRun;
  readonly groupingOf: typeof groupingOf;
  readonly runAtoms: typeof runAtoms;
}

/** Points of a tensor's curve, one for each of the `lambdas`. */
export interface RatePoints {
  /** Sum of importance times squared weight. */
  readonly signal: number;
  readonly points: readonly Pick<EcsqPoint, "bits" | "error">[];
}

/** The points of a tensor with one codebook, with its first scales where it has some. */
export function* pointsAt(
  { EcsqCurve, codebookRun, groupingOf, runAtoms }: Library,
  scope: EncodeScope,
  plan: QuantizePlan,
  lambdas: readonly number[],
  weighted: boolean,
): Passes<RatePoints> {
  const { shape, scale, axis, groupSize, levels, cluster } = plan;
  const mark = scope.mark();
  const run = yield* codebookRun(scope, plan, weighted);
  const curve = new EcsqCurve(scope, yield* runAtoms(scope, run, levels, true), cluster);
  const scales = scale === "none" ? 0 : SCALE_BITS * groupingOf(scale, shape, axis, groupSize).groups;
  const points = lambdas.map((lambda) => {
    const { bits, error } = curve.empty ? { bits: 0, error: 0 } : curve.point(lambda);
    return { bits: bits + scales, error };
  });
  scope.release(mark);
  return { signal: curve.signal, points };
}
