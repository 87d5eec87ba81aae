// Atoms: prefix sums of weighted points around their mean.
import type { Atom } from "./histogram.ts";

export interface Prefix {
  readonly shift: number;
  /** Atoms that have enough weight to be felt. */
  readonly kept: Atom[];
  /** Sums of the weights before each kept atom, and of all. */
  readonly p0: number[];
  /** Sums of weight * (value - shift). */
  readonly p1: number[];
}

/** Sums in ascending order of the atoms, float64. */
export function prefix(atoms: readonly Atom[]): Prefix {
  let weight = 0;
  let sum = 0;
  for (const atom of atoms) {
    weight += atom.weight;
    sum += atom.sum;
  }
  const shift = weight > 0 ? sum / weight : 0;
  const kept: Atom[] = [];
  const p0 = [0];
  const p1 = [0];
  for (const atom of atoms) {
    const w0 = p0.at(-1) as number;
    if (w0 + atom.weight === w0) continue;
    kept.push(atom);
    p0.push(w0 + atom.weight);
    p1.push((p1.at(-1) as number) + (atom.sum - shift * atom.weight));
  }
  return { shift, kept, p0, p1 };
}
