// Grids of powers of two in plain TypeScript: the best window by trying all, and INQ's rule weight by weight.

/** 0 and ±2^low … ±2^top, ascending. */
export function window(low: number, top: number): number[] {
  const powers = Array.from({ length: top - low + 1 }, (_, i) => 2 ** (low + i));
  return [...powers.map((p) => -p).reverse(), 0, ...powers];
}

/** Squared error of the nearest values. */
export function costOf(values: ArrayLike<number>, codebook: readonly number[]): number {
  let cost = 0;
  for (const x of Array.from(values)) cost += Math.min(...codebook.map((c) => (x - c) ** 2));
  return cost;
}

/** The least cost of `levels` values, zero and a window of powers that holds the given ones. */
export function leastCost(values: ArrayLike<number>, levels: number, hold: readonly number[] = []): number {
  const size = (levels - 1) / 2;
  let least = Number.POSITIVE_INFINITY;
  for (let top = -60; top <= 60; top++) {
    const codebook = window(top - size + 1, top);
    if (hold.every((x) => codebook.includes(x))) least = Math.min(least, costOf(values, codebook));
  }
  return least;
}

/** INQ (Zhou et al., ICLR 2017, eq. 4): beta where (alpha + beta) / 2 <= |w| < 3 beta / 2, alpha and beta neighbours. */
export function inqValue(w: number, n1: number, n2: number): number {
  const magnitude = Math.abs(w);
  for (let n = n2; n <= n1; n++) {
    const beta = 2 ** n;
    const alpha = n === n2 ? 0 : beta / 2;
    if ((alpha + beta) / 2 <= magnitude && (magnitude < 1.5 * beta || n === n1)) return Math.sign(w) * beta;
  }
  return 0;
}
