// Importance: is every value of it usable, and what an error costs where weights do not count the same.

const INFINITY_BITS: u32 = 0x7f800000;
const NEGATIVE_ZERO: u32 = 0x80000000;

/** Index of the first value in `[src, src + 4 * count)` that is not finite and >= 0, or `count`. */
export function firstUnfitImportance(src: usize, count: usize): usize {
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    const zero = f32x4.splat(0);
    const infinity = f32x4.splat(Infinity);
    for (; i + 8 <= count; i += 8) {
      const a = v128.load(src + (i << 2));
      const b = v128.load(src + (i << 2), 16);
      const low = v128.and(f32x4.ge(a, zero), f32x4.ge(b, zero));
      const high = v128.and(f32x4.lt(a, infinity), f32x4.lt(b, infinity));
      if (!i32x4.all_true(v128.and(low, high))) break;
    }
  }
  for (; i < count; i++) {
    const bits = load<u32>(src + (i << 2));
    if (bits >= INFINITY_BITS && bits != NEGATIVE_ZERO) break;
  }
  return i;
}

/**
 * Adds to `sums` (f64 x 2): importance * (weight - decoded)^2, importance * weight^2. Weight i goes to lane
 * i mod 2, the lanes are joined, then added to `sums`. Reads `4 * count` bytes each.
 */
export function measureWeighted(sums: usize, src: usize, decoded: usize, importance: usize, count: usize): void {
  let e0: f64 = 0;
  let e1: f64 = 0;
  let q0: f64 = 0;
  let q1: f64 = 0;
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    let e = f64x2.splat(0);
    let q = f64x2.splat(0);
    for (; i + 2 <= count; i += 2) {
      const at = i << 2;
      const x = f64x2.promote_low_f32x4(v128.load64_zero(src + at));
      const d = f64x2.sub(x, f64x2.promote_low_f32x4(v128.load64_zero(decoded + at)));
      const w = f64x2.promote_low_f32x4(v128.load64_zero(importance + at));
      e = f64x2.add(e, f64x2.mul(w, f64x2.mul(d, d)));
      q = f64x2.add(q, f64x2.mul(w, f64x2.mul(x, x)));
    }
    e0 = f64x2.extract_lane(e, 0);
    e1 = f64x2.extract_lane(e, 1);
    q0 = f64x2.extract_lane(q, 0);
    q1 = f64x2.extract_lane(q, 1);
  }
  for (; i < count; i++) {
    const x = <f64>load<f32>(src + (i << 2));
    const d = x - <f64>load<f32>(decoded + (i << 2));
    const w = <f64>load<f32>(importance + (i << 2));
    if (i & 1) {
      e1 += w * (d * d);
      q1 += w * (x * x);
    } else {
      e0 += w * (d * d);
      q0 += w * (x * x);
    }
  }
  store<f64>(sums, load<f64>(sums) + (e0 + e1));
  store<f64>(sums, load<f64>(sums, 8) + (q0 + q1), 8);
}
