// Unpack: codes of 1 to 8 bits, least-significant bit first, to one byte a code.

/**
 * Reads `ceil(count * bits / 8)` bytes, over-reads up to 15 more, writes `count` bytes, over-writes up to 15 more.
 *
 * Eight codes fill `bits` bytes. Each 16-bit lane loads the two bytes in which its code begins; a product shifts the
 * code's first bit to bit 8, which drops what lies above, and one shift brings it down:
 *
 *     bits = 3   bytes  |--b0--||--b1--||--b2--|
 *                codes  000111222333444555666777      lane 2: bytes b0 b1, first bit 6, times 2^2, >> 8, & 7
 */
export function unpack(dst: usize, src: usize, count: usize, bits: i32): void {
  let i: usize = 0;
  const mask = (1 << bits) - 1;
  if (ASC_FEATURE_SIMD) {
    let window = i16x8.splat(0);
    let factor = i16x8.splat(0);
    for (let lane = 7; lane >= 0; lane--) {
      const byte = (lane * bits) >> 3;
      window = shiftIn(window, <i16>(byte | ((byte + 1) << 8)));
      factor = shiftIn(factor, <i16>(<i32>1 << (8 - ((lane * bits) & 7))));
    }
    const keep = i16x8.splat(<i16>mask);
    const second = i8x16.add(window, i8x16.splat(<i8>bits));
    let p = src;
    const step = bits << 1;
    for (; i + 16 <= count; i += 16) {
      const bytes = v128.load(p);
      const a = v128.and(i16x8.shr_u(i16x8.mul(i8x16.swizzle(bytes, window), factor), 8), keep);
      const b = v128.and(i16x8.shr_u(i16x8.mul(i8x16.swizzle(bytes, second), factor), 8), keep);
      v128.store(dst + i, i8x16.narrow_i16x8_u(a, b));
      p += step;
    }
  }
  for (; i < count; i++) {
    const bit = i * bits;
    const p = src + (bit >> 3);
    const first = <i32>(bit & 7);
    let window = <i32>load<u8>(p);
    // the second byte is read only where the code reaches into it
    if (first + bits > 8) window |= <i32>load<u8>(p, 1) << 8;
    store<u8>(dst + i, (window >> first) & mask);
  }
}

// Moves every lane up by one and puts `value` in lane 0.
// @ts-ignore: decorator
@inline
function shiftIn(v: v128, value: i16): v128 {
  return i16x8.replace_lane(v128.shuffle<u16>(v, v, 0, 0, 1, 2, 3, 4, 5, 6), 0, value);
}
