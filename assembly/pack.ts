// Pack: one byte a code to 1 to 8 bits a code, least-significant bit first.

/**
 * Reads `count` bytes (each below 2^bits), over-reads nothing, writes `ceil(count * bits / 8)` bytes and over-writes
 * up to 8 more. The unused high bits of the last byte are 0.
 */
export function pack(dst: usize, src: usize, count: usize, bits: i32): void {
  let i: usize = 0;
  let p = dst;
  if (bits == 8) {
    memory.copy(dst, src, count);
    return;
  }
  if (ASC_FEATURE_SIMD) {
    const bits2 = bits << 1;
    const bits4 = bits << 2;
    const low8 = i16x8.splat(0xff);
    const low16 = i32x4.splat(0xffff);
    const low32 = i64x2.splat(0xffffffff);
    if (bits == 4) {
      for (; i + 32 <= count; i += 32) {
        const a = v128.load(src + i);
        const b = v128.load(src + i, 16);
        const c = v128.and(v128.or(a, i16x8.shr_u(a, 4)), low8);
        const d = v128.and(v128.or(b, i16x8.shr_u(b, 4)), low8);
        v128.store(p, i8x16.narrow_i16x8_u(c, d));
        p += 16;
      }
    }
    for (; i + 16 <= count; i += 16) {
      let v = v128.load(src + i);
      // neighbours join: 2 codes in 16 bits, 4 in 32, 8 in 64
      v = v128.or(v128.and(v, low8), i16x8.shl(i16x8.shr_u(v, 8), bits));
      v = v128.or(v128.and(v, low16), i32x4.shl(i32x4.shr_u(v, 16), bits2));
      v = v128.or(v128.and(v, low32), i64x2.shl(i64x2.shr_u(v, 32), bits4));
      v128.store64_lane(p, v, 0);
      p += bits;
      v128.store64_lane(p, v, 1);
      p += bits;
    }
  } else {
    for (; i + 8 <= count; i += 8) {
      let v = load<u64>(src + i);
      v = (v & 0x00ff00ff00ff00ff) | ((v & 0xff00ff00ff00ff00) >> (8 - bits));
      v = (v & 0x0000ffff0000ffff) | ((v & 0xffff0000ffff0000) >> (16 - (bits << 1)));
      v = (v & 0x00000000ffffffff) | ((v >> 32) << (bits << 2));
      store<u64>(p, v);
      p += bits;
    }
  }
  let window: u32 = 0;
  let filled = 0;
  for (; i < count; i++) {
    window |= <u32>load<u8>(src + i) << filled;
    filled += bits;
    if (filled >= 8) {
      store<u8>(p++, window);
      window >>= 8;
      filled -= 8;
    }
  }
  if (filled > 0) store<u8>(p, window);
}
