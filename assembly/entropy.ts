// The entropy binary: codes to entropy-coded blocks: what symbols there are, their share of the states, and the bits.
import { log2 } from "./log2";
import { spread, STATES, STATES_LOG } from "./spread";

/** Joins `join` codes to a symbol, the first the least digit to the base `levels`; a short last symbol ends in zeros. */
export function joinCodes(dst: usize, codes: usize, count: usize, levels: u32, join: usize): void {
  if (join == 1) {
    memory.copy(dst, codes, count);
    return;
  }
  let i: usize = 0;
  let p = dst;
  if (join == 2) {
    for (; i + 2 <= count; i += 2) {
      store<u8>(p++, <u32>load<u8>(codes + i) + levels * load<u8>(codes + i, 1));
    }
  } else {
    const square = levels * levels;
    for (; i + join <= count; i += join) {
      const c = codes + i;
      let symbol = <u32>load<u8>(c) + levels * load<u8>(c, 1) + square * (load<u8>(c, 2) + levels * load<u8>(c, 3));
      // eight codes have two levels
      if (join == 8) {
        symbol += (<u32>load<u8>(c, 4) << 4) + (<u32>load<u8>(c, 5) << 5) + (<u32>load<u8>(c, 6) << 6) + (<u32>load<u8>(c, 7) << 7);
      }
      store<u8>(p++, symbol);
    }
  }
  if (i < count) {
    let symbol: u32 = 0;
    for (let j = count; j > i; j--) symbol = symbol * levels + load<u8>(codes + j - 1);
    store<u8>(p, symbol);
  }
}

/** Adds `count` symbols to their u32 `tallies`, 256 of them; four at a time, in tables of their own at `scratch` (4 KiB). */
export function tallySymbols(tallies: usize, symbols: usize, count: usize, scratch: usize): void {
  memory.fill(scratch, 0, 4096);
  let i: usize = 0;
  for (; i + 4 <= count; i += 4) {
    const four = load<u32>(symbols + i);
    bump(scratch + ((four & 255) << 2));
    bump(scratch + 1024 + (((four >> 8) & 255) << 2));
    bump(scratch + 2048 + (((four >> 16) & 255) << 2));
    bump(scratch + 3072 + ((four >> 24) << 2));
  }
  for (; i < count; i++) bump(scratch + (<usize>load<u8>(symbols + i) << 2));
  for (let s: usize = 0; s < 1024; s += 4) {
    const p = scratch + s;
    store<u32>(
      tallies + s,
      load<u32>(tallies + s) + load<u32>(p) + load<u32>(p, 1024) + load<u32>(p, 2048) + load<u32>(p, 3072),
    );
  }
}

// @ts-ignore: decorator
@inline
function bump(tally: usize): void {
  store<u32>(tally, load<u32>(tally) + 1);
}

/**
 * Shares the 2^13 states out among `symbols` symbols, at least one for each that occurs: `counts`, u16, from `tallies`,
 * f64. Returns the bits that all symbols take then, states' roundings aside.
 */
export function shareStates(counts: usize, tallies: usize, symbols: usize): f64 {
  let total: f64 = 0;
  for (let s: usize = 0; s < symbols; s++) total += load<f64>(tallies + (s << 3));
  let left = <i32>STATES;
  for (let s: usize = 0; s < symbols; s++) {
    const tally = load<f64>(tallies + (s << 3));
    // a count has to be less than 2^16, also twice
    const n = tally > 0 ? max(1, <i32>nearest((tally / total) * STATES)) : 0;
    store<u16>(counts + (s << 1), <u16>n);
    left -= n;
  }
  // one state more or less for the symbol that gains the most or loses the least: log2((n + 1) / n) goes as 1 / (n + 1/2)
  while (left != 0) {
    let best: usize = 0;
    let most = -Infinity;
    for (let s: usize = 0; s < symbols; s++) {
      const tally = load<f64>(tallies + (s << 3));
      const n = <f64>load<u16>(counts + (s << 1));
      if (tally == 0 || (left < 0 && n < 2)) continue;
      const gain = left > 0 ? tally / (n + 0.5) : -tally / (n - 0.5);
      if (gain > most) {
        most = gain;
        best = s;
      }
    }
    const step = left > 0 ? 1 : -1;
    store<u16>(counts + (best << 1), <u16>(<i32>load<u16>(counts + (best << 1)) + step));
    left -= step;
  }
  let bits: f64 = 0;
  for (let s: usize = 0; s < symbols; s++) {
    const tally = load<f64>(tallies + (s << 3));
    if (tally > 0) bits += tally * (<f64>STATES_LOG - log2(<f64>load<u16>(counts + (s << 1))));
  }
  return bits;
}

