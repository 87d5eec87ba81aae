// Histogram: any number of weights to at most some ten thousand weighted points ("atoms") in ascending order.
//
// The upper 16 bits of a float32 are its coarse cell: one sign, one exponent, seven digits; inside it values are evenly
// spaced, so the cell's value sum is exact in integers: count * first value + spacing * sum of lower halves. Every cell
// is cut in 2^depth bins; depths follow the density (see `layout`), so bins are narrow against the distance of centroids
// everywhere, whatever the shape: outliers, a spike at zero, weights far from zero.
//
//     bits  |s eeeeeeee mmmmmmm|llllllllllllllll|     table[cell] = first bin << 5 | (16 - depth)
//            coarse cell        lower half           bin = first bin + (lower half >> (16 - depth))
//
// Integer sums do not depend on order, so tiles and threads may add in any order and get the same bits.

const CELLS: usize = 65536;

// Infinities and NaN share the last bin, so that one look tells whether there are any.
// @ts-ignore: decorator
@inline
function isFiniteCell(cell: u32): bool {
  return (cell & 0x7f80) != 0x7f80;
}

/** Adds `count` weights to the coarse cells' counts (u32 x 65536 at `cells`). Reads `4 * count` bytes. */
export function countCells(cells: usize, src: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const p = cells + (<usize>load<u16>(src + (i << 2), 2) << 2);
    store<u32>(p, load<u32>(p) + 1);
  }
}

// floor(log2(x)), x > 0
// @ts-ignore: decorator
@inline
function log2(x: u32): i32 {
  return 31 - clz<u32>(x);
}

// The depth a cell deserves, in thirds of a bit, up to a constant. The best quantizer's centroids lie with density
// p^(1/3) (Panter & Dite 1951), so a cell of width w and count c gets a number of bins ~ c^(1/3) * w^(2/3).
// @ts-ignore: decorator
@inline
function merit(cell: u32, count: u32): i32 {
  const exponent = <i32>(cell >> 7) & 0xff;
  return log2(count) + (max(exponent, 1) << 1);
}

/**
 * Writes `table` (u32 x 65536) for the sampled counts at `cells`, with about `budget` bins beyond the one that every
 * cell has. Returns the number of bins; the last is for what is not finite. `scratch`: 2,200 bytes.
 */
export function layout(table: usize, cells: usize, budget: i32, scratch: usize): i32 {
  const merits = 544;
  memory.fill(scratch, 0, merits << 2);
  for (let cell: u32 = 0; cell < <u32>CELLS; cell++) {
    const count = load<u32>(cells + (cell << 2));
    if (count == 0 || !isFiniteCell(cell)) continue;
    const p = scratch + (merit(cell, count) << 2);
    store<i32>(p, load<i32>(p) + 1);
  }
  // the largest constant whose bins fit the budget
  let constant = 48;
  for (; constant > -merits; constant--) {
    let bins: i64 = 0;
    for (let m = 0; m < merits; m++) {
      const depth = min(16, floorThird(m + constant));
      if (depth > 0) bins += <i64>load<i32>(scratch + (m << 2)) << depth;
    }
    if (bins <= <i64>budget) break;
  }
  let next: u32 = 0;
  for (let cell: u32 = 0; cell < <u32>CELLS; cell++) {
    if (!isFiniteCell(cell)) continue;
    const count = load<u32>(cells + (cell << 2));
    let depth = 0;
    if (count > 0) depth = max(0, min(16, floorThird(merit(cell, count) + constant)));
    store<u32>(table + (cell << 2), (next << 5) | (16 - depth));
    next += 1 << depth;
  }
  for (let cell: u32 = 0x7f80; cell < <u32>CELLS; cell++) {
    if (!isFiniteCell(cell)) store<u32>(table + (cell << 2), (next << 5) | 16);
  }
  return <i32>next + 1;
}

// @ts-ignore: decorator
@inline
function floorThird(x: i32): i32 {
  return x < 0 ? -1 : x / 3;
}

/**
 * Adds `count` weights to `bins` (u64: count in the upper 24 bits, sum of lower halves in the lower 40). The caller
 * moves them on with `settle` before 2^24 weights have come. Reads `4 * count` bytes.
 */
export function histogram(bins: usize, table: usize, src: usize, count: usize): void {
  let i: usize = 0;
  for (; i + 4 <= count; i += 4) {
    const p = src + (i << 2);
    add(bins, table, load<u32>(p));
    add(bins, table, load<u32>(p, 4));
    add(bins, table, load<u32>(p, 8));
    add(bins, table, load<u32>(p, 12));
  }
  for (; i < count; i++) add(bins, table, load<u32>(src + (i << 2)));
}

// @ts-ignore: decorator
@inline
function add(bins: usize, table: usize, bits: u32): void {
  const entry = load<u32>(table + ((bits >> 16) << 2));
  const low = bits & 0xffff;
  // shifts are modulo 32: of the entry only the lowest five bits count
  const p = bins + (<usize>((entry >> 5) + (low >> entry)) << 3);
  store<u64>(p, load<u64>(p) + ((<u64>1 << 40) | low));
}

