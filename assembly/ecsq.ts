// Ecsq: entropy-constrained scalar quantization, the partition of weighted points on a line that minimises
// sum w (x - c)^2 + lambda * bits, where a point in a cell that holds n of N costs its ideal code length log2(N / n) and
// every cell costs its entry in the tables (Berger 1972; Chou, Lookabaugh & Gray 1989).
//
// Lengths move the decision away from the middle: between cells i and i + 1 it lies at
// (c_i + c_{i+1}) / 2 + lambda (l_{i+1} - l_i) / (2 (c_{i+1} - c_i)). Cells, centres and lengths are found in turns from
// equal steps, the best start at every rate; cells that cost more than they save are merged.
//
// Partitions as in cells.ts, with room for MOST_CELLS.
import { coarsen, prefix } from "./atoms";
import { decision, merge, price } from "./cells";
import { below } from "./codebook";

const MOST_CELLS: i32 = 1024;
// A turn that saves less than this share of the cost is the last.
const TOLERANCE: f64 = 1e-7;
const MAX_TURNS: i32 = 300;
const MAX_MERGES: i32 = 4;

/**
 * Prefix sums like `prefix`, and what {@link ecsq} wants besides: the atoms' `values` (f64) and prefix sums `n0` (f64 x
 * atoms + 1) of the number of weights, which is `tally` (f64 x atoms), or the weight itself where that is 0. Weights of
 * atoms that are dropped count with their neighbour. Stores shift and squared error around it (f64 x 2) at `about`.
 * Returns the atoms left.
 */
export function ecsqPrefix(
  values: usize,
  p0: usize,
  p1: usize,
  n0: usize,
  weight: usize,
  sum: usize,
  tally: usize,
  atoms: i32,
  about: usize,
): i32 {
  let n: f64 = 0;
  let square: f64 = 0;
  let kept: usize = 0;
  let w: f64 = 0;
  // what `prefix` is about to drop, counted first
  store<f64>(n0, 0);
  for (let i: usize = 0; i < <usize>atoms; i++) {
    const wi = load<f64>(weight + (i << 3));
    n += tally ? load<f64>(tally + (i << 3)) : wi;
    if (w + wi > w) {
      w += wi;
      kept++;
    }
    store<f64>(n0 + (kept << 3), kept > 0 ? n : 0);
  }
  const count = prefix(p0, p1, weight, sum, atoms, about);
  const shift = load<f64>(about);
  for (let i: usize = 0; i < <usize>count; i++) {
    const wi = load<f64>(weight + (i << 3));
    const x = load<f64>(sum + (i << 3)) / wi;
    store<f64>(values + (i << 3), x);
    square += wi * (x - shift) * (x - shift);
  }
  store<f64>(about, square, 8);
  return count;
}

/**
 * A partition for this `lambda` in at most `levels` cells; returns their number. `result` (f64 x 4): bits of all codes,
 * squared error, total cost, and the pinned cell's number or -1. `square` from `ecsqAtoms`; `entry`: bits a cell costs
 * in tables; `pinned`: 1 if `pin` is one of the centres; `offset`: where the steps begin, in steps.
 */
export function ecsq(
  bounds: usize,
  centers: usize,
  lengths: usize,
  result: usize,
  values: usize,
  weight: usize,
  sum: usize,
  p0: usize,
  p1: usize,
  n0: usize,
  atoms: i32,
  shift: f64,
  square: f64,
  lambda: f64,
  entry: f64,
  levels: i32,
  pinned: i32,
  pin: f64,
  offset: f64,
): i32 {
  const all = load<f64>(n0 + (<usize>atoms << 3));
  const density = load<f64>(p0 + (<usize>atoms << 3)) / all;
  // at high rates lambda = dD/dR of a step s: s^2 ln 2 / 6
  const step = sqrt((lambda * 8.65617024533378) / density);
  let k = equalSteps(bounds, values, atoms, step, (pinned ? pin : shift) - step * (0.5 - offset));
  if (k < 0) k = coarsen(bounds, weight, sum, atoms, MOST_CELLS);
  let held = -1;
  const c = pin - shift;
  if (pinned) held = holdPin(bounds, k, p0, p1, c);
  // the pinned cell may be one more than the levels
  k = merge(bounds, lengths, k, p0, p1, n0, all, lambda, f64.MAX_VALUE, levels, held, c, result);
  held = <i32>load<f64>(result, 24);
  for (let round = 0; ; round++) {
    k = turns(bounds, centers, lengths, k, result, values, p0, p1, n0, atoms, shift, square, all, lambda, entry, held, pin);
    held = <i32>load<f64>(result, 24);
    if (round == MAX_MERGES) break;
    const before = k;
    k = merge(bounds, lengths, k, p0, p1, n0, all, lambda, entry, levels, held, c, result);
    held = <i32>load<f64>(result, 24);
    if (k == before) {
      // `merge` used the lengths as scratch
      price(bounds, centers, lengths, k, result, p0, p1, n0, square, all, lambda, entry, held, c);
      break;
    }
  }
  return k;
}

