// Assign: every weight to its nearest code, and what that costs per code.

/**
 * `codes[i] = number of thresholds < weights[i]`, one byte a code.
 *
 * Reads `4 * count` bytes at `src` and `levels - 1` thresholds (f32, ascending, see codebook.ts), padded with +infinity
 * to 256 entries; writes `count` bytes. `table` is 0, or 65 536 bytes that `assignTable` made for these thresholds.
 */
export function assign(codes: usize, src: usize, count: usize, thresholdsAt: usize, levels: i32, table: usize): void {
  if (levels > 8 && levels <= 16) fourByFour(codes, src, count, thresholdsAt);
  else if (levels <= 32) linear(codes, src, count, thresholdsAt, levels);
  else if (table) tabled(codes, src, count, thresholdsAt, table);
  else halving(codes, src, count, thresholdsAt, 128);
}

/**
 * Many codebooks, runs as in `lookupRuns`: `thresholdsAt` holds groups x `stride` float32, stride the power of two at or
 * above `levels`, each padded with +infinity.
 */
export function assignRuns(
  codes: usize,
  src: usize,
  count: usize,
  thresholdsAt: usize,
  levels: i32,
  stride: usize,
  inner: usize,
  groups: usize,
  first: usize,
): void {
  let group = first / inner;
  let left = inner - (first - group * inner);
  for (let i: usize = 0; i < count; ) {
    const run = min(left, count - i);
    const own = thresholdsAt + ((group * stride) << 2);
    if (run >= 16 && levels > 8 && levels <= 16) fourByFour(codes + i, src + (i << 2), run, own);
    else if (run >= 16 && levels <= 32) linear(codes + i, src + (i << 2), run, own, levels);
    else halving(codes + i, src + (i << 2), run, own, stride >> 1);
    i += run;
    left = inner;
    if (++group == groups) group = 0;
  }
}

// Every threshold against 16 weights at a time: compare gives -1, subtracting it counts.
function linear(codes: usize, src: usize, count: usize, thresholdsAt: usize, levels: i32): void {
  let i: usize = 0;
  const end = thresholdsAt + (<usize>(levels - 1) << 2);
  if (ASC_FEATURE_SIMD) {
    for (; i + 16 <= count; i += 16) {
      const p = src + (i << 2);
      const x0 = v128.load(p);
      const x1 = v128.load(p, 16);
      const x2 = v128.load(p, 32);
      const x3 = v128.load(p, 48);
      let c0 = i32x4.splat(0);
      let c1 = i32x4.splat(0);
      let c2 = i32x4.splat(0);
      let c3 = i32x4.splat(0);
      for (let t = thresholdsAt; t < end; t += 4) {
        const limit = v128.load32_splat(t);
        c0 = i32x4.sub(c0, f32x4.lt(limit, x0));
        c1 = i32x4.sub(c1, f32x4.lt(limit, x1));
        c2 = i32x4.sub(c2, f32x4.lt(limit, x2));
        c3 = i32x4.sub(c3, f32x4.lt(limit, x3));
      }
      v128.store(codes + i, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(c0, c1), i16x8.narrow_i32x4_s(c2, c3)));
    }
  }
  for (; i < count; i++) {
    const x = load<f32>(src + (i << 2));
    let c = 0;
    for (let t = thresholdsAt; t < end; t += 4) c += <i32>(load<f32>(t) < x);
    store<u8>(codes + i, c);
  }
}

// 9 to 16 levels in two steps of four: three thresholds say which quarter of the codes, one swizzle each fetches the
// three thresholds inside it: 6 compares instead of 15. Reads 16 thresholds, those beyond the last are +infinity.
//
//     t3 < x, t7 < x, t11 < x  ->  quarter q of every lane     t[4q], t[4q + 1], t[4q + 2] < x  ->  code - 4q
function fourByFour(codes: usize, src: usize, count: usize, thresholdsAt: usize): void {
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    const t3 = v128.load32_splat(thresholdsAt, 12);
    const t7 = v128.load32_splat(thresholdsAt, 28);
    const t11 = v128.load32_splat(thresholdsAt, 44);
    const a = v128.load(thresholdsAt);
    const b = v128.load(thresholdsAt, 16);
    const c = v128.load(thresholdsAt, 32);
    const d = v128.load(thresholdsAt, 48);
    // row j holds t[j], t[4 + j], t[8 + j], t[12 + j]
    const ab = v128.shuffle<u32>(a, b, 0, 4, 1, 5);
    const cd = v128.shuffle<u32>(c, d, 0, 4, 1, 5);
    const row0 = v128.shuffle<u64>(ab, cd, 0, 2);
    const row1 = v128.shuffle<u64>(ab, cd, 1, 3);
    const row2 = v128.shuffle<u32>(v128.shuffle<u32>(a, b, 2, 6, 2, 6), v128.shuffle<u32>(c, d, 2, 6, 2, 6), 0, 1, 4, 5);
    for (; i + 16 <= count; i += 16) {
      const p = src + (i << 2);
      const c0 = quarterSearch(v128.load(p), t3, t7, t11, row0, row1, row2);
      const c1 = quarterSearch(v128.load(p, 16), t3, t7, t11, row0, row1, row2);
      const c2 = quarterSearch(v128.load(p, 32), t3, t7, t11, row0, row1, row2);
      const c3 = quarterSearch(v128.load(p, 48), t3, t7, t11, row0, row1, row2);
      v128.store(codes + i, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(c0, c1), i16x8.narrow_i32x4_s(c2, c3)));
    }
  }
  linear(codes + i, src + (i << 2), count - i, thresholdsAt, 16);
}

