// Optimal: the cheapest partition of weighted points on a line into k intervals, some centres fixed ("pins").
//
// The squared error of an interval with a free centre is Q - gain, gain = (sum of w (x - shift))^2 / (sum of w); the
// total of Q is constant, so gains are maximised. With a centre pinned at c the gain is 2 c s1 - c^2 s0, a difference
// of prefix values. Dynamic programme over prefixes (Bruce 1965; Wang & Song 2011): the state is (pins used, free used,
// prefix). A free step is a row of maxima of f[j] + gain(j, i); gain has the Monge property, so the best j ascends with
// i and rows are found by halving: O(m log m). A pin step is a running maximum: O(m).
//
// On more than `cells` points the programme runs on cells first; then again on the points themselves, each boundary
// within a band around its cell boundary, re-centred until no boundary lies at the edge of its band.

import { PIN_STEP, walkBack } from "./walk-back";

const NONE: f64 = -f64.MAX_VALUE;
// half a band at most, in atoms: bounds the work where one cell holds many atoms; bands move instead
const MAX_BAND: i32 = 256;
const MAX_ROUNDS: i32 = 64;

// The best j in [low, high), at least 8 of them: smallest j among equals. x0, x1: the prefix sums at i.
function scan(f: usize, q0: usize, q1: usize, low: i32, high: i32, x0: f64, x1: f64): i32 {
  let j = low;
  let best = low;
  let top: f64 = NONE;
  if (ASC_FEATURE_SIMD) {
    const vx0 = f64x2.splat(x0);
    const vx1 = f64x2.splat(x1);
    let tops = f64x2.splat(NONE);
    let bests = i64x2.splat(<i64>low);
    let index = i64x2.replace_lane(i64x2.splat(<i64>low), 1, <i64>low + 1);
    const two = i64x2.splat(2);
    for (; j + 2 <= high; j += 2) {
      const at = <usize>j << 3;
      const d1 = f64x2.sub(vx1, v128.load(q1 + at));
      const d0 = f64x2.sub(vx0, v128.load(q0 + at));
      const v = f64x2.add(v128.load(f + at), f64x2.div(f64x2.mul(d1, d1), d0));
      const more = f64x2.gt(v, tops);
      tops = v128.bitselect(v, tops, more);
      bests = v128.bitselect(index, bests, more);
      index = i64x2.add(index, two);
    }
    const a = f64x2.extract_lane(tops, 0);
    const b = f64x2.extract_lane(tops, 1);
    const ja = <i32>i64x2.extract_lane(bests, 0);
    const jb = <i32>i64x2.extract_lane(bests, 1);
    const second = b > a || (b == a && jb < ja);
    top = second ? b : a;
    best = second ? jb : ja;
  }
  for (; j < high; j++) {
    const v = gainTo(f, q0, q1, j, x0, x1);
    if (v > top) {
      top = v;
      best = j;
    }
  }
  return best;
}

// f[j] and the gain of the interval from j to i.
// @ts-ignore: decorator
@inline
function gainTo(f: usize, q0: usize, q1: usize, j: i32, x0: f64, x1: f64): f64 {
  const at = <usize>j << 3;
  const d1 = x1 - load<f64>(q1 + at);
  return load<f64>(f + at) + (d1 * d1) / (x0 - load<f64>(q0 + at));
}

// One row: the best start j in [low, high] of an interval that ends before i; j = i is an empty interval, taken only
// where it is better than all others. Stores f2[i] and returns j. Most rows have few starts left: those are looked at
// here, one by one; vectors pay from 8 on.
// @ts-ignore: decorator
@inline
function rowBest(f2: usize, f: usize, q0: usize, q1: usize, i: i32, low: i32, high: i32): i32 {
  const x0 = load<f64>(q0 + (<usize>i << 3));
  const x1 = load<f64>(q1 + (<usize>i << 3));
  let j = low;
  let value: f64 = NONE;
  const end = min(high + 1, i);
  if (end - low >= 8) {
    j = scan(f, q0, q1, low, end, x0, x1);
    value = gainTo(f, q0, q1, j, x0, x1);
  } else {
    for (let c = low; c < end; c++) {
      const v = gainTo(f, q0, q1, c, x0, x1);
      if (v > value) {
        value = v;
        j = c;
      }
    }
  }
  if (high == i) {
    const empty = load<f64>(f + (<usize>i << 3));
    if (empty > value) {
      value = empty;
      j = i;
    }
  }
  store<f64>(f2 + (<usize>i << 3), value);
  return j;
}