// Cells of equal width that hold an atom; -1 if there are too many.
function equalSteps(bounds: usize, values: usize, atoms: i32, step: f64, origin: f64): i32 {
  if (!(step > 0)) return -1;
  let k = 0;
  let i = 0;
  while (i < atoms) {
    if (k == MOST_CELLS) return -1;
    store<i32>(bounds + (<usize>k << 2), i);
    k++;
    const cell = floor<f64>((load<f64>(values + (<usize>i << 3)) - origin) / step);
    i = max(i + 1, above(values, i, atoms, origin + (cell + 1) * step));
  }
  store<i32>(bounds + (<usize>k << 2), atoms);
  return k;
}

// First atom in [low, high) whose value exceeds x, or `high`.
function above(values: usize, low: i32, high: i32, x: f64): i32 {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<f64>(values + (<usize>middle << 3)) <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The cell whose mean is nearest to the pin becomes the pin's.
function holdPin(bounds: usize, k: i32, p0: usize, p1: usize, c: f64): i32 {
  let best = 0;
  let least = f64.MAX_VALUE;
  for (let i = 0; i < k; i++) {
    const b = <usize>load<i32>(bounds + (<usize>i << 2)) << 3;
    const e = <usize>load<i32>(bounds + (<usize>i << 2), 4) << 3;
    const d = abs((load<f64>(p1 + e) - load<f64>(p1 + b)) / (load<f64>(p0 + e) - load<f64>(p0 + b)) - c);
    if (d < least) {
      least = d;
      best = i;
    }
  }
  return best;
}

// Cells, centres and lengths in turns until little is saved. Empty cells are dropped.
function turns(
  bounds: usize,
  centers: usize,
  lengths: usize,
  k: i32,
  result: usize,
  values: usize,
  p0: usize,
  p1: usize,
  n0: usize,
  atoms: i32,
  shift: f64,
  square: f64,
  all: f64,
  lambda: f64,
  entry: f64,
  held: i32,
  pin: f64,
): i32 {
  const c = pin - shift;
  let cost = price(bounds, centers, lengths, k, result, p0, p1, n0, square, all, lambda, entry, held, c);
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    let kept = 0;
    let begin = 0;
    let nextHeld = -1;
    for (let i = 0; i < k; i++) {
      const old = load<i32>(bounds + (<usize>(i + 1) << 2));
      let end = atoms;
      if (i < k - 1) {
        let x = decision(i, centers, lengths, bounds, p0, n0, lambda) + shift;
        // a pin's own value stays with it
        if (i == held) x = max(x, pin);
        else if (i + 1 == held) x = min(x, <f64>below(<f32>pin));
        end = near(values, begin, old, atoms, x);
      }
      if (end > begin || i == held) {
        if (i == held) nextHeld = kept;
        // bounds ahead are still the old ones: kept <= i
        store<i32>(bounds + (<usize>kept << 2), begin);
        kept++;
        begin = end;
      }
    }
    store<i32>(bounds + (<usize>kept << 2), atoms);
    k = kept;
    held = nextHeld;
    const now = price(bounds, centers, lengths, k, result, p0, p1, n0, square, all, lambda, entry, held, c);
    if (!(now < cost * (1 - TOLERANCE))) break;
    cost = now;
  }
  return k;
}

// First atom in [low, high) whose value exceeds x, or `high`, sought around `old`.
function near(values: usize, low: i32, old: i32, high: i32, x: f64): i32 {
  let reach = 8;
  let a = max(low, old - reach);
  let b = min(high, max(old, low) + reach);
  while (a > low && load<f64>(values + (<usize>(a - 1) << 3)) > x) {
    b = a;
    reach <<= 2;
    a = max(low, a - reach);
  }
  while (b < high && load<f64>(values + (<usize>(b - 1) << 3)) <= x) {
    a = b;
    reach <<= 2;
    b = min(high, b + reach);
  }
  return above(values, a, b, x);
}
