// XXH64 (Yann Collet, xxHash specification 0.1.1) over one contiguous stretch of bytes.

const P1: u64 = 0x9e3779b185ebca87;
const P2: u64 = 0xc2b2ae3d27d4eb4f;
const P3: u64 = 0x165667b19e3779f9;
const P4: u64 = 0x85ebca77c2b2ae63;
const P5: u64 = 0x27d4eb2f165667c5;

/** Reads `[src, src + bytes)` and nothing else. */
export function xxh64(src: usize, bytes: usize, seed: u64): u64 {
  let p = src;
  const end = src + bytes;
  let h: u64;
  if (bytes >= 32) {
    let a: u64 = seed + P1 + P2;
    let b: u64 = seed + P2;
    let c: u64 = seed;
    let d: u64 = seed - P1;
    const last = end - 32;
    do {
      a = rotl<u64>(a + load<u64>(p) * P2, 31) * P1;
      b = rotl<u64>(b + load<u64>(p, 8) * P2, 31) * P1;
      c = rotl<u64>(c + load<u64>(p, 16) * P2, 31) * P1;
      d = rotl<u64>(d + load<u64>(p, 24) * P2, 31) * P1;
      p += 32;
    } while (p <= last);
    h = rotl<u64>(a, 1) + rotl<u64>(b, 7) + rotl<u64>(c, 12) + rotl<u64>(d, 18);
    h = merge(merge(merge(merge(h, a), b), c), d);
  } else {
    h = seed + P5;
  }
  h += <u64>bytes;
  while (p + 8 <= end) {
    h = rotl<u64>(h ^ spread(load<u64>(p)), 27) * P1 + P4;
    p += 8;
  }
  if (p + 4 <= end) {
    h = rotl<u64>(h ^ (<u64>load<u32>(p) * P1), 23) * P2 + P3;
    p += 4;
  }
  while (p < end) {
    h = rotl<u64>(h ^ (<u64>load<u8>(p) * P5), 11) * P1;
    p += 1;
  }
  h = (h ^ (h >> 33)) * P2;
  h = (h ^ (h >> 29)) * P3;
  return h ^ (h >> 32);
}

// Not inlined, as these run a few times a call: the decoder stays small.
// @ts-ignore: decorator
@inline
function merge(h: u64, lane: u64): u64 {
  return (h ^ spread(lane)) * P1 + P4;
}

// @ts-ignore: decorator
@inline
function spread(lane: u64): u64 {
  return rotl<u64>(lane * P2, 31) * P1;
}
