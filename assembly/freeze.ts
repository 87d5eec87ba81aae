// Freeze: weights become the values of their codes for good, a mask says which, and nothing moves them afterwards.
//
// Mask: one byte a weight, 1 free, 0 frozen. The frozen weight i is codebook[codes[i]], to the bit. A codebook lies in 256
// float32 places, of which those below `levels` are used; with at most 32 levels the four bytes of every value lie in
// vectors of 16 (byte planes), so that two swizzles look up a byte of 16 weights; above, values are loaded lane by lane.
import { interleaveHigh8, interleaveLow8 } from "./lookup";

/**
 * Freezes the weights whose code has a byte other than 0 in `freezes` (u8 x 256, 0 or 255): mask 0, weight = value.
 *
 * Reads `count` codes and `4 * levels` bytes at `codebook`, at least 128; changes `4 * count` bytes of weights and
 * `count` of the mask. Weights whose mask is 0 already are written, too: with what they are.
 */
export function freeze(
  weights: usize,
  mask: usize,
  codes: usize,
  count: usize,
  codebook: usize,
  levels: i32,
  freezes: usize,
): void {
  // blocks that stay in the first-level cache: codes and mask are read twice
  for (let begin: usize = 0; begin < count; begin += 2048) {
    const end = min<usize>(count, begin + 2048);
    let i = begin;
    if (ASC_FEATURE_SIMD) {
      const last = freezes + <usize>levels;
      for (; i + 16 <= end; i += 16) {
        let c = v128.load(codes + i);
        let keep = v128.load(mask + i);
        // an index of 16 and more selects 0, so that 16 codes after 16 codes can be tried
        for (let p = freezes; p < last; p += 16) {
          keep = v128.andnot(keep, i8x16.swizzle(v128.load(p), c));
          c = i8x16.sub(c, i8x16.splat(16));
        }
        v128.store(mask + i, keep);
      }
    }
    for (; i < end; i++) store<u8>(mask + i, load<u8>(mask + i) & ~load<u8>(freezes + <usize>load<u8>(codes + i)));
    snap(weights + (begin << 2), mask + begin, codes + begin, end - begin, codebook, levels);
  }
}

/**
 * Clears the mask of the weights whose magnitude is `limit` or more (`below` 0), or `limit` or less (`below` 1); the
 * weights stay as they are until `snap`. Reads `4 * count` bytes of weights, changes `count` of the mask.
 */
export function freezeBeyond(mask: usize, weights: usize, count: usize, limit: f32, below: i32): void {
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    const limits = f32x4.splat(limit);
    for (; i + 16 <= count; i += 16) {
      const p = weights + (i << 2);
      const a = compare(f32x4.abs(v128.load(p)), limits, below);
      const b = compare(f32x4.abs(v128.load(p, 16)), limits, below);
      const c = compare(f32x4.abs(v128.load(p, 32)), limits, below);
      const d = compare(f32x4.abs(v128.load(p, 48)), limits, below);
      const hit = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
      v128.store(mask + i, v128.andnot(v128.load(mask + i), hit));
    }
  }
  for (; i < count; i++) {
    const x = abs<f32>(load<f32>(weights + (i << 2)));
    if (below ? x <= limit : x >= limit) store<u8>(mask + i, 0);
  }
}

// @ts-ignore: decorator
@inline
function compare(x: v128, limits: v128, below: i32): v128 {
  return below ? f32x4.le(x, limits) : f32x4.ge(x, limits);
}

/**
 * Puts the frozen weights back to their values; returns how many had other bits.
 * Reads `count` bytes of mask and codes and the codebook as `freeze` does, changes `4 * count` bytes of weights.
 */
export function snap(weights: usize, mask: usize, codes: usize, count: usize, codebook: usize, levels: i32): usize {
  return visit(weights, mask, codes, count, codebook, levels, true);
}

/** Index of the first frozen weight that has other bits than its value, or `count`. Reads as `snap` does, changes nothing. */
export function firstMoved(weights: usize, mask: usize, codes: usize, count: usize, codebook: usize, levels: i32): usize {
  return visit(weights, mask, codes, count, codebook, levels, false);
}

