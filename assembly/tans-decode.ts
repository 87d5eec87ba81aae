// Tans-decode: entropy-coded symbols to codes, one byte each (Duda 2009: tabled asymmetric numeral systems).
import { spread } from "./spread";

/**
 * The decoding table: 2^`log` u32, `log` 7 to 14; each has the bits to read (low byte), the symbol (next byte), and the
 * least of the states that come next (above). Reads and changes `counts`: `symbols` u16, 2^log in all.
 */
export function tansTable(table: usize, counts: usize, symbols: usize, log: u32): void {
  spread(table, counts, symbols, log);
  const end = table + (<usize>4 << log);
  for (let p = table; p < end; p += 4) {
    const symbol = load<u32>(p);
    const count = counts + (symbol << 1);
    // counts from n to 2n - 1: the symbol's states, brought to 2^log and more by reading bits
    const next = <u32>load<u16>(count);
    store<u16>(count, <u16>(next + 1));
    const bits = log - 31 + clz(next);
    store<u32>(p, bits | (symbol << 8) | (((next << bits) - (1 << log)) << 16));
  }
}

/**
 * Decodes `8 * rounds` symbols, each to `join` codes, and leaves the block such that the next call goes on.
 *
 * `block`: u16 state of 8 symbols each, u32 place of two streams in bits from the block's start, then the streams; what
 * it says need not be true, states and places are cut to 2^log and 2^22. `words`: the codes of 256 symbols, 8 bytes
 * each. Writes `8 * rounds * join` bytes, over-writes up to 7 more; reads at most 2^19 + 7 * rounds + 8 bytes of `block`.
 *
 * A stream serves four states in turns: four times at most 14 bits come from one load. Eight states hide the time that
 * it takes from a state to the next.
 */
export function tansDecode(
  dst: usize,
  block: usize,
  table: usize,
  words: usize,
  join: usize,
  rounds: i32,
  log: u32,
): void {
  const mask = (<u32>1 << log) - 1;
  let s0 = <u32>load<u16>(block) & mask;
  let s1 = <u32>load<u16>(block, 2) & mask;
  let s2 = <u32>load<u16>(block, 4) & mask;
  let s3 = <u32>load<u16>(block, 6) & mask;
  let s4 = <u32>load<u16>(block, 8) & mask;
  let s5 = <u32>load<u16>(block, 10) & mask;
  let s6 = <u32>load<u16>(block, 12) & mask;
  let s7 = <u32>load<u16>(block, 14) & mask;
  let a = load<u32>(block, 16) & 0x3fffff;
  let b = load<u32>(block, 20) & 0x3fffff;
  for (; rounds > 0; rounds--) {
    let v = load<u64>(block + (a >> 3)) >> (a & 7);
    let w = load<u64>(block + (b >> 3)) >> (b & 7);
    const e0 = load<u32>(table + (s0 << 2));
    const e4 = load<u32>(table + (s4 << 2));
    const e1 = load<u32>(table + (s1 << 2));
    const e5 = load<u32>(table + (s5 << 2));
    s0 = next(e0, v);
    v >>= e0;
    s4 = next(e4, w);
    w >>= e4;
    s1 = next(e1, v);
    v >>= e1;
    s5 = next(e5, w);
    w >>= e5;
    const e2 = load<u32>(table + (s2 << 2));
    const e6 = load<u32>(table + (s6 << 2));
    const e3 = load<u32>(table + (s3 << 2));
    const e7 = load<u32>(table + (s7 << 2));
    s2 = next(e2, v);
    v >>= e2;
    s6 = next(e6, w);
    w >>= e6;
    s3 = next(e3, v);
    s7 = next(e7, w);
    // no byte overflows: four times 14
    a += (e0 + e1 + e2 + e3) & 255;
    b += (e4 + e5 + e6 + e7) & 255;
    dst = put(dst, words, e0, join);
    dst = put(dst, words, e1, join);
    dst = put(dst, words, e2, join);
    dst = put(dst, words, e3, join);
    dst = put(dst, words, e4, join);
    dst = put(dst, words, e5, join);
    dst = put(dst, words, e6, join);
    dst = put(dst, words, e7, join);
  }
  store<u16>(block, <u16>s0);
  store<u16>(block, <u16>s1, 2);
  store<u16>(block, <u16>s2, 4);
  store<u16>(block, <u16>s3, 6);
  store<u16>(block, <u16>s4, 8);
  store<u16>(block, <u16>s5, 10);
  store<u16>(block, <u16>s6, 12);
  store<u16>(block, <u16>s7, 14);
  store<u32>(block, a, 16);
  store<u32>(block, b, 20);
}

// shifts count modulo 64: of an entry only its bits to read
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
