// The tans binary: entropy-coded symbols to codes, one byte each (Duda 2009: tabled asymmetric numeral systems).
import { spread, STATES, STATES_LOG } from "./spread";

/**
 * The decoding table: 2^13 u32; each has the bits to read (low byte), the symbol (next byte), and the least of the states
 * that come next (above). Reads and changes `counts`: `symbols` u16, 2^13 in all.
 */
export function tansTable(table: usize, counts: usize, symbols: usize): void {
  spread(table, counts, symbols);
  for (let p = table, end = table + 4 * STATES; p < end; p += 4) {
    const symbol = load<u32>(p);
    const count = counts + (symbol << 1);
    // from n to 2n - 1: the symbol's states, brought to 2^13 and more by reading bits
    const next = <u32>load<u16>(count);
    store<u16>(count, <u16>(next + 1));
    const bits = STATES_LOG - 31 + clz(next);
    store<u32>(p, bits | (symbol << 8) | (((next << bits) - STATES) << 16));
  }
}

/**
 * Decodes `4 * rounds` symbols, each to `join` codes, and leaves the block such that the next call goes on.
 *
 * `block`: the place in bits from its start as u32, the states of four symbols as u16, then the bits; what it says need
 * not be true, states and place are cut to 2^13 and 2^22. `words`: the codes of 256 symbols, 8 bytes each. Writes
 * `4 * rounds * join` bytes, over-writes up to 7 more; reads at most 2^19 + 7 * rounds + 8 bytes of `block`.
 *
 * Four times at most 13 bits come from one load; four states hide the time that it takes from a state to the next.
 */
export function tansDecode(dst: usize, block: usize, table: usize, words: usize, join: usize, rounds: i32): void {
  let at = load<u32>(block) & 0x3fffff;
  let s0 = <u32>load<u16>(block, 4) & (STATES - 1);
  let s1 = <u32>load<u16>(block, 6) & (STATES - 1);
  let s2 = <u32>load<u16>(block, 8) & (STATES - 1);
  let s3 = <u32>load<u16>(block, 10) & (STATES - 1);
  for (; rounds > 0; rounds--) {
    let bits = load<u64>(block + (at >> 3)) >> (at & 7);
    const e0 = load<u32>(table + (s0 << 2));
    const e1 = load<u32>(table + (s1 << 2));
    const e2 = load<u32>(table + (s2 << 2));
    const e3 = load<u32>(table + (s3 << 2));
    // no byte overflows: four times 13
    at += (e0 + e1 + e2 + e3) & 255;
    s0 = next(e0, bits);
    bits >>= e0;
    s1 = next(e1, bits);
    bits >>= e1;
    s2 = next(e2, bits);
    bits >>= e2;
    s3 = next(e3, bits);
    dst = put(dst, words, e0, join);
    dst = put(dst, words, e1, join);
    dst = put(dst, words, e2, join);
    dst = put(dst, words, e3, join);
  }
  store<u32>(block, at);
  store<u16>(block, <u16>s0, 4);
  store<u16>(block, <u16>s1, 6);
  store<u16>(block, <u16>s2, 8);
  store<u16>(block, <u16>s3, 10);
}

// shifts count modulo 32 and 64: of an entry only its bits to read
// @ts-ignore: decorator
@inline
function next(entry: u32, bits: u64): u32 {
  return (entry >> 16) + (<u32>bits & ((1 << entry) - 1));
}

// @ts-ignore: decorator
@inline
function put(dst: usize, words: usize, entry: u32, join: usize): usize {
  store<u64>(dst, load<u64>(words + ((entry >> 5) & 0x7f8)));
  return dst + join;
}
