// Codebook: ascending values without duplicates, and the thresholds between neighbours in exact arithmetic.

import { exact, floatAt, placeOf } from "./float-order.ts";
import { rounded } from "./half.ts";
import type { Atom } from "./histogram.ts";

/** Ascending distinct values (one zero), the last repeated up to k; 0 where there is none. */
export function tidy(values: readonly number[], k: number): { codebook: number[]; distinct: number } {
  const kept = [...new Set(values.map((x) => x + 0))].sort((a, b) => a - b);
  const last = kept.at(-1) ?? 0;
  return { codebook: [...kept, ...Array<number>(Math.max(0, k - kept.length)).fill(last)], distinct: kept.length };
}

/** Centroids of intervals of atoms (`kind` -1) and pins (`kind` their number), rounded to float32 and to the format. */
export function codebookOf(
  bounds: readonly number[],
  kinds: readonly number[],
  atoms: readonly Atom[],
  pins: readonly number[],
  format: number,
): { codebook: number[]; distinct: number } {
  const values: number[] = [];
  kinds.forEach((kind, t) => {
    if (kind >= 0) {
      values.push(pins[kind] as number);
      return;
    }
    const members = atoms.slice(bounds[t], bounds[t + 1]);
    if (members.length === 0) return;
    let weight = 0;
    let sum = 0;
    for (const atom of members) {
      weight += atom.weight;
      sum += atom.sum;
    }
    values.push(rounded(Math.fround(sum / weight), format));
  });
  return tidy(values, kinds.length);
}

/**
 * The largest float32 that is not nearer to b than to a, a < b: the largest t with 2 t <= a + b in whole numbers of
 * 2^-149, by halving the ordered float32.
 */
export function threshold(a: number, b: number): number {
  const twice = exact(a) + exact(b);
  let low = placeOf(a);
  let high = placeOf(b);
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (2n * exact(floatAt(middle)) <= twice) low = middle;
    else high = middle - 1;
  }
  return floatAt(low);
}

/** Thresholds of an ascending codebook: infinity between equal values and up to `padded` entries. */
export function thresholds(codebook: ArrayLike<number>, padded: number): Float32Array {
  const out = new Float32Array(Math.max(padded, codebook.length - 1)).fill(Number.POSITIVE_INFINITY);
  for (let i = 0; i + 1 < codebook.length; i++) {
    const [a, b] = [codebook[i] as number, codebook[i + 1] as number];
    if (a !== b) out[i] = threshold(a, b);
  }
  return out;
}

/** The nearest value's index in exact arithmetic, the lowest among equals: what a code is. */
export function nearestCode(x: number, codebook: ArrayLike<number>): number {
  const at = exact(x);
  const distance = (c: number): bigint => {
    const d = at - exact(codebook[c] as number);
    return d < 0n ? -d : d;
  };
  let best = 0;
  for (let c = 1; c < codebook.length; c++) if (distance(c) < distance(best)) best = c;
  return best;
}