// @ts-ignore: decorator
@inline
function quarterSearch(x: v128, t3: v128, t7: v128, t11: v128, row0: v128, row1: v128, row2: v128): v128 {
  // byte numbers of the quarter's entry in a row: 4q, 4q + 1, 4q + 2, 4q + 3
  const four = i32x4.splat(0x04040404);
  let at = i32x4.splat(0x03020100);
  at = i32x4.add(at, v128.and(f32x4.lt(t3, x), four));
  at = i32x4.add(at, v128.and(f32x4.lt(t7, x), four));
  at = i32x4.add(at, v128.and(f32x4.lt(t11, x), four));
  let code = v128.and(at, i32x4.splat(0xff));
  code = i32x4.sub(code, f32x4.lt(i8x16.swizzle(row0, at), x));
  code = i32x4.sub(code, f32x4.lt(i8x16.swizzle(row1, at), x));
  return i32x4.sub(code, f32x4.lt(i8x16.swizzle(row2, at), x));
}

// Halvings of 2 * half - 1 thresholds, without branches.
function halving(codes: usize, src: usize, count: usize, thresholdsAt: usize, half: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const x = load<f32>(src + (i << 2));
    let c: usize = 0;
    for (let s = half; s > 0; s >>= 1) {
      c += s & -(<usize>(load<f32>(thresholdsAt + ((c + s - 1) << 2)) < x));
    }
    store<u8>(codes + i, <u8>c);
  }
}

// The upper half of a weight's bits finds the first code possible; few thresholds are left to compare.
function tabled(codes: usize, src: usize, count: usize, thresholdsAt: usize, table: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const x = load<f32>(src + (i << 2));
    const cell = <usize>(reinterpret<u32>(x) >> 16);
    let c = <usize>load<u8>(table + cell);
    while (load<f32>(thresholdsAt + (c << 2)) < x) c++;
    store<u8>(codes + i, <u8>c);
  }
}

/** Writes `table` (u8 x 65536) for `assign`: by the upper 16 bits, the code of the smallest weight that has them. */
export function assignTable(table: usize, thresholdsAt: usize, levels: i32): void {
  let c: usize = 0;
  const last = <usize>(levels - 1);
  // infinities and NaN begin at code 0, so that they, too, get the number of thresholds below them
  memory.fill(table, 0, 65536);
  // ascending values: negative cells from the largest magnitude down, then positive ones up
  for (let cell: u32 = 0xff7f; cell >= 0x8000; cell--) {
    const smallest = reinterpret<f32>((cell << 16) | 0xffff);
    while (c < last && load<f32>(thresholdsAt + (c << 2)) < smallest) c++;
    store<u8>(table + cell, <u8>c);
  }
  for (let cell: u32 = 0; cell <= 0x7f7f; cell++) {
    const smallest = reinterpret<f32>(cell << 16);
    while (c < last && load<f32>(thresholdsAt + (c << 2)) < smallest) c++;
    store<u8>(table + cell, <u8>c);
  }
}

/**
 * Adds per code the count and the squared error to `totals` (f64 pairs x 256: count, error), and to `sums` (f64 x 3)
 * the sum of squares of the weights, the largest squared error seen, the sum of squares of the decoded values.
 *
 * `decoded` are the values the codes stand for (f32). Weight i is summed in lane i mod 4; the lanes are joined as
 * (0 + 1) + (2 + 3) at the end, then added. Errors are float64 squares of differences. `scratch`: `64 * levels` bytes.
 */
