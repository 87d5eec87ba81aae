// Lloyd: S. P. Lloyd's second method (IEEE Transactions on Information Theory 28(2), 1982), one step after another.

import type { Prefix } from "./atoms.ts";
import type { Atom } from "./histogram.ts";

/**
 * One step: every atom goes to the nearest centroid, the lower one in the middle; then every centroid that is not pinned
 * and has members becomes their mean. Means come from the prefix sums, as in the kernel, so that bits can be compared.
 */
export function lloydStep(codebook: readonly number[], prefix: Prefix, pinned: readonly boolean[]): number[] {
  const { kept, p0, p1, shift } = prefix;
  const owner = kept.map((atom) => nearest(atom, codebook));
  return codebook.map((own, c) => {
    const begin = owner.indexOf(c);
    const end = owner.lastIndexOf(c) + 1;
    if (begin < 0 || pinned[c]) return own;
    const weight = (p0[end] as number) - (p0[begin] as number);
    return ((p1[end] as number) - (p1[begin] as number)) / weight + shift;
  });
}

/** Number of midpoints below the atom. */
function nearest(atom: Atom, codebook: readonly number[]): number {
  const value = atom.sum / atom.weight;
  let c = 0;
  while (c < codebook.length - 1 && value > ((codebook[c] as number) + (codebook[c + 1] as number)) * 0.5) c++;
  return c;
}

/** Steps until nothing moves; how many were needed, the last one, which moves nothing, not counted. */
export function lloyd(
  codebook: readonly number[],
  prefix: Prefix,
  pinned: readonly boolean[],
  steps: number,
): { codebook: number[]; steps: number } {
  let current = [...codebook];
  for (let step = 0; step < steps; step++) {
    const next = lloydStep(current, prefix, pinned);
    if (next.every((value, c) => value === current[c])) return { codebook: current, steps: step };
    current = next;
  }
  return { codebook: current, steps };
}

/** Squared error of the atoms, each at its mean, with their nearest centroids. */
export function lloydCost(codebook: readonly number[], { kept }: Prefix): number {
  let cost = 0;
  for (const { weight, sum } of kept) cost += weight * Math.min(...codebook.map((c) => (sum / weight - c) ** 2));
  return cost;
}
