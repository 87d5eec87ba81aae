// Lookup: codes (one byte each) to the values of a codebook, as float32.

/**
 * `dst[i] = codebook[codes[i]]`, float32.
 *
 * Reads `count` code bytes and writes `4 * count` bytes. With `nibbles` codes are packed, 4 bits each, and the codebook
 * has 16 entries. Otherwise it has `levels`; with at most 32 levels 128 bytes are read once (the
 * caller pads). A code >= levels gives an unspecified value of memory within `codebook + 1024`: never a trap as
 * long as 1 KiB lies there.
 *
 * With at most 16 levels the four bytes of every value lie in four vectors of 16 (byte planes), so that one swizzle
 * looks up a byte of 16 weights at once; two rounds of interleaving put the values together.
 */
export function lookup32(dst: usize, codes: usize, count: usize, codebook: usize, levels: i32, nibbles: bool): void {
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    // making the planes takes as long as looking up some 200 weights one by one
    if (levels <= 32 && count >= 256) {
      // planes: bytes 0 of 16 values to `dst`, bytes 1 behind them, and so on; where results go later
      for (let k: usize = 0; k < (levels > 16 ? 128 : 64); k++) {
        store<u8>(dst + (k & 64) + ((k & 3) << 4) + ((k & 63) >> 2), load<u8>(codebook + k));
      }
      const p0 = v128.load(dst);
      const p1 = v128.load(dst, 16);
      const p2 = v128.load(dst, 32);
      const p3 = v128.load(dst, 48);
      const q0 = v128.load(dst, 64);
      const q1 = v128.load(dst, 80);
      const q2 = v128.load(dst, 96);
      const q3 = v128.load(dst, 112);
      // both branches go the same way every time: they cost nothing, and one loop is half the code of two
      for (; i + 16 <= count; i += 16) {
        let c: v128;
        if (nibbles) {
          const bytes = v128.load64_zero(codes + (i >> 1));
          c = interleaveLow8(v128.and(bytes, i8x16.splat(15)), i8x16.shr_u(bytes, 4));
        } else {
          c = v128.load(codes + i);
        }
        let b0 = i8x16.swizzle(p0, c);
        let b1 = i8x16.swizzle(p1, c);
        let b2 = i8x16.swizzle(p2, c);
        let b3 = i8x16.swizzle(p3, c);
        if (levels > 16) {
          // an index of 16 and more selects 0, so that the two halves can be joined
          const d = i8x16.sub(c, i8x16.splat(16));
          b0 = v128.or(b0, i8x16.swizzle(q0, d));
          b1 = v128.or(b1, i8x16.swizzle(q1, d));
          b2 = v128.or(b2, i8x16.swizzle(q2, d));
          b3 = v128.or(b3, i8x16.swizzle(q3, d));
        }
        interleave32(dst + (i << 2), b0, b1, b2, b3);
      }
    }
  }
  if (nibbles) {
    for (; i < count; i++) {
      const code = (load<u8>(codes + (i >> 1)) >> <u8>((i & 1) << 2)) & 15;
      store<u32>(dst + (i << 2), load<u32>(codebook + (<usize>code << 2)));
    }
    return;
  }
  for (; i + 4 <= count; i += 4) {
    const c = load<u32>(codes + i);
    const p = dst + (i << 2);
    store<u32>(p, load<u32>(codebook + ((c & 0xff) << 2)));
    store<u32>(p, load<u32>(codebook + ((c >> 6) & 0x3fc)), 4);
    store<u32>(p, load<u32>(codebook + ((c >> 14) & 0x3fc)), 8);
    store<u32>(p, load<u32>(codebook + ((c >> 22) & 0x3fc)), 12);
  }
  for (; i < count; i++) {
    store<u32>(dst + (i << 2), load<u32>(codebook + (<usize>load<u8>(codes + i) << 2)));
  }
}

/**
 * Many codebooks: runs of `inner` weights share one, the next run takes the next, after `groups` runs the first again.
 * `first` is where in that period the first weight lies. `codebooks`: groups x levels float32, 1 KiB readable behind.
 */
export function lookupRuns(
  dst: usize,
  codes: usize,
  count: usize,
  codebooks: usize,
  levels: i32,
  inner: usize,
  groups: usize,
  first: usize,
): void {
  const size = <usize>levels << 2;
  let group = first / inner;
  let left = inner - (first % inner);
  let codebook = codebooks + group * size;
  for (let i: usize = 0; i < count; ) {
    const run = min(left, count - i);
    if (run < 16) {
      for (let e = i + run; i < e; i++) {
        store<u32>(dst + (i << 2), load<u32>(codebook + (<usize>load<u8>(codes + i) << 2)));
      }
    } else {
      lookup32(dst + (i << 2), codes + i, run, codebook, levels, false);
      i += run;
    }
    left = inner;
    codebook += size;
    if (++group == groups) {
      group = 0;
      codebook = codebooks;
    }
  }
}

// @ts-ignore: decorator
@inline
export function interleaveLow8(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// @ts-ignore: decorator
@inline
export function interleaveHigh8(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// Four byte planes of 16 weights to 64 bytes of float32.
// @ts-ignore: decorator
@inline
function interleave32(dst: usize, b0: v128, b1: v128, b2: v128, b3: v128): void {
  const low01 = interleaveLow8(b0, b1);
  const high01 = interleaveHigh8(b0, b1);
  const low23 = interleaveLow8(b2, b3);
  const high23 = interleaveHigh8(b2, b3);
  v128.store(dst, v128.shuffle<u16>(low01, low23, 0, 8, 1, 9, 2, 10, 3, 11));
  v128.store(dst, v128.shuffle<u16>(low01, low23, 4, 12, 5, 13, 6, 14, 7, 15), 16);
  v128.store(dst, v128.shuffle<u16>(high01, high23, 0, 8, 1, 9, 2, 10, 3, 11), 32);
  v128.store(dst, v128.shuffle<u16>(high01, high23, 4, 12, 5, 13, 6, 14, 7, 15), 48);
}