export function measure(
  totals: usize,
  sums: usize,
  src: usize,
  decoded: usize,
  codes: usize,
  count: usize,
  levels: i32,
  scratch: usize,
): void {
  memory.fill(scratch, 0, <usize>levels << 6);
  let q0: f64 = 0;
  let q1: f64 = 0;
  let q2: f64 = 0;
  let q3: f64 = 0;
  let v0: f64 = 0;
  let v1: f64 = 0;
  let v2: f64 = 0;
  let v3: f64 = 0;
  let worst = load<f64>(sums, 8);
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    let q01 = f64x2.splat(0);
    let q23 = f64x2.splat(0);
    let v01 = f64x2.splat(0);
    let v23 = f64x2.splat(0);
    let tops = f64x2.splat(worst);
    const one = f64x2.splat(1);
    for (; i + 4 <= count; i += 4) {
      const p = src + (i << 2);
      const d = decoded + (i << 2);
      const c = load<u32>(codes + i);
      const x01 = f64x2.promote_low_f32x4(v128.load64_zero(p));
      const x23 = f64x2.promote_low_f32x4(v128.load64_zero(p, 8));
      q01 = f64x2.add(q01, f64x2.mul(x01, x01));
      q23 = f64x2.add(q23, f64x2.mul(x23, x23));
      const y01 = f64x2.promote_low_f32x4(v128.load64_zero(d));
      const y23 = f64x2.promote_low_f32x4(v128.load64_zero(d, 8));
      v01 = f64x2.add(v01, f64x2.mul(y01, y01));
      v23 = f64x2.add(v23, f64x2.mul(y23, y23));
      const d01 = f64x2.sub(x01, y01);
      const d23 = f64x2.sub(x23, y23);
      const e01 = f64x2.mul(d01, d01);
      const e23 = f64x2.mul(d23, d23);
      tops = f64x2.pmax(f64x2.pmax(tops, e01), e23);
      // count and error share a vector: one load, one store
      tally(scratch, c & 0xff, v128.shuffle<u64>(one, e01, 0, 2));
      tally(scratch + 16, (c >> 8) & 0xff, v128.shuffle<u64>(one, e01, 0, 3));
      tally(scratch + 32, (c >> 16) & 0xff, v128.shuffle<u64>(one, e23, 0, 2));
      tally(scratch + 48, c >> 24, v128.shuffle<u64>(one, e23, 0, 3));
    }
    q0 = f64x2.extract_lane(q01, 0);
    q1 = f64x2.extract_lane(q01, 1);
    q2 = f64x2.extract_lane(q23, 0);
    q3 = f64x2.extract_lane(q23, 1);
    v0 = f64x2.extract_lane(v01, 0);
    v1 = f64x2.extract_lane(v01, 1);
    v2 = f64x2.extract_lane(v23, 0);
    v3 = f64x2.extract_lane(v23, 1);
    worst = f64x2.extract_lane(tops, 0);
    if (f64x2.extract_lane(tops, 1) > worst) worst = f64x2.extract_lane(tops, 1);
  }
  for (; i < count; i++) {
    const x = <f64>load<f32>(src + (i << 2));
    const y = <f64>load<f32>(decoded + (i << 2));
    const lane = i & 3;
    if (lane == 0) {
      q0 += x * x;
      v0 += y * y;
    } else if (lane == 1) {
      q1 += x * x;
      v1 += y * y;
    } else if (lane == 2) {
      q2 += x * x;
      v2 += y * y;
    } else {
      q3 += x * x;
      v3 += y * y;
    }
    const d = x - y;
    const e = d * d;
    const p = scratch + (lane << 4) + (<usize>load<u8>(codes + i) << 6);
    store<f64>(p, load<f64>(p) + 1);
    store<f64>(p, load<f64>(p, 8) + e, 8);
    if (e > worst) worst = e;
  }
  for (let c: usize = 0; c < <usize>levels; c++) {
    const lanes = scratch + (c << 6);
    const p = totals + (c << 4);
    store<f64>(p, load<f64>(p) + (load<f64>(lanes) + load<f64>(lanes, 16) + (load<f64>(lanes, 32) + load<f64>(lanes, 48))));
    store<f64>(
      p,
      load<f64>(p, 8) + (load<f64>(lanes, 8) + load<f64>(lanes, 24) + (load<f64>(lanes, 40) + load<f64>(lanes, 56))),
      8,
    );
  }
  store<f64>(sums, load<f64>(sums) + (q0 + q1 + (q2 + q3)));
  store<f64>(sums, worst, 8);
  store<f64>(sums, load<f64>(sums, 16) + (v0 + v1 + (v2 + v3)), 16);
}

// @ts-ignore: decorator
@inline
function tally(lane: usize, code: u32, countAndError: v128): void {
  const p = lane + (<usize>code << 6);
  v128.store(p, f64x2.add(v128.load(p), countAndError));
}
