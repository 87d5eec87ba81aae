// Assign: every weight to its nearest code, and what that costs per code.

/**
 * `codes[i] = number of thresholds < weights[i]`, one byte a code.
 *
 * Reads `4 * count` bytes at `src` and `levels - 1` thresholds (f32, ascending, see codebook.ts), padded with +infinity
 * to `2 * half` entries, a power of two; writes `count` bytes. `scratch`: 1,296 bytes.
 */
export function assign(
  codes: usize,
  src: usize,
  count: usize,
  thresholdsAt: usize,
  levels: i32,
  half: usize,
  scratch: usize,
): void {
  if (count >= 16 && levels <= 32) {
    if (levels > 8 && levels <= 16) fourByFour(codes, src, count, thresholdsAt);
    else linear(codes, src, count, thresholdsAt, levels);
  } else if (count < 128 || !gridded(codes, src, count, thresholdsAt, levels, scratch)) {
    halving(codes, src, count, thresholdsAt, half);
  }
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
  scratch: usize,
): void {
  let group = first / inner;
  let left = inner - (first - group * inner);
  for (let i: usize = 0; i < count; ) {
    const run = min(left, count - i);
    assign(codes + i, src + (i << 2), run, thresholdsAt + ((group * stride) << 2), levels, stride >> 1, scratch);
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
// @ts-ignore: decorator
@inline
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

const LAST_CELL: u32 = 1023;

// Cells of equal width from the first threshold to the last: a weight's cell says how many thresholds lie before it, and
// those that may lie in it, `most` of them, are compared. The cell is the same rounded, ascending function of weights and
// thresholds, so roundings cannot make a code wrong. False where too many share a cell, as beside an outlier.
function gridded(codes: usize, src: usize, count: usize, thresholdsAt: usize, levels: i32, grid: usize): bool {
  const low = load<f32>(thresholdsAt);
  // the last cell is for what is beyond the last threshold
  const factor = <f32>(LAST_CELL - 1) / (load<f32>(thresholdsAt + (<usize>(levels - 2) << 2)) - low);
  if (!(factor > 0 && factor < Infinity)) return false;
  const most = layGrid(grid, thresholdsAt, <usize>(levels - 1), low, factor);
  if (most > 5) return false;
  const cells = grid + <usize>(LAST_CELL + 17);
  for (let i: usize = 0; i < count; ) {
    const end = min(i + 64, count);
    let j = i;
    if (ASC_FEATURE_SIMD) {
      for (; j + 4 <= end; j += 4) {
        const at = f32x4.mul(f32x4.sub(v128.load(src + (j << 2)), f32x4.splat(low)), f32x4.splat(factor));
        v128.store(cells + ((j - i) << 2), i32x4.min_u(i32x4.trunc_sat_f32x4_u(at), i32x4.splat(LAST_CELL)));
      }
    }
    for (; j < end; j++) store<u32>(cells + ((j - i) << 2), cellOf(load<f32>(src + (j << 2)), low, factor));
    for (let p = cells; i < end; i++, p += 4) {
      const x = load<f32>(src + (i << 2));
      let c = <usize>load<u8>(grid + load<u32>(p));
      for (let j = most; j > 0; j--) c += <usize>(load<f32>(thresholdsAt + (c << 2)) < x);
      store<u8>(codes + i, <u8>c);
    }
  }
  return true;
}

// Writes the number of thresholds before each cell, and up to 15 bytes beyond; returns the most that share one.
function layGrid(grid: usize, thresholdsAt: usize, count: usize, low: f32, factor: f32): i32 {
  let most: usize = 0;
  let first: usize = 0;
  let next: usize = 0;
  for (let t: usize = 0; t <= count; t++) {
    const cell = <usize>(t < count ? cellOf(load<f32>(thresholdsAt + (t << 2)), low, factor) : LAST_CELL);
    if (next <= cell) first = t;
    most = max(most, t - first);
    for (; next <= cell; next += 16) {
      store<u64>(grid + next, <u64>t * 0x0101010101010101);
      store<u64>(grid + next, <u64>t * 0x0101010101010101, 8);
    }
    next = cell + 1;
  }
  return <i32>most + 1;
}

// @ts-ignore: decorator
@inline
function cellOf(x: f32, low: f32, factor: f32): u32 {
  const at = (x - low) * factor;
  return at >= 0 ? (at < <f32>LAST_CELL ? <u32>at : LAST_CELL) : 0;
}

/**
 * Adds per code the count and the squared error to `totals` (f64 pairs x 256: count, error), and to `sums` (f64 x 3)
 * the sum of squares of the weights, the largest squared error seen, the sum of squares of the decoded values.
 *
 * `decoded` are the values the codes stand for (f32). Weight i is summed in lane i mod 4; the lanes are joined as
 * (0 + 1) + (2 + 3) at the end, then added. Errors are float64 squares of differences. `scratch`: `64 * levels + 64` bytes.
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
  // squares of weights and of decoded values, four lanes each
  const lanes = scratch + (<usize>levels << 6);
  memory.fill(scratch, 0, (<usize>levels << 6) + 64);
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
    v128.store(lanes, q01);
    v128.store(lanes, q23, 16);
    v128.store(lanes, v01, 32);
    v128.store(lanes, v23, 48);
    worst = f64x2.extract_lane(tops, 0);
    if (f64x2.extract_lane(tops, 1) > worst) worst = f64x2.extract_lane(tops, 1);
  }
  for (; i < count; i++) {
    const x = <f64>load<f32>(src + (i << 2));
    const y = <f64>load<f32>(decoded + (i << 2));
    const lane = i & 3;
    const q = lanes + (lane << 3);
    store<f64>(q, load<f64>(q) + x * x);
    store<f64>(q, load<f64>(q, 32) + y * y, 32);
    const d = x - y;
    const e = d * d;
    const p = scratch + (lane << 4) + (<usize>load<u8>(codes + i) << 6);
    store<f64>(p, load<f64>(p) + 1);
    store<f64>(p, load<f64>(p, 8) + e, 8);
    if (e > worst) worst = e;
  }
  for (let c: usize = 0; c < <usize>levels; c++) {
    const own = scratch + (c << 6);
    const p = totals + (c << 4);
    store<f64>(p, load<f64>(p) + joined(own, 16));
    store<f64>(p, load<f64>(p, 8) + joined(own + 8, 16), 8);
  }
  store<f64>(sums, load<f64>(sums) + joined(lanes, 8));
  store<f64>(sums, worst, 8);
  store<f64>(sums, load<f64>(sums, 16) + joined(lanes + 32, 8), 16);
}

function joined(lane: usize, step: usize): f64 {
  const third = lane + 2 * step;
  return load<f64>(lane) + load<f64>(lane + step) + (load<f64>(third) + load<f64>(third + step));
}

// @ts-ignore: decorator
@inline
function tally(lane: usize, code: u32, countAndError: v128): void {
  const p = lane + (<usize>code << 6);
  v128.store(p, f64x2.add(v128.load(p), countAndError));
}