/** Adds `bins` to `totals` (f64 pairs: count, sum of lower halves) and clears them. */
export function settle(totals: usize, bins: usize, binCount: i32): void {
  for (let b: usize = 0; b < <usize>binCount; b++) {
    const v = load<u64>(bins + (b << 3));
    if (v == 0) continue;
    store<u64>(bins + (b << 3), 0);
    const p = totals + (b << 4);
    store<f64>(p, load<f64>(p) + <f64>(v >> 40));
    store<f64>(p, load<f64>(p, 8) + <f64>(v & 0xffffffffff), 8);
  }
}

/** The same bins with importance: adds `importance` and `importance * weight` in data order. Reads `8 * count` bytes. */
export function histogramWeighted(totals: usize, table: usize, src: usize, importance: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const bits = load<u32>(src + (i << 2));
    const entry = load<u32>(table + ((bits >> 16) << 2));
    const p = totals + (<usize>((entry >> 5) + ((bits & 0xffff) >> entry)) << 4);
    const w = <f64>load<f32>(importance + (i << 2));
    store<f64>(p, load<f64>(p) + w);
    store<f64>(p, load<f64>(p, 8) + w * <f64>reinterpret<f32>(bits), 8);
  }
}

/**
 * The non-empty bins as atoms: `weight` and `sum` (f64 each, up to `binCount`; sum = weight * mean value). Returns how
 * many. With `weighted` the totals hold sums already; then `tally` (f64), if that is not 0, gets the number of weights of
 * each bin from `counts`, the same bins' totals without importance, and bins without importance are atoms, too.
 */
export function binAtoms(
  weight: usize,
  sum: usize,
  totals: usize,
  table: usize,
  weighted: i32,
  tally: usize,
  counts: usize,
): i32 {
  let atoms: usize = 0;
  for (let i: u32 = 0; i < <u32>CELLS; i++) {
    // negative cells from the largest magnitude down, then the positive ones up
    const negative = i < 0x8000;
    const cell: u32 = negative ? 0xffff - i : i - 0x8000;
    if (!isFiniteCell(cell)) continue;
    const entry = load<u32>(table + (cell << 2));
    const first = <usize>(entry >> 5);
    const bins = <usize>1 << (16 - (entry & 31));
    const start = <f64>reinterpret<f32>(cell << 16);
    const spacing = <f64>reinterpret<f32>((cell << 16) | 1) - start;
    for (let j: usize = 0; j < bins; j++) {
      const b = negative ? first + bins - 1 - j : first + j;
      const w = load<f64>(totals + (b << 4));
      const n = tally ? load<f64>(counts + (b << 4)) : w;
      if (n == 0) continue;
      const s = load<f64>(totals + (b << 4), 8);
      store<f64>(weight + (atoms << 3), w);
      store<f64>(sum + (atoms << 3), weighted ? s : w * start + s * spacing);
      if (tally) store<f64>(tally + (atoms << 3), n);
      atoms++;
    }
  }
  return <i32>atoms;
}

/**
 * Counts distinct values in a hash table of `slots` (a power of two) entries of 24 bytes: used flag and value bits
 * (u32 each), weight, spare (f64 each), all zero at the start. `known` is the number so far; returns the new number, or
 * -1 as soon as more than `limit` are there. `importance` 0: every weight counts 1. -0 counts as 0.
 */
export function countDistinct(
  tableAt: usize,
  slots: usize,
  known: i32,
  limit: i32,
  src: usize,
  importance: usize,
  count: usize,
): i32 {
  const mask = slots - 1;
  for (let i: usize = 0; i < count; i++) {
    const bits = reinterpret<u32>(load<f32>(src + (i << 2)) + 0);
    let slot = <usize>((bits * 0x9e3779b1) >> 12) & mask;
    let p = tableAt + slot * 24;
    while (load<u32>(p) != 0 && load<u32>(p, 4) != bits) {
      slot = (slot + 1) & mask;
      p = tableAt + slot * 24;
    }
    if (load<u32>(p) == 0) {
      if (known == limit) return -1;
      known++;
      store<u32>(p, 1);
      store<u32>(p, bits, 4);
    }
    const w = importance ? <f64>load<f32>(importance + (i << 2)) : 1.0;
    store<f64>(p, load<f64>(p, 8) + w, 8);
  }
  return known;
}

/** The hash table's entries, in slot order: `values` (f32) and `weight` (f64). Returns how many. */
export function distinctEntries(values: usize, weight: usize, tableAt: usize, slots: usize): i32 {
  let n: usize = 0;
  for (let slot: usize = 0; slot < slots; slot++) {
    const p = tableAt + slot * 24;
    if (load<u32>(p) == 0) continue;
    store<u32>(values + (n << 2), load<u32>(p, 4));
    store<f64>(weight + (n << 3), load<f64>(p, 8));
    n++;
  }
  return <i32>n;
}
