// Ecsq: entropy-constrained scalar quantization of weighted points, cells, centres and code lengths in turns
// (Chou, Lookabaugh & Gray, IEEE Transactions on Acoustics, Speech and Signal Processing 37, 1989), with the kernel's
// order of operations, so that bits can be compared.
import type { Prefix } from "./atoms.ts";

/** Points with prefix sums, and of `n0` of how many weights each stands for. */
export interface Points extends Prefix {
  readonly n0: readonly number[];
  /** Squared error around the shift. */
  readonly square: number;
}

export interface Cells {
  /** First atom of each cell, and the number of atoms. */
  readonly bounds: number[];
  readonly centers: number[];
  readonly lengths: number[];
  readonly bits: number;
  readonly error: number;
  readonly cost: number;
}

const view = new DataView(new ArrayBuffer(8));

/** log2 by the series of the inverse hyperbolic tangent, on a mantissa between sqrt(1/2) and sqrt(2). */
export function log2(x: number): number {
  view.setFloat64(0, x);
  const bits = view.getBigInt64(0);
  const exponent = (bits - 0x3fe6a09e667f3bcdn) >> 52n;
  view.setBigInt64(0, bits - (exponent << 52n));
  const m = view.getFloat64(0);
  const s = (m - 1) / (m + 1);
  let series = 0;
  for (let odd = 21; odd >= 1; odd -= 2) series = series * (s * s) + 1 / odd;
  return Number(exponent) + series * s * 2.8853900817779268;
}

/** Centres, lengths and cost of cells. */
export function price(bounds: readonly number[], points: Points, lambda: number, entry: number): Cells {
  const { p0, p1, n0, square } = points;
  const all = n0.at(-1) as number;
  let bits = 0;
  let error = square;
  const centers: number[] = [];
  const lengths: number[] = [];
  for (let i = 0; i + 1 < bounds.length; i++) {
    const [w, s, n] = [p0, p1, n0].map((p) => between(p, bounds, i)) as [number, number, number];
    const length = log2(all / Math.max(n, 0.5));
    error -= (s / w) * (s + s - (s / w) * w);
    bits += n * length;
    centers.push(s / w);
    lengths.push(length);
  }
  error = Math.max(error, 0);
  return { bounds: [...bounds], centers, lengths, bits, error, cost: error + lambda * (bits + entry * centers.length) };
}

function between(sums: readonly number[], bounds: readonly number[], i: number): number {
  return (sums[bounds[i + 1] as number] as number) - (sums[bounds[i] as number] as number);
}

/** Cells of the width that is best at high rates, the middle of one at the mean, moved by `offset` widths. */
export function equalSteps(points: Points, lambda: number, offset: number): number[] {
  const { kept, p0, n0, shift } = points;
  const density = (p0.at(-1) as number) / (n0.at(-1) as number);
  const step = Math.sqrt((lambda * 8.65617024533378) / density);
  const origin = shift - step * (0.5 - offset);
  const bounds: number[] = [];
  let limit = Number.NEGATIVE_INFINITY;
  kept.forEach(({ weight, sum }, i) => {
    const x = sum / weight;
    if (i > 0 && x <= limit) return;
    bounds.push(i);
    limit = origin + (Math.floor((x - origin) / step) + 1) * step;
  });
  return [...bounds, kept.length];
}

/** Every atom to the cell whose decisions enclose it; empty cells are left out. */
function reassigned({ bounds, centers, lengths }: Cells, points: Points, lambda: number): number[] {
  const { kept, p0, n0, shift } = points;
  const next: number[] = [];
  let begin = 0;
  for (let i = 0; i < centers.length; i++) {
    let end = kept.length;
    if (i + 1 < centers.length) {
      const two = [bounds[i] as number, bounds[i + 2] as number];
      const ratio = between(n0, two, 0) / between(p0, two, 0);
      const [a, b] = [centers[i] as number, centers[i + 1] as number];
      const more = (lengths[i + 1] as number) - (lengths[i] as number);
      const decision = 0.5 * (a + b) + (lambda * ratio * more) / (2 * (b - a)) + shift;
      end = kept.findIndex(({ weight, sum }, at) => at >= begin && sum / weight > decision);
      if (end < 0) end = kept.length;
    }
    if (end > begin) next.push(begin);
    begin = Math.max(begin, end);
  }
  return [...next, kept.length];
}

/** Turns until one saves less than 1e-7 of the cost. */
function turns(start: readonly number[], points: Points, lambda: number, entry: number): Cells {
  let cells = price(start, points, lambda, entry);
  for (let turn = 0; turn < 300; turn++) {
    const next = price(reassigned(cells, points, lambda), points, lambda, entry);
    const enough = !(next.cost < cells.cost * (1 - 1e-7));
    cells = next;
    if (enough) break;
  }
  return cells;
}

/** Merges neighbours, cheapest first, while there are too many or merging costs less than `entry` bits. */
function merged(start: readonly number[], points: Points, lambda: number, entry: number, levels: number): number[] {
  const { p0, p1, n0 } = points;
  const bounds = [...start];
  const all = n0.at(-1) as number;
  const cost = (b: number, e: number): number => {
    const [w, s, n] = [p0, p1, n0].map((p) => between(p, [b, e], 0)) as [number, number, number];
    return lambda * n * log2(all / n) - (s * s) / w;
  };
  for (;;) {
    let best = -1;
    let least = Number.MAX_VALUE;
    for (let i = 0; i + 2 < bounds.length; i++) {
      const [a, b, e] = bounds.slice(i, i + 3) as [number, number, number];
      const extra = cost(a, e) - cost(a, b) - cost(b, e);
      if (extra < least) [best, least] = [i, extra];
    }
    if (best < 0 || (bounds.length - 1 <= levels && !(least < lambda * entry))) return bounds;
    bounds.splice(best + 1, 1);
  }
}

/** The partition without pins. */
export function ecsq(points: Points, lambda: number, entry: number, levels: number, offset: number): Cells {
  let bounds = merged(equalSteps(points, lambda, offset), points, lambda, 0, levels);
  for (let round = 0; ; round++) {
    const cells = turns(bounds, points, lambda, entry);
    if (round === 4) return cells;
    bounds = merged(cells.bounds, points, lambda, entry, levels);
    if (bounds.length === cells.bounds.length) return cells;
  }
}
