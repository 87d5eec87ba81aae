// XXH64 (Yann Collet, xxHash specification 0.1.1) over one contiguous stretch of whole 32-byte blocks.

const P1: u64 = 0x9e3779b185ebca87;
const P2: u64 = 0xc2b2ae3d27d4eb4f;
const P3: u64 = 0x165667b19e3779f9;
const P4: u64 = 0x85ebca77c2b2ae63;

/**
 * Reads `[src, src + bytes)` and nothing else. `bytes` is a multiple of 32 and not 0: callers pad with zeros, which
 * saves the decoder the code for tails.
 */
export function xxh64(src: usize, bytes: usize, seed: u64): u64 {
  let a: u64 = seed + P1 + P2;
  let b: u64 = seed + P2;
  let c: u64 = seed;
  let d: u64 = seed - P1;
  for (let p = src; p < src + bytes; p += 32) {
    a = rotl<u64>(a + load<u64>(p) * P2, 31) * P1;
    b = rotl<u64>(b + load<u64>(p, 8) * P2, 31) * P1;
    c = rotl<u64>(c + load<u64>(p, 16) * P2, 31) * P1;
    d = rotl<u64>(d + load<u64>(p, 24) * P2, 31) * P1;
  }
  let h = rotl<u64>(a, 1) + rotl<u64>(b, 7) + rotl<u64>(c, 12) + rotl<u64>(d, 18);
  h = merge(h, a);
  h = merge(h, b);
  h = merge(h, c);
  h = merge(h, d) + <u64>bytes;
  h = (h ^ (h >> 33)) * P2;
  h = (h ^ (h >> 29)) * P3;
  return h ^ (h >> 32);
}

function merge(h: u64, lane: u64): u64 {
  return (h ^ spread(lane)) * P1 + P4;
}

// @ts-ignore: decorator
@inline
function spread(lane: u64): u64 {
  return rotl<u64>(lane * P2, 31) * P1;
}