/** Bytes of scratch that {@link optimal} needs for `m` cells, `free` and `pins` centres and `atoms` points. */
export function optimalScratch(m: i32, free: i32, pins: i32, atoms: i32): usize {
  const rows = pins == 0 ? 2 : 2 * (free + 1);
  const k = free + pins;
  return (
    <usize>(m + 2) * 16 +
    <usize>(pins + 1) * 12 +
    <usize>rows * <usize>(m + 2) * 8 +
    <usize>(free + 1) * <usize>(m + 2 + 5 * (pins + 1)) * 2 +
    <usize>(k + 2) * (12 * <usize>min(2 * MAX_BAND + 1, atoms + 1) + 32) +
    256
  );
}

/**
 * Writes to `bounds` (i32 x k + 1, k = free + pins) where each centre's interval of atoms begins, ascending, `atoms` at
 * the end, and to `kinds` (i32 x k) the pin's number or -1 for a free centre. Intervals may be empty.
 *
 * `p0`, `p1`: prefix sums of `atoms` points (see atoms.ts); `cells`: i32 x m + 1; `pinValues`: f64, ascending, already
 * less the shift. m < 32768. `scratch`: `optimalScratch` bytes, 8-aligned.
 */
export function optimal(
  bounds: usize,
  kinds: usize,
  p0: usize,
  p1: usize,
  atoms: i32,
  cells: usize,
  m: i32,
  pinValues: usize,
  pins: i32,
  free: i32,
  scratch: usize,
): void {
  const row = <usize>(m + 2) << 3;
  const q0 = scratch;
  const q1 = q0 + row;
  const rows = pins == 0 ? 2 : 2 * (free + 1);
  const values = q1 + row;
  const places = values + <usize>rows * row;
  const back = places + <usize>(pins + 1) * 12;

  for (let c = 0; c <= m; c++) {
    const a = <usize>load<i32>(cells + (<usize>c << 2)) << 3;
    store<f64>(q0 + (<usize>c << 3), load<f64>(p0 + a));
    store<f64>(q1 + (<usize>c << 3), load<f64>(p1 + a));
  }
  const total = place(places, q0, q1, m, pinValues, pins);
  const rest = (back + (<usize>(free + 1) * total << 1) + 7) & ~7;

  for (let p = 0; p <= pins; p++) {
    const from = places + <usize>p * 12;
    const first = load<i32>(from);
    const last = load<i32>(from, 4);
    const length = <usize>(last - first + 1);
    // rows of starts, indexed by cell
    const starts = back + ((<usize>(free + 1) * <usize>load<u32>(from, 8)) << 1) - (<usize>first << 1);
    let top = 1;
    while (top << 1 <= last - first) top <<= 1;
    for (let q = 0; q <= free; q++) {
      const f = values + <usize>(pins == 0 ? q & 1 : (p & 1) * (free + 1) + q) * row;
      const b = starts + <usize>q * (length << 1);
      if (q > 0) {
        const before = values + <usize>(pins == 0 ? (q - 1) & 1 : (p & 1) * (free + 1) + q - 1) * row;
        // with no pins the starts of one interval fewer are a lower bound, too
        const floor = pins == 0 && q > 1 ? b - (length << 1) : 0;
        store<f64>(f + (<usize>first << 3), load<f64>(before + (<usize>first << 3)));
        store<u16>(b + (<usize>first << 1), <u16>first);
        if (pins == 0 && q == free) {
          const low = floor ? <i32>load<u16>(floor + (<usize>m << 1)) : 0;
          store<u16>(b + (<usize>m << 1), <u16>rowBest(f, before, q0, q1, m, low, m));
        } else {
          for (let s = top; s > 0; s >>= 1) {
            for (let i = first + s; i <= last; i += s << 1) {
              let low = <i32>load<u16>(b + (<usize>(i - s) << 1));
              if (floor) low = max(low, <i32>load<u16>(floor + (<usize>i << 1)));
              const high = i + s <= last ? min(i, <i32>load<u16>(b + (<usize>(i + s) << 1))) : i;
              if (low > high) low = high;
              store<u16>(b + (<usize>i << 1), <u16>rowBest(f, before, q0, q1, i, low, high));
            }
          }
        }
      } else {
        for (let i = first; i <= last; i++) store<f64>(f + (<usize>i << 3), i == 0 && p == 0 ? 0 : NONE);
      }
      if (p > 0) {
        const before = values + <usize>(((p - 1) & 1) * (free + 1) + q) * row;
        const c = load<f64>(pinValues + (<usize>(p - 1) << 3));
        let best: f64 = NONE;
        let start = load<i32>(from - 12);
        let next = start;
        const end = load<i32>(from - 8);
        for (let i = first; i <= last; i++) {
          for (; next <= min(i, end); next++) {
            const at = <usize>next << 3;
            const v = load<f64>(before + at) - pinned(c, load<f64>(q0 + at), load<f64>(q1 + at));
            if (v > best) {
              best = v;
              start = next;
            }
          }
          const at = <usize>i << 3;
          const g = pinned(c, load<f64>(q0 + at), load<f64>(q1 + at));
          if (best + g > load<f64>(f + at)) {
            store<f64>(f + at, best + g);
            store<u16>(b + (<usize>i << 1), <u16>(start | PIN_STEP));
          }
        }
      }
    }
  }

  walkBack(bounds, kinds, m, pins, free, free, scratch);
  refine(bounds, kinds, p0, p1, atoms, cells, m, pinValues, pins + free, rest);
}

