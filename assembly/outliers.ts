// The outliers binary: which weights of a tensor are to be stored exactly.
export { countMagnitudes, countLower } from "./magnitude";

/**
 * What each of `count` weights is ranked by, a u32 below 2^31 that grows with it: the bits of its magnitude or, with
 * `importance`, the upper half of the float64 h * w * w. Reads `4 * count` bytes at `weights`, and at `importance` unless
 * that is 0; writes as many at `keys`. What is not finite gives any key.
 */
export function outlierKeys(keys: usize, weights: usize, importance: usize, count: usize): void {
  let i: usize = 0;
  if (importance) {
    for (; i < count; i++) {
      const w = <f64>load<f32>(weights + (i << 2));
      const cost = <f64>load<f32>(importance + (i << 2)) * w * w;
      store<u32>(keys + (i << 2), <u32>(reinterpret<u64>(cost) >> 32) & 0x7fffffff);
    }
    return;
  }
  if (ASC_FEATURE_SIMD) {
    const mask = i32x4.splat(0x7fffffff);
    for (; i + 4 <= count; i += 4) v128.store(keys + (i << 2), v128.and(v128.load(weights + (i << 2)), mask));
  }
  for (; i < count; i++) store<u32>(keys + (i << 2), load<u32>(weights + (i << 2)) & 0x7fffffff);
}

/**
 * The indices (u32, ascending, at `places`) of keys above `limit`, and of the first of those equal to it as long as
 * `left` (i32) is above 0, which it counts down. Returns how many. Reads `4 * count` bytes, writes at most as many.
 */
export function pickOutliers(places: usize, keys: usize, count: usize, limit: i32, left: usize): usize {
  let found = places;
  let ties = load<i32>(left);
  let i: usize = 0;
  while (i < count) {
    if (ASC_FEATURE_SIMD) {
      const least = i32x4.splat(limit);
      // most stretches have none
      while (i + 8 <= count) {
        const p = keys + (i << 2);
        const a = i32x4.ge_s(v128.load(p), least);
        if (v128.any_true(v128.or(a, i32x4.ge_s(v128.load(p, 16), least)))) break;
        i += 8;
      }
    }
    for (const end = min(i + 8, count); i < end; i++) {
      const key = load<i32>(keys + (i << 2));
      if (key < limit || (key == limit && ties <= 0)) continue;
      if (key == limit) ties--;
      store<u32>(found, <u32>i);
      found += 4;
    }
  }
  store<i32>(left, ties);
  return (found - places) >> 2;
}
