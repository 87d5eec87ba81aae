// Tans: entropy coding by the kernels against plain steps; sizes against the entropy; blocks that lie.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tansDecode, tansEncode } from "../reference/tans.ts";
import { onEntropy, onTans, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const STATES = 8192;

/** Shares by the kernel; and the bits it promises. */
function shareStates(tallies: readonly number[]): { shares: number[]; bits: number } {
  const [shares, bits] = onEntropy((i) => {
    const at = i.output(tallies.length * 2);
    const promised = i.kernels.shareStates(at, i.input(Float64Array.from(tallies)), tallies.length);
    return [i.u16(at, tallies.length), promised];
  });
  return { shares: [...shares], bits };
}

function encode(symbols: readonly number[], shares: readonly number[]): Uint8Array {
  return onEntropy((i) => {
    const table = i.output(STATES * 2);
    const steps = i.output(shares.length * 8);
    const room = Math.ceil(symbols.length / 4) * 7 + 20;
    const scratch = i.output(Math.max(room, STATES * 4));
    const out = i.output(room);
    const counts = i.inout(Uint16Array.from(shares));
    i.kernels.tansEncodeTable(table, steps, counts, shares.length, scratch);
    // up to three more are encoded: the last one again
    const padded = Uint8Array.from({ length: symbols.length + 3 }, (_, k) => symbols[k] ?? (symbols.at(-1) as number));
    return i.u8(out, i.kernels.tansEncode(out, i.input(padded), symbols.length, table, steps, scratch));
  });
}

/** `join` codes a symbol, the codes of symbol s from `8 s` of `words` on. */
function decode(
  block: Uint8Array,
  shares: readonly number[],
  words: Uint8Array,
  join: number,
  rounds: number,
): Uint8Array {
  return onTans((i) => {
    const table = i.output(STATES * 4);
    i.kernels.tansTable(table, i.inout(Uint16Array.from(shares)), shares.length);
    const room = new Uint8Array(2 ** 19 + 7 * rounds + 8);
    room.set(block.subarray(0, room.length));
    const dst = i.output(4 * rounds * join, 7);
    i.kernels.tansDecode(dst, i.inout(room), table, i.input(words), join, rounds);
    return i.u8(dst, 4 * rounds * join);
  });
}

/** Each symbol is its own code. */
const plain = Uint8Array.from({ length: 2048 }, (_, k) => (k % 8 === 0 ? k / 8 : 0));

function tally(symbols: readonly number[], alphabet: number): number[] {
  const counts = new Array<number>(alphabet).fill(0);
  for (const s of symbols) (counts[s] as number)++;
  return counts;
}

const SHAPES: readonly [string, number, (random: Random) => number][] = [
  ["one symbol", 2, () => 1],
  ["two as often", 2, (r) => r.below(2)],
  ["mostly zero", 5, (r) => (r.below(50) > 0 ? 0 : r.below(5))],
  ["17 like weights", 17, (r) => Math.min(16, Math.max(0, Math.round(8 + 2.6 * r.normal())))],
  ["256 evenly", 256, (r) => r.below(256)],
  ["256, most of them rare", 256, (r) => Math.min(255, Math.max(0, Math.round(128 + 9 * r.normal())))],
];

describe.each(SHAPES)("%s", (_, alphabet, draw) => {
  const random = new Random(300 + alphabet);

  test("kernels and plain steps give the same blocks and symbols, whatever their number", () => {
    for (const count of [1, 2, 3, 4, 5, 8, 31, 32, 33, 1000]) {
      const symbols = Array.from({ length: count }, () => draw(random));
      const { shares } = shareStates(tally(symbols, alphabet));
      const padded = [...symbols];
      while (padded.length % 4 !== 0) padded.push(padded.at(-1) as number);
      const want = tansEncode(padded, shares);
      sameBits(encode(symbols, shares), want, `${count} symbols`);
      expect(tansDecode(want, shares, count)).toEqual(symbols);
      sameBits(decode(want, shares, plain, 1, padded.length / 4), Uint8Array.from(padded), `${count} decoded`);
    }
  });

  test("100,000 symbols take the entropy and less than 1 % more", () => {
    const symbols = Array.from({ length: 100_000 }, () => draw(random));
    const counts = tally(symbols, alphabet);
    const { shares, bits } = shareStates(counts);
    expect(shares.reduce((a, b) => a + b)).toBe(STATES);
    shares.forEach((share, s) => {
      expect(share > 0, `symbol ${s}`).toBe((counts[s] as number) > 0);
    });
    let entropy = 0;
    for (const n of counts) if (n > 0) entropy -= n * Math.log2(n / symbols.length);
    const block = encode(symbols, shares);
    expect(block.length * 8).toBeLessThan(entropy * 1.01 + 12 * 8 + 64);
    // the promise holds but for the states at both ends
    expect(Math.abs((block.length - 12) * 8 - bits)).toBeLessThan(0.002 * bits + 64);
  });
});

test("any tallies are shared out: 8192 states, one or more for each symbol that occurs", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constant(0), fc.nat(5), fc.nat(1e9)), { minLength: 1, maxLength: 256 }),
      (tallies) => {
        fc.pre(tallies.some((n) => n > 0));
        const { shares } = shareStates(tallies);
        expect(shares.reduce((a, b) => a + b)).toBe(STATES);
        expect(shares.map((n) => n > 0)).toEqual(tallies.map((n) => n > 0));
      },
    ),
  );
});

test.each([
  [2, 8],
  [3, 4],
  [4, 4],
  [5, 2],
  [16, 2],
  [17, 1],
])("%d levels, %d codes a symbol: joined, tallied, and taken apart", (levels, join) => {
  const random = new Random(levels);
  for (const count of [1, 7, 8, 9, 1000, 1003]) {
    const codes = random.bytes(count, levels);
    const n = Math.ceil(count / join);
    const [symbols, tallies] = onEntropy((i) => {
      const dst = i.output(n);
      i.kernels.joinCodes(dst, i.input(codes), count, levels, join);
      const sums = i.inout(new Uint32Array(256));
      i.kernels.tallySymbols(sums, dst, n, i.output(4096));
      return [i.u8(dst, n), i.u32(sums, 256)];
    });
    const want = Array.from({ length: n }, (_, s) =>
      Array.from({ length: join }, (_, j) => (codes[s * join + j] ?? 0) * levels ** j).reduce((a, b) => a + b),
    );
    expect([...symbols]).toEqual(want);
    expect([...tallies]).toEqual(tally(want, 256));
    const { shares } = shareStates(tally(want, levels ** join));
    const words = Uint8Array.from({ length: 2048 }, (_, k) => Math.floor((k >> 3) / levels ** (k & 7)) % levels);
    const rounds = Math.ceil(n / 4);
    sameBits(decode(encode(want, shares), shares, words, join, rounds).slice(0, count), codes, `${count} codes`);
  }
});

test("a block that lies gives symbols of the code, and reads nothing beyond its room", () => {
  const random = new Random(9);
  const shares = shareStates([5, 3, 0, 1, 90]).shares;
  for (let n = 0; n < 40; n++) {
    const block = random.bytes(random.pick([12, 13, 100, 5000]));
    // places and states beyond everything
    if (n % 2) block.fill(255, 0, 12);
    const symbols = decode(block, shares, plain, 1, 500);
    expect(symbols.every((s) => (shares[s] ?? 0) > 0)).toBe(true);
  }
});
