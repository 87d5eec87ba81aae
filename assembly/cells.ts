// Cells: what neighbouring intervals of weighted points cost with their code lengths, where they meet, which to merge.
//
// A partition is `bounds` (i32 x cells + 1: first atom of each cell, the number of atoms behind the last), `centers`
// (f64, less the shift) and `lengths` (f64, bits). `p0`, `p1`: prefix sums of weight and weight * (value - shift); `n0`:
// of the number of weights, `all` in the end. `held`: the cell whose centre is pinned at c, or -1.
import { log2 } from "./log2";

// What the atoms from b to e cost as one cell, less their squares.
function cellCost(b: i32, e: i32, p0: usize, p1: usize, n0: usize, all: f64, lambda: f64, pinned: bool, c: f64): f64 {
  if (b == e) return 0;
  const from = <usize>b << 3;
  const to = <usize>e << 3;
  const s0 = load<f64>(p0 + to) - load<f64>(p0 + from);
  const s1 = load<f64>(p1 + to) - load<f64>(p1 + from);
  const n = load<f64>(n0 + to) - load<f64>(n0 + from);
  const gain = pinned ? c * (s1 + s1 - c * s0) : (s1 * s1) / s0;
  return lambda * n * log2(all / n) - gain;
}

function pairCost(
  i: i32,
  bounds: usize,
  p0: usize,
  p1: usize,
  n0: usize,
  all: f64,
  lambda: f64,
  held: i32,
  c: f64,
): f64 {
  const a = load<i32>(bounds + (<usize>i << 2));
  const b = load<i32>(bounds + (<usize>i << 2), 4);
  const e = load<i32>(bounds + (<usize>i << 2), 8);
  return (
    cellCost(a, e, p0, p1, n0, all, lambda, i == held || i + 1 == held, c) -
    cellCost(a, b, p0, p1, n0, all, lambda, i == held, c) -
    cellCost(b, e, p0, p1, n0, all, lambda, i + 1 == held, c)
  );
}

/**
 * Merges the two neighbours that it costs least to merge, while there are more than `levels` cells or it costs less
 * than the entry that is saved. `extra` (f64 x k) is scratch; the pinned cell's number goes to result[3].
 */
export function merge(
  bounds: usize,
  extra: usize,
  k: i32,
  p0: usize,
  p1: usize,
  n0: usize,
  all: f64,
  lambda: f64,
  entry: f64,
  levels: i32,
  held: i32,
  c: f64,
  result: usize,
): i32 {
  const saved = entry == f64.MAX_VALUE ? 0 : lambda * entry;
  for (let i = 0; i < k - 1; i++) {
    store<f64>(extra + (<usize>i << 3), pairCost(i, bounds, p0, p1, n0, all, lambda, held, c));
  }
  while (k > 1) {
    let best = 0;
    let least = f64.MAX_VALUE;
    for (let i = 0; i < k - 1; i++) {
      const v = load<f64>(extra + (<usize>i << 3));
      if (v < least) {
        least = v;
        best = i;
      }
    }
    if (k <= levels && !(least < saved)) break;
    const at = bounds + (<usize>(best + 1) << 2);
    memory.copy(at, at + 4, <usize>(k - best - 1) << 2);
    const rest = extra + (<usize>best << 3);
    memory.copy(rest, rest + 8, <usize>(k - best - 2) << 3);
    k--;
    if (held > best) held--;
    if (best > 0) {
      store<f64>(rest - 8, pairCost(best - 1, bounds, p0, p1, n0, all, lambda, held, c));
    }
    if (best < k - 1) store<f64>(rest, pairCost(best, bounds, p0, p1, n0, all, lambda, held, c));
  }
  store<f64>(result, <f64>held, 24);
  return k;
}

/**
 * Writes centres and lengths, and to `result` (f64 x 4) the bits of all codes, the squared error, the cost and `held`.
 * Returns the cost. `square`: the squared error around the shift.
 */
export function price(
  bounds: usize,
  centers: usize,
  lengths: usize,
  k: i32,
  result: usize,
  p0: usize,
  p1: usize,
  n0: usize,
  square: f64,
  all: f64,
  lambda: f64,
  entry: f64,
  held: i32,
  c: f64,
): f64 {
  let bits: f64 = 0;
  let error = square;
  for (let i = 0; i < k; i++) {
    const b = <usize>load<i32>(bounds + (<usize>i << 2)) << 3;
    const e = <usize>load<i32>(bounds + (<usize>i << 2), 4) << 3;
    const s0 = load<f64>(p0 + e) - load<f64>(p0 + b);
    const s1 = load<f64>(p1 + e) - load<f64>(p1 + b);
    const n = load<f64>(n0 + e) - load<f64>(n0 + b);
    // an empty cell, which only a pin may be, is priced as if it held half a weight
    const length = log2(all / max(n, 0.5));
    const center = i == held ? c : s1 / s0;
    error -= center * (s1 + s1 - center * s0);
    bits += n * length;
    store<f64>(centers + (<usize>i << 3), center);
    store<f64>(lengths + (<usize>i << 3), length);
  }
  error = max(error, 0);
  const cost = error + lambda * (bits + entry * <f64>k);
  store<f64>(result, bits);
  store<f64>(result, error, 8);
  store<f64>(result, cost, 16);
  store<f64>(result, <f64>held, 24);
  return cost;
}

/** Where the decision between cells i and i + 1 lies, in terms of the centres. */
export function decision(
  i: i32,
  centers: usize,
  lengths: usize,
  bounds: usize,
  p0: usize,
  n0: usize,
  lambda: f64,
): f64 {
  const at = <usize>i << 3;
  const a = load<f64>(centers + at);
  const b = load<f64>(centers + at, 8);
  const from = <usize>load<i32>(bounds + (<usize>i << 2)) << 3;
  const to = <usize>load<i32>(bounds + (<usize>i << 2), 8) << 3;
  // with importance a code's bits weigh against the mean importance of both cells
  const w = load<f64>(p0 + to) - load<f64>(p0 + from);
  const n = load<f64>(n0 + to) - load<f64>(n0 + from);
  const ratio = w > 0 ? n / w : 0;
  return 0.5 * (a + b) + (lambda * ratio * (load<f64>(lengths + at, 8) - load<f64>(lengths + at))) / (2 * (b - a));
}
