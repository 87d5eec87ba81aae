// The input of the reference solvers: distinct values, ascending, each with the sum of its weights.

/** A distinct value and its weight, which is positive. */
export interface Point {
  readonly x: number;
  readonly w: number;
}

/** A least weighted squared error, and a codebook (ascending, pins included) that has it. */
export interface Solution {
  readonly cost: number;
  readonly codebook: number[];
}

/** Merges equal values and drops those of weight 0, which cannot matter. Absent weights are ones. */
export function sortedPoints(values: readonly number[], weights: readonly number[] | undefined): Point[] {
  const total = new Map<number, number>();
  values.forEach((value, i) => {
    const w = weights === undefined ? 1 : weights[i];
    if (w === undefined || !(w >= 0)) throw new RangeError(`weight ${i} is ${w}`);
    const x = value + 0; // -0 becomes 0
    if (w > 0) total.set(x, (total.get(x) ?? 0) + w);
  });
  return [...total].map(([x, w]) => ({ x, w })).sort((a, b) => a.x - b.x);
}

/** How many of the k values are free. */
export function countFree(k: number, pins: readonly number[]): number {
  if (!Number.isInteger(k) || k < 1 || k < pins.length) throw new RangeError(`k is ${k} with ${pins.length} pins`);
  return k - pins.length;
}
