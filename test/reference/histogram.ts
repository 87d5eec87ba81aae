// Histogram: bins of consecutive float32, exact sums, and how many bins each coarse cell deserves.
import { exact, floatAt, inexact, placeOf } from "./float-order.ts";

/** Every 65,536 consecutive float32 are a coarse cell. */
export const CELLS = 65536;
const PER_CELL = 65536;

export function cellOf(x: number): number {
  return Math.floor(placeOf(x) / PER_CELL);
}

/**
 * Depth per cell: the cell is cut in 2^depth bins. A cell of count c and values 2^e apart deserves a number of bins
 * ~ (c * 2^(2 e))^(1/3) (Panter and Dite, Proc. IRE 39(1), 1951: the density of the best quantizer's levels is that of
 * the data to the power 1/3), here with the logarithm of c rounded down; the largest factor that fits the budget counts.
 */
export function depths(counts: Uint32Array, budget: number): number[] {
  const merits: (number | undefined)[] = Array.from(counts, (count, cell) => {
    if (count === 0) return undefined;
    const middle = Math.abs(floatAt(cell * PER_CELL + 1));
    const exponent = Math.max(1, Math.floor(placeOf(middle) / 2 ** 23) - 256); // as stored in the bits
    return Math.floor(Math.log2(count)) + 2 * exponent;
  });
  const present = merits.filter((merit) => merit !== undefined);
  const depthOf = (merit: number | undefined, constant: number): number => {
    return merit === undefined ? 0 : Math.max(0, Math.min(16, Math.floor((merit + constant) / 3)));
  };
  let constant = 48;
  const cost = (): number => {
    let bins = 0;
    for (const merit of present) {
      const depth = depthOf(merit, constant);
      if (depth > 0) bins += 2 ** depth;
    }
    return bins;
  };
  while (cost() > budget) constant--;
  return merits.map((merit) => depthOf(merit, constant));
}

/** Which bin each weight is in, bins counted over all cells in ascending order. */
export function binsOf(values: Float32Array, depth: readonly number[]): number[] {
  const first: number[] = [];
  let next = 0;
  for (const d of depth) {
    first.push(next);
    next += 2 ** d;
  }
  return Array.from(values, (x) => {
    const cell = cellOf(x);
    const within = placeOf(x) - cell * PER_CELL;
    return (first[cell] as number) + Math.floor(within / (PER_CELL / 2 ** (depth[cell] as number)));
  });
}

export interface Atom {
  readonly weight: number;
  readonly sum: number;
}

/** The bins that hold something, ascending: how many weights, and their sum, exact but for one rounding at the end. */
export function atoms(values: Float32Array, bins: readonly number[]): Atom[] {
  const counts = new Map<number, number>();
  const sums = new Map<number, bigint>();
  values.forEach((x, i) => {
    const bin = bins[i] as number;
    counts.set(bin, (counts.get(bin) ?? 0) + 1);
    sums.set(bin, (sums.get(bin) ?? 0n) + exact(x));
  });
  return [...counts.keys()]
    .sort((a, b) => a - b)
    .map((bin) => ({ weight: counts.get(bin) as number, sum: inexact(sums.get(bin) as bigint) }));
}

/** The same with importance: sums of importance and of importance * weight, in data order, bins without weight left out. */
export function weightedAtoms(values: Float32Array, importance: Float32Array, bins: readonly number[]): Atom[] {
  const totals = new Map<number, { weight: number; sum: number }>();
  values.forEach((x, i) => {
    const total = totals.get(bins[i] as number) ?? { weight: 0, sum: 0 };
    total.weight += importance[i] as number;
    total.sum += (importance[i] as number) * x;
    totals.set(bins[i] as number, total);
  });
  return [...totals]
    .filter(([, total]) => total.weight !== 0)
    .sort(([a], [b]) => a - b)
    .map(([, total]) => total);
}

/** Distinct values (one zero) and the sum of their weights, in order of appearance. */
export function distinct(values: Float32Array, importance: Float32Array | undefined): Map<number, number> {
  const weights = new Map<number, number>();
  values.forEach((x, i) => weights.set(x + 0, (weights.get(x + 0) ?? 0) + (importance?.[i] ?? 1)));
  return weights;
}
