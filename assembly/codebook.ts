// Codebook: intervals of atoms to rounded, ascending, padded values, and the thresholds between them.
import { decision } from "./cells";
import { roundTo } from "./half";
import { log2 } from "./log2";

/**
 * Centroids of the intervals (`bounds`, `kinds` from `optimal`), as float32 rounded to the dtype (`format` as in
 * `roundTo`), ascending, without duplicates; the rest of the `k` entries repeats the last. Pinned values are taken as
 * they are from `pinValues` (f32 x pins). Empty free intervals have no value. Returns the number of distinct values.
 */
export function codebookOf(
  codebook: usize,
  bounds: usize,
  kinds: usize,
  k: i32,
  weight: usize,
  sum: usize,
  pinValues: usize,
  format: i32,
): i32 {
  let count = 0;
  for (let t = 0; t < k; t++) {
    const begin = load<i32>(bounds + (<usize>t << 2));
    const end = load<i32>(bounds + (<usize>(t + 1) << 2));
    const pin = load<i32>(kinds + (<usize>t << 2));
    const p = codebook + (<usize>count << 2);
    if (pin >= 0) {
      store<f32>(p, load<f32>(pinValues + (<usize>pin << 2)));
    } else {
      if (begin == end) continue;
      let w: f64 = 0;
      let s: f64 = 0;
      for (let i = begin; i < end; i++) {
        w += load<f64>(weight + (<usize>i << 3));
        s += load<f64>(sum + (<usize>i << 3));
      }
      store<f32>(p, <f32>(s / w));
      roundTo(p, 1, format);
    }
    count++;
  }
  return tidy(codebook, count, k);
}

/** Sorts `count` float32, drops duplicates (a zero is +0), repeats the last up to `k`. Returns the distinct ones. */
export function tidy(codebook: usize, count: i32, k: i32): i32 {
  let kept = 0;
  for (let i = 0; i < count; i++) {
    const x = load<f32>(codebook + (<usize>i << 2)) + 0;
    let j = kept;
    while (j > 0 && load<f32>(codebook + (<usize>(j - 1) << 2)) > x) j--;
    if (j > 0 && load<f32>(codebook + (<usize>(j - 1) << 2)) == x) continue;
    for (let m = kept; m > j; m--) {
      store<f32>(codebook + (<usize>m << 2), load<f32>(codebook + (<usize>(m - 1) << 2)));
    }
    store<f32>(codebook + (<usize>j << 2), x);
    kept++;
  }
  const last: f32 = kept > 0 ? load<f32>(codebook + (<usize>(kept - 1) << 2)) : 0;
  for (let i = kept; i < k; i++) store<f32>(codebook + (<usize>i << 2), last);
  return kept;
}

/**
 * Codebook (f32, rounded to the dtype, ascending, distinct, `k` at most) of a partition, and between its values the
 * thresholds (f32 x k - 1): the largest float32 not above the decision, so that code = number of thresholds < x. Values
 * that rounding made equal share a cell. A pin's own value always has the pin's code. Returns the number of values.
 */
export function codebookOfCells(
  codebook: usize,
  thresholdsAt: usize,
  bounds: usize,
  centers: usize,
  lengths: usize,
  k: i32,
  weight: usize,
  sum: usize,
  p0: usize,
  n0: usize,
  lambda: f64,
  held: i32,
  pin: f32,
  format: i32,
): i32 {
  const atoms = load<i32>(bounds + (<usize>k << 2));
  const all = load<f64>(n0 + (<usize>atoms << 3));
  let kept = 0;
  let nextHeld = -1;
  for (let i = 0; i < k; i++) {
    const begin = load<i32>(bounds + (<usize>i << 2));
    const end = load<i32>(bounds + (<usize>(i + 1) << 2));
    const p = codebook + (<usize>kept << 2);
    if (i == held) {
      store<f32>(p, pin);
    } else {
      let w: f64 = 0;
      let s: f64 = 0;
      for (let j = begin; j < end; j++) {
        w += load<f64>(weight + (<usize>j << 3));
        s += load<f64>(sum + (<usize>j << 3));
      }
      // + 0: one zero
      store<f32>(p, <f32>(s / w) + 0);
      roundTo(p, 1, format);
    }
    if (kept > 0 && !(load<f32>(p - 4) < load<f32>(p))) {
      // equal to the value before: its cell goes on
      if (i == held) {
        store<f32>(p - 4, pin);
        nextHeld = kept - 1;
      }
    } else {
      if (i == held) nextHeld = kept;
      store<i32>(bounds + (<usize>kept << 2), begin);
      kept++;
    }
  }
  store<i32>(bounds + (<usize>kept << 2), atoms);
  for (let i = 0; i < kept; i++) {
    const b = <usize>load<i32>(bounds + (<usize>i << 2)) << 3;
    const e = <usize>load<i32>(bounds + (<usize>i << 2), 4) << 3;
    store<f64>(centers + (<usize>i << 3), <f64>load<f32>(codebook + (<usize>i << 2)));
    store<f64>(lengths + (<usize>i << 3), log2(all / max(load<f64>(n0 + e) - load<f64>(n0 + b), 0.5)));
  }
  let before = f32.NEGATIVE_INFINITY;
  for (let i = 0; i < kept - 1; i++) {
    let t = floor32(decision(i, centers, lengths, bounds, p0, n0, lambda));
    if (i == nextHeld) t = max(t, pin);
    if (i + 1 == nextHeld) t = min(t, below(pin));
    t = max(t, before);
    store<f32>(thresholdsAt + (<usize>i << 2), t);
    before = t;
  }
  return kept;
}

// The largest float32 not above x.
// @ts-ignore: decorator
@inline
function floor32(x: f64): f32 {
  const t = <f32>x;
  return <f64>t > x ? below(t) : t;
}

/**
 * Thresholds of an ascending codebook of `k` values: t_i (f32 x k - 1) is the largest float32 that is not nearer to
 * c_{i+1} than to c_i in exact arithmetic, so that nearest code = number of t_i < x with ties to the lower code;
 * +infinity between equal values. Pads with +infinity up to `padded` entries.
 */
export function thresholds(dst: usize, codebook: usize, k: i32, padded: i32): void {
  for (let i = 0; i < k - 1; i++) {
    const a = <f64>load<f32>(codebook + (<usize>i << 2));
    const b = <f64>load<f32>(codebook + (<usize>(i + 1) << 2));
    store<f32>(dst + (<usize>i << 2), a == b ? f32.POSITIVE_INFINITY : threshold(a, b));
  }
  for (let i = max(0, k - 1); i < padded; i++) store<f32>(dst + (<usize>i << 2), f32.POSITIVE_INFINITY);
}

// The sum of two float32 is exact in float64 only if their exponents are within 29; the lost part (two-sum, Knuth)
// decides where the rounded midpoint is itself a float32.
// @ts-ignore: decorator
@inline
function threshold(a: f64, b: f64): f32 {
  const s = a + b;
  const bb = s - a;
  const lost = a - (s - bb) + (b - bb);
  const middle = s * 0.5;
  const t = <f32>middle;
  const over = <f64>t > middle || (<f64>t == middle && lost < 0);
  return over ? below(t) : t;
}

/** The next float32 below. */
// @ts-ignore: decorator
@inline
export function below(t: f32): f32 {
  const bits = reinterpret<i32>(t);
  if ((bits & 0x7fffffff) == 0) return reinterpret<f32>(<u32>0x80000001);
  return reinterpret<f32>(bits > 0 ? bits - 1 : bits + 1);
}