/**
 * The encoding table from `counts` (u16 each): 2^13 u16 states by symbol, and at `steps` for every symbol two u32: what to
 * add to a state for the bits to write (above bit 16), and to the state without them for its place in the table. `scratch`:
 * 2^13 u32. Changes `counts`.
 */
export function tansEncodeTable(table: usize, steps: usize, counts: usize, symbols: usize, scratch: usize): void {
  spread(scratch, counts, symbols);
  let before: u32 = 0;
  for (let s: usize = 0; s < symbols; s++) {
    const n = <u32>load<u16>(counts + (s << 1));
    // the most bits that a state loses, and the state from which on it loses them
    const bits = n > 1 ? STATES_LOG - 31 + clz(n - 1) : STATES_LOG;
    store<u32>(steps + (s << 3), (bits << 16) - (n << bits));
    store<u32>(steps + (s << 3), before - n, 4);
    // for the loop below, where the next state of this symbol goes
    store<u16>(counts + (s << 1), <u16>before);
    before += n;
  }
  for (let state: u32 = 0; state < STATES; state++) {
    const count = counts + (load<u32>(scratch + (state << 2)) << 1);
    const place = <usize>load<u16>(count);
    store<u16>(count, <u16>(place + 1));
    store<u16>(table + (place << 1), <u16>(STATES + state));
  }
}

/** Bytes before a block's bits: their place and four states. */
const HEAD: u32 = 12;

/**
 * One block: `count` symbols (behind them up to 3 may be read, and are encoded too) to `dst`; returns its bytes. Writes up
 * to 12 + 13 * (count + 3) / 8 + 8 bytes, and as many at `scratch`.
 *
 * From the last symbol to the first, since a decoder's states are an encoder's in reverse; the bits grow downwards.
 */
export function tansEncode(
  dst: usize,
  symbols: usize,
  count: usize,
  table: usize,
  steps: usize,
  scratch: usize,
): usize {
  const rounds = (count + 3) >> 2;
  const end = scratch + rounds * 7 + 8;
  let out = end;
  let word: u64 = 0;
  let filled: u32 = 0;
  let x0: u32 = STATES;
  let x1: u32 = STATES;
  let x2: u32 = STATES;
  let x3: u32 = STATES;
  for (let r = rounds; r > 0; r--) {
    const four = load<u32>(symbols + ((r - 1) << 2));
    const t3 = steps + ((four >> 24) << 3);
    const b3 = (x3 + load<u32>(t3)) >> 16;
    word = (word << b3) | (x3 & ((1 << b3) - 1));
    x3 = <u32>load<u16>(table + (((x3 >> b3) + load<u32>(t3, 4)) << 1));
    const t2 = steps + (((four >> 16) & 255) << 3);
    const b2 = (x2 + load<u32>(t2)) >> 16;
    word = (word << b2) | (x2 & ((1 << b2) - 1));
    x2 = <u32>load<u16>(table + (((x2 >> b2) + load<u32>(t2, 4)) << 1));
    filled += b3 + b2;
    if (filled >= 32) {
      out -= 4;
      filled -= 32;
      store<u32>(out, <u32>(word >> filled));
    }
    const t1 = steps + (((four >> 8) & 255) << 3);
    const b1 = (x1 + load<u32>(t1)) >> 16;
    word = (word << b1) | (x1 & ((1 << b1) - 1));
    x1 = <u32>load<u16>(table + (((x1 >> b1) + load<u32>(t1, 4)) << 1));
    const t0 = steps + ((four & 255) << 3);
    const b0 = (x0 + load<u32>(t0)) >> 16;
    word = (word << b0) | (x0 & ((1 << b0) - 1));
    x0 = <u32>load<u16>(table + (((x0 >> b0) + load<u32>(t0, 4)) << 1));
    filled += b1 + b0;
    if (filled >= 32) {
      out -= 4;
      filled -= 32;
      store<u32>(out, <u32>(word >> filled));
    }
  }
  // what is left, at the high end of whole bytes
  const bytes = (filled + 7) >> 3;
  const gap = (bytes << 3) - filled;
  word &= ((<u64>1) << filled) - 1;
  out -= bytes;
  for (let j: u32 = 0; j < bytes; j++) store<u8>(out + j, <u8>((word << gap) >> (j << 3)));
  store<u32>(dst, (HEAD << 3) + gap);
  store<u16>(dst, <u16>(x0 - STATES), 4);
  store<u16>(dst, <u16>(x1 - STATES), 6);
  store<u16>(dst, <u16>(x2 - STATES), 8);
  store<u16>(dst, <u16>(x3 - STATES), 10);
  memory.copy(dst + HEAD, out, end - out);
  return HEAD + <u32>(end - out);
}
