// Curve: what numbers of levels leave in a layer's output, measured at a few and drawn through them.
import type { QuantizePlan } from "../options.ts";

// Measuring takes as long as quantizing; between these the error times the square of the levels changes little.
const MEASURED = [4, 16, 64];

/** Errors at ascending `levels`, from `measure` at some of them. */
export function curveThrough(levels: readonly number[], measure: (levels: number) => number): number[] {
  const most = levels.at(-1) ?? 0;
  const at = levels.length === 1 ? levels : MEASURED.filter((k) => k <= most);
  const points = (at.length > 0 ? at : [most]).map((k) => ({ k, factor: measure(k) * k * k }));
  let least = Number.POSITIVE_INFINITY;
  return levels.map((k) => {
    const next = points.findIndex((point) => point.k >= k);
    const above = points[next < 0 ? points.length - 1 : next] as { k: number; factor: number };
    const below = points[next < 0 ? points.length - 1 : Math.max(0, next - 1)] as { k: number; factor: number };
    const share = above.k > below.k ? (k - below.k) / (above.k - below.k) : 0;
    // more levels never do worse: they need not all be used
    least = Math.min(least, (below.factor + share * (above.factor - below.factor)) / (k * k));
    return least;
  });
}

/** The same plan with another number of levels. */
export function withLevels(plan: QuantizePlan, levels: number): QuantizePlan {
  return { ...plan, levels, cluster: { ...plan.cluster, levels } };
}
