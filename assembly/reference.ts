// Reference: the two loops of the seed's k-means (yuhuixu1993/WLQ, include/caffe/kmeans.hpp), faults and all, to the bit.

/**
 * `codes[i]` = the centroid with the least float32 (x - c) * (x - c), the first among equals; the k centroids (f32) are in
 * the seed's order: 0, +, -, +, - … Reads `4 * count` bytes, writes `count`.
 */
export function referenceAssign(codes: usize, src: usize, count: usize, centroids: usize, k: i32): void {
  const end = <usize>k << 2;
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    for (; i + 4 <= count; i += 4) {
      const x = v128.load(src + (i << 2));
      const first = f32x4.sub(x, v128.load32_splat(centroids));
      let least = f32x4.mul(first, first);
      let best = i32x4.splat(0);
      for (let c: usize = 4; c < end; c += 4) {
        const d = f32x4.sub(x, v128.load32_splat(centroids + c));
        const square = f32x4.mul(d, d);
        const nearer = f32x4.lt(square, least);
        least = v128.bitselect(square, least, nearer);
        best = v128.bitselect(i32x4.splat(<i32>(c >> 2)), best, nearer);
      }
      v128.store32_lane(codes + i, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(best, best), best), 0);
    }
  }
  for (; i < count; i++) {
    const x = load<f32>(src + (i << 2));
    const first = x - load<f32>(centroids);
    let least: f32 = first * first;
    let best: usize = 0;
    for (let c: usize = 4; c < end; c += 4) {
      const d = x - load<f32>(centroids + c);
      const square: f32 = d * d;
      if (square < least) {
        least = square;
        best = c;
      }
    }
    store<u8>(codes + i, <u8>(best >> 2));
  }
}

/** Adds to `sums` (f32 x k) and `counts` (u32 x k), in the order of the data: float32 running sums, as the seed has them. */
export function referenceSums(sums: usize, counts: usize, src: usize, codes: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const c = <usize>load<u8>(codes + i) << 2;
    store<f32>(sums + c, load<f32>(sums + c) + load<f32>(src + (i << 2)));
    store<u32>(counts + c, load<u32>(counts + c) + 1);
  }
}
