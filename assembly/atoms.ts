// Atoms: weighted points in ascending order, and the prefix sums that make any interval's cost O(1).

/**
 * Prefix sums `p0` (weight) and `p1` (weight * (value - shift)), `atoms + 1` float64 each, with shift = the mean, which
 * keeps digits that centring would otherwise cost. Atoms too light to change `p0` are dropped, in the atom arrays too,
 * so `p0` ascends strictly and no interval divides by 0. Stores the shift at `shiftAt`, returns the atoms left.
 */
export function prefix(p0: usize, p1: usize, weight: usize, sum: usize, atoms: i32, shiftAt: usize): i32 {
  let w: f64 = 0;
  let s: f64 = 0;
  for (let i: usize = 0; i < <usize>atoms; i++) {
    w += load<f64>(weight + (i << 3));
    s += load<f64>(sum + (i << 3));
  }
  const shift = w > 0 ? s / w : 0;
  store<f64>(shiftAt, shift);
  let kept: usize = 0;
  w = 0;
  s = 0;
  store<f64>(p0, 0);
  store<f64>(p1, 0);
  for (let i: usize = 0; i < <usize>atoms; i++) {
    const wi = load<f64>(weight + (i << 3));
    const si = load<f64>(sum + (i << 3));
    if (!(w + wi > w)) continue;
    w += wi;
    s += si - shift * wi;
    store<f64>(weight + (kept << 3), wi);
    store<f64>(sum + (kept << 3), si);
    kept++;
    store<f64>(p0 + (kept << 3), w);
    store<f64>(p1 + (kept << 3), s);
  }
  return <i32>kept;
}

/**
 * Cuts the atoms in at most `target` cells of about equal integral of density^(1/3), the density of the best
 * quantizer's centroids. Writes the cells' first atoms (i32, ascending, first 0) and `atoms` behind the last; returns
 * the number of cells. An atom is never split.
 */
export function coarsen(cells: usize, weight: usize, sum: usize, atoms: i32, target: i32): i32 {
  if (atoms <= target) {
    for (let i = 0; i <= atoms; i++) store<i32>(cells + (<usize>i << 2), i);
    return atoms;
  }
  // What an atom has beyond a cell buys nothing, since it is not split: extents are cut at the step, which then falls.
  // Otherwise a gap or some outliers would take the cells of all other atoms. Ends when a pass changes little.
  let step: f64 = f64.MAX_VALUE;
  let most: f64 = step;
  for (let pass = 0; pass < 32; pass++) {
    most = step;
    step = totalExtent(weight, sum, atoms, most) / <f64>target;
    if (step > most * 0.95) break;
  }
  let count = 0;
  let at: f64 = 0;
  let cell: f64 = -1;
  let left = mean(weight, sum, 0);
  let own = left;
  for (let i = 0; i < atoms; i++) {
    const right = i + 1 < atoms ? mean(weight, sum, i + 1) : own;
    const e = min(most, extent(weight, i, right - left));
    // an atom belongs to the cell of its middle; a wide atom may leave cells empty, which are then left out
    const place = floor<f64>((at + e * 0.5) / step);
    if (place > cell && count < target) {
      store<i32>(cells + (<usize>count << 2), i);
      count++;
      cell = place;
    }
    at += e;
    left = own;
    own = right;
  }
  store<i32>(cells + (<usize>count << 2), atoms);
  return count;
}

// Sum of the atoms' extents, each `most` at most.
function totalExtent(weight: usize, sum: usize, atoms: i32, most: f64): f64 {
  let total: f64 = 0;
  let left = mean(weight, sum, 0);
  let own = left;
  for (let i = 0; i < atoms; i++) {
    const right = i + 1 < atoms ? mean(weight, sum, i + 1) : own;
    total += min(most, extent(weight, i, right - left));
    left = own;
    own = right;
  }
  return total;
}

// (weight * gap^2)^(1/3): the integral of density^(1/3) over the atom, whose width is half the distance of its neighbours
// @ts-ignore: decorator
@inline
function extent(weight: usize, i: i32, gap: f64): f64 {
  return cubeRoot(load<f64>(weight + (<usize>i << 3)) * gap * gap);
}

// @ts-ignore: decorator
@inline
export function mean(weight: usize, sum: usize, i: i32): f64 {
  return load<f64>(sum + (<usize>i << 3)) / load<f64>(weight + (<usize>i << 3));
}

// A third of the exponent as a first guess, then one Halley step: within 0.1 %, from exact operations alone.
function cubeRoot(x: f64): f64 {
  if (x <= 0) return 0;
  const guess = reinterpret<f64>(reinterpret<u64>(x) / 3 + 0x2a9f8a7be393b600);
  const cube = guess * guess * guess;
  return (guess * (cube + x + x)) / (cube + cube + x);
}
