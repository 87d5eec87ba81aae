// Optimal weighted 1-D k-means by trying everything: for tiny inputs, to be right at a glance.
import { countFree, type Point, type Solution, sortedPoints } from "./points.ts";

/**
 * The least `sum w (x - c)^2` over all codebooks of `k` values of which `pins` are given and the others are free.
 *
 * Every distinct value, in ascending order, has at most three choices: go to the nearest pin, join the free cluster that
 * was opened last, or open another free cluster. The optimal clusters are intervals (a value between two members of a
 * cluster is nearer to its centre than to any centre beyond them), so the optimum is among these assignments. A free
 * cluster's centre is its mean, which is best for its members. Pins may stay empty; fewer free clusters may be used.
 * Time 2^n without pins, 3^n with pins: keep n <= 12.
 */
export function bruteForce(
  values: readonly number[],
  weights: readonly number[] | undefined,
  k: number,
  pins: readonly number[] = [],
): Solution {
  const points = sortedPoints(values, weights);
  const free = countFree(k, pins);
  let bestCost = Number.POSITIVE_INFINITY;
  let bestMeans: number[] = [];

  const tryAll = (next: number, clusters: readonly Point[][], pinCost: number): void => {
    const point = points[next];
    if (point === undefined) {
      const means = clusters.map(mean);
      const cost = clusters.reduce((sum, members, c) => sum + squaredError(members, means[c] as number), pinCost);
      if (cost < bestCost) {
        bestCost = cost;
        bestMeans = means;
      }
      return;
    }
    if (pins.length > 0) {
      tryAll(next + 1, clusters, pinCost + Math.min(...pins.map((pin) => squaredError([point], pin))));
    }
    const last = clusters.at(-1);
    if (last !== undefined) tryAll(next + 1, [...clusters.slice(0, -1), [...last, point]], pinCost);
    if (clusters.length < free) tryAll(next + 1, [...clusters, [point]], pinCost);
  };

  tryAll(0, [], 0);
  return { cost: bestCost, codebook: [...pins, ...bestMeans].sort((a, b) => a - b) };
}

function mean(members: readonly Point[]): number {
  let w = 0;
  let wx = 0;
  for (const point of members) {
    w += point.w;
    wx += point.w * point.x;
  }
  return wx / w;
}

function squaredError(members: readonly Point[], centre: number): number {
  let error = 0;
  for (const point of members) error += point.w * (point.x - centre) ** 2;
  return error;
}
