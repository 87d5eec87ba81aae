// Moments: sums in four lanes, extremes, and the first value that is not finite.

export interface Moments {
  sum: number;
  squares: number;
  low: number;
  high: number;
}

/** Sums of values in the lanes i mod 4, joined as (0 + 1) + (2 + 3). */
export function laneSum(values: ArrayLike<number>): number {
  const lanes: [number, number, number, number] = [0, 0, 0, 0];
  for (let i = 0; i < values.length; i++) lanes[(i % 4) as 0 | 1 | 2 | 3] += values[i] as number;
  return lanes[0] + lanes[1] + (lanes[2] + lanes[3]);
}

/** `before`, with the values added. A zero extreme is +0. */
export function moments(before: Moments, values: Float32Array): Moments {
  return {
    sum: before.sum + laneSum(values),
    squares: before.squares + laneSum(Array.from(values, (x) => x * x)),
    low: Math.min(before.low, ...values) + 0,
    high: Math.max(before.high, ...values) + 0,
  };
}

/** Index of the first infinity or NaN, or the length. */
export function firstNonFinite(values: Float32Array): number {
  const index = values.findIndex((x) => !Number.isFinite(x));
  return index < 0 ? values.length : index;
}

export function maxMagnitude(values: Float32Array): number {
  let top = 0;
  for (const x of values) top = Math.max(top, Math.abs(x));
  return top;
}
