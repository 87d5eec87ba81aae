// Moments: is every weight finite, how far do they reach, and what do they add up to.

/** Index of the first infinity or NaN in `[src, src + 4 * count)`, or `count`. */
export function firstNonFinite(src: usize, count: usize): usize {
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    const exponent = i32x4.splat(0x7f800000);
    for (; i + 16 <= count; i += 16) {
      const p = src + (i << 2);
      const a = i32x4.eq(v128.and(v128.load(p), exponent), exponent);
      const b = i32x4.eq(v128.and(v128.load(p, 16), exponent), exponent);
      const c = i32x4.eq(v128.and(v128.load(p, 32), exponent), exponent);
      const d = i32x4.eq(v128.and(v128.load(p, 48), exponent), exponent);
      if (v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) break;
    }
  }
  for (; i < count; i++) {
    if ((load<u32>(src + (i << 2)) & 0x7f800000) == 0x7f800000) break;
  }
  return i;
}

/**
 * Adds to `out` (f64 x 4): sum, sum of squares; lowers `out[2]` to the minimum and raises `out[3]` to the maximum.
 *
 * Order of the sums: weight i goes to lane i mod 4, the lanes are joined as (0 + 1) + (2 + 3), then added to `out`.
 * Reads `4 * count` bytes. Weights must be finite.
 */
export function moments(out: usize, src: usize, count: usize): void {
  let s0: f64 = 0;
  let s1: f64 = 0;
  let s2: f64 = 0;
  let s3: f64 = 0;
  let q0: f64 = 0;
  let q1: f64 = 0;
  let q2: f64 = 0;
  let q3: f64 = 0;
  let low = <f32>load<f64>(out, 16);
  let high = <f32>load<f64>(out, 24);
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    let s01 = f64x2.splat(0);
    let s23 = f64x2.splat(0);
    let q01 = f64x2.splat(0);
    let q23 = f64x2.splat(0);
    let lows = f32x4.splat(low);
    let highs = f32x4.splat(high);
    for (; i + 4 <= count; i += 4) {
      const v = v128.load(src + (i << 2));
      lows = f32x4.pmin(lows, v);
      highs = f32x4.pmax(highs, v);
      const a = f64x2.promote_low_f32x4(v);
      const b = f64x2.promote_low_f32x4(v128.shuffle<u32>(v, v, 2, 3, 2, 3));
      s01 = f64x2.add(s01, a);
      s23 = f64x2.add(s23, b);
      q01 = f64x2.add(q01, f64x2.mul(a, a));
      q23 = f64x2.add(q23, f64x2.mul(b, b));
    }
    s0 = f64x2.extract_lane(s01, 0);
    s1 = f64x2.extract_lane(s01, 1);
    s2 = f64x2.extract_lane(s23, 0);
    s3 = f64x2.extract_lane(s23, 1);
    q0 = f64x2.extract_lane(q01, 0);
    q1 = f64x2.extract_lane(q01, 1);
    q2 = f64x2.extract_lane(q23, 0);
    q3 = f64x2.extract_lane(q23, 1);
    low = lesser(
      lesser(f32x4.extract_lane(lows, 0), f32x4.extract_lane(lows, 1)),
      lesser(f32x4.extract_lane(lows, 2), f32x4.extract_lane(lows, 3)),
    );
    high = greater(
      greater(f32x4.extract_lane(highs, 0), f32x4.extract_lane(highs, 1)),
      greater(f32x4.extract_lane(highs, 2), f32x4.extract_lane(highs, 3)),
    );
  }
  for (; i < count; i++) {
    const x = load<f32>(src + (i << 2));
    low = lesser(low, x);
    high = greater(high, x);
    const v = <f64>x;
    const lane = i & 3;
    if (lane == 0) {
      s0 += v;
      q0 += v * v;
    } else if (lane == 1) {
      s1 += v;
      q1 += v * v;
    } else if (lane == 2) {
      s2 += v;
      q2 += v * v;
    } else {
      s3 += v;
      q3 += v * v;
    }
  }
  store<f64>(out, load<f64>(out) + (s0 + s1 + (s2 + s3)));
  store<f64>(out, load<f64>(out, 8) + (q0 + q1 + (q2 + q3)), 8);
  // + 0: the sign of a zero extreme would depend on the order of lanes
  store<f64>(out, <f64>low + 0, 16);
  store<f64>(out, <f64>high + 0, 24);
}

// @ts-ignore: decorator
@inline
function lesser(a: f32, b: f32): f32 {
  return b < a ? b : a;
}

// @ts-ignore: decorator
@inline
function greater(a: f32, b: f32): f32 {
  return a < b ? b : a;
}

/** Largest magnitude in `[src, src + 4 * count)`. Weights must be finite. */
export function maxMagnitude(src: usize, count: usize): f32 {
  let top: i32 = 0;
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    let tops = i32x4.splat(0);
    const mask = i32x4.splat(0x7fffffff);
    for (; i + 4 <= count; i += 4) tops = i32x4.max_s(tops, v128.and(v128.load(src + (i << 2)), mask));
    top = i32x4.extract_lane(tops, 0);
    top = max(top, i32x4.extract_lane(tops, 1));
    top = max(top, i32x4.extract_lane(tops, 2));
    top = max(top, i32x4.extract_lane(tops, 3));
  }
  for (; i < count; i++) top = max(top, load<i32>(src + (i << 2)) & 0x7fffffff);
  return reinterpret<f32>(top);
}
