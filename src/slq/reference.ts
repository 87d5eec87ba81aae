// Reference: the seed's clustering (yuhuixu1993/WLQ, include/caffe/kmeans.hpp), to the bit.
import { exponentOf } from "./grid.ts";
import type { Layer } from "./layer.ts";
import type { SlqPlan } from "./plan.ts";
import type { Workspace } from "./workspace.ts";

/**
 * The centroids of round `round` (from 0), in the seed's order, 0, +, -, +, - … Codes of the layer are those of the last
 * assignment, which is relative to the centroids before the last update.
 */
export function referenceRound(
  workspace: Workspace,
  layer: Layer,
  plan: SlqPlan,
  round: number,
  frozen: number,
): Float32Array {
  const { carry = "exact", update = [], steps = 10 } = plan.reference ?? {};
  const first = update[round] ?? Math.max(1, frozen);
  let centroids: Float32Array;
  if (layer.codebook.length === 0) centroids = startGrid(workspace.largestFree(layer), layer.levels);
  else centroids = carry === "text6" ? layer.codebook.map((x) => Number(sixDigits(x))) : layer.codebook.slice();
  for (let step = 0; step < steps; step++) {
    const { sums, counts } = workspace.referenceStep(layer, centroids);
    for (let c = first; c < centroids.length; c++) {
      const count = counts[c] as number;
      // float32 divided by float32
      if (count > 0) centroids[c] = (sums[c] as number) / Math.fround(count);
    }
  }
  return centroids;
}

/** 0, then n_max / 2^m and its negative; n_max = 2^floor(log2(max|w|)). */
function startGrid(largest: number, levels: number): Float32Array {
  const top = largest > 0 ? exponentOf(largest) : 0;
  return Float32Array.from({ length: levels }, (_, c) =>
    c === 0 ? 0 : (c % 2 === 1 ? 1 : -1) * 2 ** (top - ((c - 1) >> 1)),
  );
}

/**
 * Six significant digits as C++ streams write them: to nearest, and of two equally near the one with an even last digit,
 * where JavaScript's `toPrecision` takes the larger. Powers of two meet such ties: 2^-9 = 0.001953125.
 */
export function sixDigits(x: number): string {
  const seven = x.toExponential(6);
  if (Number(seven) !== x) return x.toPrecision(6);
  const [digits = "", exponent = ""] = seven.split("e");
  const tie = digits.endsWith("5");
  const even = Number(digits.at(-2)) % 2 === 0;
  return tie && even ? `${digits.slice(0, -1)}e${exponent}` : x.toPrecision(6);
}
