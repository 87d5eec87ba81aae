// Statistics: paired differences with their mean and 95 % interval.

/** A mean of paired differences. */
export interface Difference {
  readonly each: readonly number[];
  readonly mean: number;
  /** 95 % interval of the mean, Student's t. */
  readonly low: number;
  readonly high: number;
}

// 97.5 % quantiles of Student's t with 1, 2, … degrees of freedom
const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131];

export function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** `a` minus `b`, pair by pair. */
export function pairedDifference(a: readonly number[], b: readonly number[]): Difference {
  const each = a.map((x, i) => round(x - (b[i] as number)));
  const centre = mean(each);
  const variance = each.reduce((sum, x) => sum + (x - centre) ** 2, 0) / (each.length - 1);
  const half =
    each.length > 1 ? (T[each.length - 2] ?? 1.96) * Math.sqrt(variance / each.length) : Number.POSITIVE_INFINITY;
  return { each, mean: round(centre), low: round(centre - half), high: round(centre + half) };
}

/** Errors are hundredths of a percent; more than six digits of a mean are noise of the arithmetic. */
export function round(x: number): number {
  return Number.isFinite(x) ? Math.round(x * 1e6) / 1e6 : x;
}