// Where prefixes may end after p pins: no cell before a pin goes to a centre behind it, nor one behind it to a centre
// before it, and a cell more on either side for roundings. So the work for all pins is that for one. Writes first, last
// and how many places come before (i32 x 3 a state) and returns how many there are.
function place(places: usize, q0: usize, q1: usize, m: i32, pinValues: usize, pins: i32): usize {
  let first = 0;
  let cell = 0;
  let count: usize = 0;
  for (let p = 0; p <= pins; p++) {
    const at = places + <usize>p * 12;
    let last = m;
    let next = m;
    if (p < pins) {
      const c = load<f64>(pinValues + (<usize>p << 3));
      while (cell < m && cellMean(q0, q1, cell) < c) cell++;
      next = max(first, cell - 1);
      let beyond = cell;
      while (beyond < m && cellMean(q0, q1, beyond) <= c) beyond++;
      last = min(m, beyond + 1);
    }
    store<i32>(at, first);
    store<i32>(at, last, 4);
    store<u32>(at, <u32>count, 8);
    count += <usize>(last - first + 1);
    first = next;
  }
  return count;
}

// @ts-ignore: decorator
@inline
function cellMean(q0: usize, q1: usize, c: i32): f64 {
  const at = <usize>c << 3;
  return (load<f64>(q1 + at, 8) - load<f64>(q1 + at)) / (load<f64>(q0 + at, 8) - load<f64>(q0 + at));
}

// @ts-ignore: decorator
@inline
function pinned(c: f64, s0: f64, s1: f64): f64 {
  return c * (s1 + s1 - c * s0);
}

// Cell boundaries to atom boundaries: the same programme with boundary t held in a band around where it is.
// `bounds` holds cells on entry, atoms on return.
function refine(
  bounds: usize,
  kinds: usize,
  p0: usize,
  p1: usize,
  atoms: i32,
  cells: usize,
  m: i32,
  pinValues: usize,
  k: i32,
  scratch: usize,
): void {
  const widths = scratch;
  const rest = (widths + (<usize>(k + 2) << 2) + 7) & ~7;
  store<i32>(bounds + (<usize>k << 2), atoms);
  for (let t = 0; t < k; t++) {
    const c = load<i32>(bounds + (<usize>t << 2));
    const a = load<i32>(cells + (<usize>c << 2));
    const left = c > 0 ? a - load<i32>(cells + (<usize>(c - 1) << 2)) : 0;
    const right = c < m ? load<i32>(cells + (<usize>(c + 1) << 2)) - a : 0;
    store<i32>(widths + (<usize>t << 2), min(MAX_BAND, max(left, right)));
    store<i32>(bounds + (<usize>t << 2), a);
  }
  if (m == atoms) return;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (!refineOnce(bounds, kinds, p0, p1, atoms, pinValues, k, widths, rest)) return;
  }
}