// Holds every frozen weight against its value. With `put` (known where this is inlined) the values are stored and the
// differences counted; without, it stops at the first.
// @ts-ignore: decorator
@inline
function visit(
  weights: usize,
  mask: usize,
  codes: usize,
  count: usize,
  codebook: usize,
  levels: i32,
  put: bool,
): usize {
  let i: usize = 0;
  let moved: usize = 0;
  if (ASC_FEATURE_SIMD) {
    let counts = i32x4.splat(0);
    if (levels <= 32) {
      if (count >= 16) {
        const p0 = plane(codebook, 0);
        const p1 = plane(codebook, 1);
        const p2 = plane(codebook, 2);
        const p3 = plane(codebook, 3);
        const q0 = plane(codebook, 64);
        const q1 = plane(codebook, 65);
        const q2 = plane(codebook, 66);
        const q3 = plane(codebook, 67);
        for (; i + 16 <= count; i += 16) {
          const c = v128.load(codes + i);
          const d = i8x16.sub(c, i8x16.splat(16));
          const b0 = v128.or(i8x16.swizzle(p0, c), i8x16.swizzle(q0, d));
          const b1 = v128.or(i8x16.swizzle(p1, c), i8x16.swizzle(q1, d));
          const b2 = v128.or(i8x16.swizzle(p2, c), i8x16.swizzle(q2, d));
          const b3 = v128.or(i8x16.swizzle(p3, c), i8x16.swizzle(q3, d));
          const low01 = interleaveLow8(b0, b1);
          const high01 = interleaveHigh8(b0, b1);
          const low23 = interleaveLow8(b2, b3);
          const high23 = interleaveHigh8(b2, b3);
          const frozen = i8x16.eq(v128.load(mask + i), i8x16.splat(0));
          const low = i16x8.extend_low_i8x16_s(frozen);
          const high = i16x8.extend_high_i8x16_s(frozen);
          const p = weights + (i << 2);
          const d0 = four(p, v128.shuffle<u16>(low01, low23, 0, 8, 1, 9, 2, 10, 3, 11), i32x4.extend_low_i16x8_s(low), put);
          const d1 = four(p + 16, v128.shuffle<u16>(low01, low23, 4, 12, 5, 13, 6, 14, 7, 15), i32x4.extend_high_i16x8_s(low), put);
          const d2 = four(p + 32, v128.shuffle<u16>(high01, high23, 0, 8, 1, 9, 2, 10, 3, 11), i32x4.extend_low_i16x8_s(high), put);
          const d3 = four(p + 48, v128.shuffle<u16>(high01, high23, 4, 12, 5, 13, 6, 14, 7, 15), i32x4.extend_high_i16x8_s(high), put);
          // lanes are -1 where different
          if (put) counts = i32x4.sub(counts, i32x4.add(i32x4.add(d0, d1), i32x4.add(d2, d3)));
          else if (v128.any_true(v128.or(v128.or(d0, d1), v128.or(d2, d3)))) break;
        }
      }
    } else {
      for (; i + 4 <= count; i += 4) {
        const d = four(weights + (i << 2), valuesOf(codebook, codes + i), frozenOf(mask + i), put);
        if (put) counts = i32x4.sub(counts, d);
        else if (v128.any_true(d)) break;
      }
    }
    moved =
      <usize>i32x4.extract_lane(counts, 0) + <usize>i32x4.extract_lane(counts, 1) +
      (<usize>i32x4.extract_lane(counts, 2) + <usize>i32x4.extract_lane(counts, 3));
  }
  for (; i < count; i++) {
    if (load<u8>(mask + i)) continue;
    const value = load<u32>(codebook + (<usize>load<u8>(codes + i) << 2));
    if (load<u32>(weights + (i << 2)) == value) continue;
    if (!put) break;
    moved++;
    store<u32>(weights + (i << 2), value);
  }
  return put ? moved : i;
}

// Four weights against their values: all ones where frozen and different; with `put`, values are stored where frozen.
// @ts-ignore: decorator
@inline
function four(weights: usize, values: v128, frozen: v128, put: bool): v128 {
  const before = v128.load(weights);
  if (put) v128.store(weights, v128.bitselect(values, before, frozen));
  return v128.and(i32x4.ne(before, values), frozen);
}

// The values of four codes.
// @ts-ignore: decorator
@inline
function valuesOf(codebook: usize, codes: usize): v128 {
  const c = load<u32>(codes);
  let v = v128.load32_zero(codebook + ((c & 0xff) << 2));
  v = v128.load32_lane(codebook + ((c >> 6) & 0x3fc), v, 1);
  v = v128.load32_lane(codebook + ((c >> 14) & 0x3fc), v, 2);
  return v128.load32_lane(codebook + ((c >> 22) & 0x3fc), v, 3);
}

// All ones in the lanes of four weights that are frozen.
// @ts-ignore: decorator
@inline
function frozenOf(mask: usize): v128 {
  const m = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(mask)));
  return i32x4.eq(m, i32x4.splat(0));
}

// Byte `at` of 16 consecutive 32-bit values. Once a call of a tile.
function plane(codebook: usize, at: usize): v128 {
  let v = i8x16.splat(0);
  for (let p = codebook + at + 60; p >= codebook + at; p -= 4) {
    v = i8x16.replace_lane(v128.shuffle<u8>(v, v, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14), 0, load<i8>(p));
  }
  return v;
}

/** Number of free weights: the sum of `count` mask bytes, each 0 or 1. */
export function countFree(mask: usize, count: usize): usize {
  let i: usize = 0;
  let free: usize = 0;
  if (ASC_FEATURE_SIMD) {
    let sums = i32x4.splat(0);
    for (; i + 16 <= count; i += 16) {
      sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(v128.load(mask + i))));
    }
    free =
      <usize>i32x4.extract_lane(sums, 0) + <usize>i32x4.extract_lane(sums, 1) +
      (<usize>i32x4.extract_lane(sums, 2) + <usize>i32x4.extract_lane(sums, 3));
  }
  for (; i < count; i++) free += load<u8>(mask + i);
  return free;
}

/**
 * The free weights, one after another, to `dst` (room for `count` float32, all of which may be written); their magnitudes
 * if `absolute` is not 0. Returns how many there are.
 */
export function takeFree(dst: usize, src: usize, mask: usize, count: usize, absolute: i32): usize {
  const keep: u32 = absolute ? 0x7fffffff : 0xffffffff;
  let p = dst;
  for (let i: usize = 0; i < count; i++) {
    // written in any case, kept where the next one does not take the place
    store<u32>(p, load<u32>(src + (i << 2)) & keep);
    p += <usize>load<u8>(mask + i) << 2;
  }
  return (p - dst) >> 2;
}
