// Grid: codebooks of zero and signed powers of two, the best window of exponents (ESLQ) or INQ's.
import type { RoundFormat } from "../tensor.ts";

// Exponents whose powers float32, float16 and bfloat16 have; the lowest normal ones for the wide formats.
const EXPONENTS: readonly [F32: Range, F16: Range, BF16: Range] = [
  [-126, 127],
  [-24, 15],
  [-126, 127],
];
type Range = readonly [lowest: number, highest: number];

/** Counts and mantissa sums of magnitudes, 512 half octaves (see `assembly/octaves.ts`). */
export type HalfOctaves = BigUint64Array;

/**
 * The codebook of `levels` (odd) values, zero and pairs of powers of two in a row, with the least squared error; among
 * equals the highest. All windows that hold the `frozen` values are tried, exactly. Ascending.
 */
export function bestPowers(
  table: HalfOctaves,
  levels: number,
  frozen: readonly number[],
  format: RoundFormat,
): Float32Array {
  const [lowest, highest] = EXPONENTS[format];
  const size = Math.min((levels - 1) / 2, highest - lowest + 1);
  const cells = cellsOf(table);
  const data = cells.length > 0 ? (cells.at(-1) as Cell).exponent : 0;
  let low = lowest + size - 1;
  let high = highest;
  for (const value of frozen) {
    if (value === 0) continue;
    const exponent = exponentOf(Math.abs(value));
    low = Math.max(low, exponent);
    high = Math.min(high, exponent + size - 1);
  }
  // a window further up would leave its top values without weights
  high = Math.max(low, Math.min(high, data));
  let best = high;
  let least = Number.POSITIVE_INFINITY;
  for (let top = high; top >= low; top--) {
    const cost = costOf(cells, top - size + 1, top);
    if (cost < least) {
      least = cost;
      best = top;
    }
  }
  return powers(best - size + 1, best);
}

/**
 * INQ's codebook (Zhou et al., ICLR 2017): n1 = floor(log2(4 s / 3)), s the largest magnitude, and n2 such that there are
 * `levels` values. Ascending.
 */
export function inqPowers(largest: number, levels: number, format: RoundFormat): Float32Array {
  const [lowest, highest] = EXPONENTS[format];
  const size = Math.min((levels - 1) / 2, highest - lowest + 1);
  const exponent = largest > 0 ? exponentOf(largest) : 0;
  const n1 = largest >= 1.5 * 2 ** exponent ? exponent + 1 : exponent;
  const top = Math.max(lowest + size - 1, Math.min(highest, n1));
  return powers(top - size + 1, top);
}

/** floor(log2(x)) of a positive float32, exactly. */
export function exponentOf(x: number): number {
  const bits = new Uint32Array(new Float32Array([x]).buffer)[0] as number;
  const exponent = bits >>> 23;
  return exponent > 0 ? exponent - 127 : 31 - Math.clz32(bits) - 149;
}

/** 0 and ±2^low … ±2^top, ascending. */
function powers(low: number, top: number): Float32Array {
  const size = top - low + 1;
  const values = new Float32Array(2 * size + 1);
  for (let i = 0; i < size; i++) {
    values[size + 1 + i] = 2 ** (low + i);
    values[size - 1 - i] = -(2 ** (low + i));
  }
  return values;
}

interface Cell {
  readonly count: number;
  readonly sum: number;
  /** floor(log2) of its magnitudes. */
  readonly floor: number;
  /** Of the power of two that is nearest. */
  readonly exponent: number;
}

// The cell [2^E, 1.5 * 2^E) is nearest to 2^E, the one above to 2^(E + 1).
function cellsOf(table: HalfOctaves): Cell[] {
  const cells: Cell[] = [];
  for (let i = 0; i < 512; i++) {
    const count = Number(table[2 * i]);
    if (count === 0) continue;
    const biased = i >> 1;
    const sum = Number(table[2 * i + 1]) * 2 ** (Math.max(biased, 1) - 150);
    // below the normal numbers only the upper half, from 2^-127 on, can be nearer to a power than to zero
    const floor = biased > 0 ? biased - 127 : -128 + (i & 1);
    if (sum > 0) cells.push({ count, sum, floor, exponent: floor + (i & 1) });
  }
  return cells;
}

// Squared error up to the constant sum of squares. Half of the lowest power and more goes to it, less to zero.
function costOf(cells: readonly Cell[], low: number, top: number): number {
  let cost = 0;
  for (const { count, sum, floor, exponent } of cells) {
    if (floor < low - 1) continue;
    const c = 2 ** Math.max(low, Math.min(top, exponent));
    cost += c * (c * count - 2 * sum);
  }
  return cost;
}