// One round; returns whether a boundary moved to an inner edge of its band, so that another round is due.
function refineOnce(
  bounds: usize,
  kinds: usize,
  p0: usize,
  p1: usize,
  atoms: i32,
  pinValues: usize,
  k: i32,
  widths: usize,
  scratch: usize,
): bool {
  // per boundary: the band's first atom, its last, and the place of its values and choices
  const bands = scratch;
  const values = (bands + <usize>(k + 1) * 12 + 7) & ~7;
  let places: usize = 0;
  for (let t = 0; t <= k; t++) {
    const b = load<i32>(bounds + (<usize>t << 2));
    const w = t > 0 && t < k ? load<i32>(widths + (<usize>t << 2)) : 0;
    const low = max(0, b - w);
    const high = min(atoms, b + w);
    const band = bands + <usize>t * 12;
    store<i32>(band, low);
    store<i32>(band, high, 4);
    store<u32>(band, <u32>places, 8);
    places += <usize>(high - low + 1);
  }
  const choices = values + (places << 3);
  store<f64>(values, 0);
  for (let t = 0; t < k; t++) {
    const band = bands + <usize>t * 12;
    const fromLow = load<i32>(band);
    const fromHigh = load<i32>(band, 4);
    // `f` and `f2` are indexed by atom
    const f = values + (<usize>load<u32>(band, 8) << 3) - (<usize>fromLow << 3);
    const low = load<i32>(band, 12);
    const high = load<i32>(band, 16);
    const place = <usize>load<u32>(band, 20);
    const f2 = values + (place << 3) - (<usize>low << 3);
    const choice = choices + (place << 2) - (<usize>low << 2);
    const pin = load<i32>(kinds + (<usize>t << 2));
    if (pin < 0) {
      let floor = fromLow;
      for (let i = low; i <= high; i++) {
        if (i < fromLow) {
          store<f64>(f2 + (<usize>i << 3), NONE);
          store<i32>(choice + (<usize>i << 2), i);
        } else {
          // starts ascend with i
          floor = rowBest(f2, f, p0, p1, i, floor, min(i, fromHigh));
          store<i32>(choice + (<usize>i << 2), floor);
        }
      }
    } else {
      const c = load<f64>(pinValues + (<usize>pin << 3));
      let best: f64 = NONE;
      let start = fromLow;
      let next = fromLow;
      for (let i = low; i <= high; i++) {
        for (; next <= min(i, fromHigh); next++) {
          const at = <usize>next << 3;
          const v = load<f64>(f + at) - pinned(c, load<f64>(p0 + at), load<f64>(p1 + at));
          if (v > best) {
            best = v;
            start = next;
          }
        }
        const at = <usize>i << 3;
        const g = pinned(c, load<f64>(p0 + at), load<f64>(p1 + at));
        store<f64>(f2 + at, i < fromLow ? NONE : best + g);
        store<i32>(choice + (<usize>i << 2), i < fromLow ? i : start);
      }
    }
  }
  let again = false;
  let i = atoms;
  for (let t = k; t > 0; t--) {
    const band = bands + <usize>t * 12;
    const low = load<i32>(band);
    const high = load<i32>(band, 4);
    if (t < k && i != load<i32>(bounds + (<usize>t << 2))) {
      if ((i == low && low > 0) || (i == high && high < atoms)) again = true;
    }
    store<i32>(bounds + (<usize>t << 2), i);
    i = load<i32>(choices + (<usize>load<u32>(band, 8) << 2) + (<usize>(i - low) << 2));
  }
  return again;
}
