// Float formats: float16, bfloat16 and float64 to float32 and back, to nearest, ties to even.

/** float16 -> float32, exact. Reads 2, writes 4 bytes a value; over-reads nothing. */
export function f16ToF32(dst: usize, src: usize, count: usize): void {
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    for (; i + 4 <= count; i += 4) {
      const h = v128.load64_zero(src + (i << 1));
      v128.store(dst + (i << 2), widen16(i32x4.extend_low_i16x8_u(h)));
    }
  }
  for (; i < count; i++) {
    store<f32>(dst + (i << 2), f16Value(load<u16>(src + (i << 1))));
  }
}

// Shifting the 15 low bits to float32's place makes a number 2^112 too small, subnormals included;
// the product is exact, and only infinities and NaN need their exponent set.
// @ts-ignore: decorator
@inline
function widen16(h: v128): v128 {
  const magnitude = v128.and(h, i32x4.splat(0x7fff));
  const scaled = f32x4.mul(i32x4.shl(magnitude, 13), f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x7bff)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(scaled, special), i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16));
}

export function f16Value(h: u32): f32 {
  const magnitude = h & 0x7fff;
  let bits = reinterpret<u32>(reinterpret<f32>(magnitude << 13) * reinterpret<f32>(0x77800000));
  if (magnitude > 0x7bff) bits |= 0x7f800000;
  return reinterpret<f32>(bits | ((h & 0x8000) << 16));
}

/** float32 -> float16; beyond 65 519.99 becomes infinity, NaN stays NaN. Reads 4, writes 2 bytes a value. */
export function f32ToF16(dst: usize, src: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    store<u16>(dst + (i << 1), f16Bits(load<f32>(src + (i << 2))));
  }
}

// The float unit does the rounding: adding 2^13 times the value's own power of two leaves exactly
// float16's digits; for results below 2^-14 a fixed 0.5 * 2^... does the same for subnormals.
export function f16Bits(x: f32): u16 {
  const bits = reinterpret<u32>(x);
  const sign = (bits >> 16) & 0x8000;
  let magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x47800000) {
    // 65536 and more, infinity, NaN
    magnitude = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
  } else if (magnitude < 0x38800000) {
    // below 2^-14: adding 0.5 aligns the last bit with 2^-24
    magnitude = reinterpret<u32>(reinterpret<f32>(magnitude) + 0.5) - 0x3f000000;
  } else {
    magnitude = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  }
  return <u16>(sign | magnitude);
}

/** bfloat16 -> float32, exact. Reads 2, writes 4 bytes a value. */
export function bf16ToF32(dst: usize, src: usize, count: usize): void {
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    for (; i + 4 <= count; i += 4) {
      const h = v128.load64_zero(src + (i << 1));
      v128.store(dst + (i << 2), i32x4.shl(i32x4.extend_low_i16x8_u(h), 16));
    }
  }
  for (; i < count; i++) {
    store<u32>(dst + (i << 2), <u32>load<u16>(src + (i << 1)) << 16);
  }
}

/** float32 -> bfloat16; NaN stays NaN. Reads 4, writes 2 bytes a value. */
export function f32ToBf16(dst: usize, src: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    store<u16>(dst + (i << 1), bf16Bits(load<f32>(src + (i << 2))));
  }
}

/** float32 -> float16 (`format` 1) or bfloat16 (2). Reads 4, writes 2 bytes a value; both may be in one place. */
export function f32To16(dst: usize, src: usize, count: usize, format: i32): void {
  for (let i: usize = 0; i < count; i++) {
    const x = load<f32>(src + (i << 2));
    store<u16>(dst + (i << 1), format == 1 ? f16Bits(x) : bf16Bits(x));
  }
}

// @ts-ignore: decorator
@inline
export function bf16Bits(x: f32): u16 {
  const bits = reinterpret<u32>(x);
  const nan = (bits & 0x7fffffff) > 0x7f800000;
  return <u16>((nan ? bits | 0x400000 : bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/** float64 -> float32 to nearest. Reads 8, writes 4 bytes a value. */
export function f64ToF32(dst: usize, src: usize, count: usize): void {
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    for (; i + 2 <= count; i += 2) {
      const pair = f32x4.demote_f64x2_zero(v128.load(src + (i << 3)));
      v128.store64_lane(dst + (i << 2), pair, 0);
    }
  }
  for (; i < count; i++) {
    store<f32>(dst + (i << 2), <f32>load<f64>(src + (i << 3)));
  }
}

/** float32 -> float64, exact. Reads 4, writes 8 bytes a value. */
export function f32ToF64(dst: usize, src: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    store<f64>(dst + (i << 3), <f64>load<f32>(src + (i << 2)));
  }
}

/** Rounds float32 values in place to those of float16 (`format` 1) or bfloat16 (`format` 2); 0 leaves them. */
export function roundTo(values: usize, count: usize, format: i32): void {
  for (let i: usize = 0; i < count; i++) {
    const p = values + (i << 2);
    if (format == 1) store<f32>(p, f16Value(f16Bits(load<f32>(p))));
    else if (format == 2) store<u32>(p, <u32>bf16Bits(load<f32>(p)) << 16);
  }
}
