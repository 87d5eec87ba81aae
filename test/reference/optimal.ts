// Optimal weighted 1-D k-means by the plain dynamic programme, O(k n^2): the reference for inputs up to some thousand values.
import { countFree, type Point, type Solution, sortedPoints } from "./points.ts";

/** How the best assignment of a prefix ends: the interval `cut .. prefix` goes to a free mean or to the last passed pin. */
interface Ending {
  readonly cost: number;
  readonly owner: "nobody" | "free" | "pin";
  readonly cut: number;
}

/**
 * The least `sum w (x - c)^2` over all codebooks of `k` values of which `pins` are given and the others are free.
 *
 * The recurrence of J. D. Bruce, "Optimum quantization", MIT RLE Technical Report 429, 1965, and of H. Wang and M. Song,
 * "Ckmeans.1d.dp: optimal k-means clustering in one dimension by dynamic programming", The R Journal 3(2), 2011: the best
 * clustering of the first j sorted values ends with an interval i .. j and leaves the best clustering of the first i.
 * Pins (ours) are centres that intervals may go to as well, in ascending order; a passed pin may own nothing. So the
 * state is (pins passed, free clusters used, values assigned).
 *
 * Interval costs grow by one value at a time with D. H. D. West's update (Communications of the ACM 22(9), 1979), which
 * adds positive terms only: nothing cancels.
 */
export function optimal(
  values: readonly number[],
  weights: readonly number[] | undefined,
  k: number,
  pins: readonly number[] = [],
): Solution {
  const points = sortedPoints(values, weights);
  const free = countFree(k, pins);
  const centres = [...pins].sort((a, b) => a - b);

  // best(passed, used)[j]: the first j points, exactly these pins passed and free clusters used.
  const states: Ending[][] = Array.from({ length: (centres.length + 1) * (free + 1) }, () => []);
  const best = (passed: number, used: number): Ending[] => states[passed * (free + 1) + used] as Ending[];

  for (let j = 0; j <= points.length; j++) {
    for (const endings of states) endings.push({ cost: Number.POSITIVE_INFINITY, owner: "nobody", cut: j });
    if (j === 0) best(0, 0)[0] = { cost: 0, owner: "nobody", cut: 0 };

    // The last interval is points i .. j - 1, for every i, one point longer at a time.
    let w = 0;
    let mean = 0;
    let meanCost = 0;
    const pinCosts = centres.map(() => 0);
    for (let i = j - 1; i >= 0; i--) {
      const point = points[i] as Point;
      const delta = point.x - mean;
      meanCost += ((w * point.w) / (w + point.w)) * delta * delta;
      w += point.w;
      mean += (point.w / w) * delta;
      for (let passed = 0; passed <= centres.length; passed++) {
        if (passed > 0) (pinCosts[passed - 1] as number) += point.w * (point.x - (centres[passed - 1] as number)) ** 2;
        for (let used = 0; used <= free; used++) {
          const endings = best(passed, used);
          if (used > 0) improve(endings, j, best(passed, used - 1), i, meanCost, "free");
          if (passed > 0) improve(endings, j, best(passed - 1, used), i, pinCosts[passed - 1] as number, "pin");
        }
      }
    }
    // A pin that owns nothing.
    for (let passed = 1; passed <= centres.length; passed++) {
      for (let used = 0; used <= free; used++) improve(best(passed, used), j, best(passed - 1, used), j, 0, "pin");
    }
  }

  let used = 0;
  for (let f = 1; f <= free; f++) {
    if (costAt(best(centres.length, f), points.length) < costAt(best(centres.length, used), points.length)) used = f;
  }
  const cost = costAt(best(centres.length, used), points.length);

  const codebook = [...centres];
  let passed = centres.length;
  for (let j = points.length; passed > 0 || used > 0; ) {
    const { owner, cut } = best(passed, used)[j] as Ending;
    if (owner === "pin") passed--;
    if (owner === "free") {
      codebook.push(meanOf(points.slice(cut, j)));
      used--;
    }
    j = cut;
  }
  return { cost, codebook: codebook.sort((a, b) => a - b) };
}

function costAt(endings: readonly Ending[], j: number): number {
  return (endings[j] as Ending).cost;
}

function improve(
  endings: Ending[],
  j: number,
  before: readonly Ending[],
  i: number,
  added: number,
  owner: "free" | "pin",
): void {
  const cost = costAt(before, i) + added;
  if (cost < costAt(endings, j)) endings[j] = { cost, owner, cut: i };
}

function meanOf(members: readonly Point[]): number {
  let w = 0;
  let mean = 0;
  for (const point of members) {
    w += point.w;
    mean += (point.w / w) * (point.x - mean);
  }
  return mean;
}
