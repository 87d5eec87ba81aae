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
  if (ASC_FEATURE_SIMD && count >= 32) {
    // lane by lane to memory, where the first codes go later
    for (let lane: usize = 0; lane < 8; lane++) {
      const first = <i32>lane * bits;
      i32.store16(dst + (lane << 1), (first >> 3) * 0x101 + 0x100);
      i32.store16(dst + (lane << 1), 0x100 >> (first & 7), 16);
    }
    const window = v128.load(dst);
    const factor = v128.load(dst, 16);
    const keep = i16x8.splat(<i16>(<i32>1 << bits) - 1);
    const second = i8x16.add(window, i8x16.splat(<i8>bits));
    for (; i + 16 <= count; i += 16) {
      const bytes = v128.load(src + ((i * bits) >> 3));
      const a = v128.and(i16x8.shr_u(i16x8.mul(i8x16.swizzle(bytes, window), factor), 8), keep);
      const b = v128.and(i16x8.shr_u(i16x8.mul(i8x16.swizzle(bytes, second), factor), 8), keep);
      v128.store(dst + i, i8x16.narrow_i16x8_u(a, b));
    }
  }
  for (; i < count; i++) {
    const bit = i * bits;
    const window = <i32>load<u16>(src + (bit >> 3));
    store<u8>(dst + i, (window >> <i32>(bit & 7)) & ((1 << bits) - 1));
  }
}
