// Ecsq: rate and distortion against the table, the global optimum and entropy-coded fixed codebooks; targets and options.
import { describe, expect, test } from "vitest";
import { gauss, laplace, SETS, spikeAtZero } from "../bench/data.ts";
import type { QuantizedTensor, QuantizeOptions } from "../src/index.ts";
import { dequantize, quantize, wlq } from "./both-builds.ts";
import { sameBits } from "./kernels/instances.ts";
import { bestPartition } from "./reference/code-length.ts";

const MILLION = 1_000_000;
/** SQNR in dB of the scalar quantizer with uniform thresholds and centroids behind an ideal entropy coder, by bits. */
const TABLE = {
  gauss: { 1.5: 7.5, 2: 10.51, 2.5: 13.52, 3: 16.53, 4: 22.55, 5: 28.57 },
  laplace: { 1.5: 8.49, 2: 11.33, 2.5: 14.25, 3: 17.21, 4: 23.19, 5: 29.2 },
} as const;
const SAMPLES = { gauss: gauss(MILLION, 21), laplace: laplace(MILLION, 22) };
const NAMES = ["gauss", "laplace"] as const;
const DB_PER_BIT = 20 * Math.log10(2);

const ecsq = (data: Float32Array, options: QuantizeOptions): QuantizedTensor =>
  wlq.quantizeSync(data, { method: "ecsq", ...options });
const coded = ({ stats }: QuantizedTensor): number => stats.entropyBits + stats.tableBitsPerWeight;
const decibels = ({ stats }: QuantizedTensor): number => stats.sqnrDb ?? Number.POSITIVE_INFINITY;

describe.each(NAMES)("a million %s weights", (name) => {
  const data = SAMPLES[name];

  test.each(Object.entries(TABLE[name]))("%s bits: at most 0.02 bit above the table", (bits, db) => {
    const q = ecsq(data, { targetBits: Number(bits) });
    // the distance to the table's point, in bits at equal error
    const over = coded(q) - Number(bits) + (db - decibels(q)) / DB_PER_BIT;
    expect(over).toBeLessThanOrEqual(0.02);
    expect(Math.abs(coded(q) / Number(bits) - 1)).toBeLessThan(0.004);
  });

  test.each([20, 24, 32, 48, 64])("against an entropy-coded optimal codebook of %i levels, same bytes", (levels) => {
    const fixed = wlq.quantizeSync(data, { levels });
    const q = ecsq(data, { targetBits: coded(fixed) });
    expect(coded(q)).toBeLessThanOrEqual(coded(fixed) * 1.003);
    const margin = name === "gauss" ? 0.75 : 1.6;
    if (fixed.stats.entropyBits >= 4) expect(decibels(q) - decibels(fixed)).toBeGreaterThanOrEqual(margin);
    else expect(decibels(q)).toBeGreaterThan(decibels(fixed));
  });

  test.each([8, 20, 35])("%i dB are kept, nearly exactly", (target) => {
    const off = decibels(ecsq(data, { targetSqnr: target })) - target;
    expect(off).toBeGreaterThan(-0.01);
    expect(off).toBeLessThan(0.1);
  });
});

test("close to the global optimum on every test set, at every rate", () => {
  let worst = 0;
  for (const set of SETS.filter(({ name }) => name !== "gauss-1m")) {
    const data = set.make(3000);
    const mean = data.reduce((a, b) => a + b, 0) / data.length;
    const variance = data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length;
    for (const bits of [0.5, 1, 1.5, 2, 3, 4, 5]) {
      const lambda = 2 * variance * 4 ** -bits;
      const { stats, levels } = ecsq(data, { lambda });
      // a codebook of one value is written as two
      const used = stats.counts.filter((n) => n > 0).length;
      const cost = data.length * (stats.mse + lambda * stats.entropyBits) + lambda * 40 * used;
      const ratio = cost / bestPartition(data, lambda, 40).cost;
      worst = Math.max(worst, ratio);
      expect(ratio, `${set.name}, about ${bits} bits, ${levels} levels`).toBeLessThan(1.015);
      expect(ratio).toBeGreaterThan(1 - 1e-6);
    }
  }
  console.log(`worst cost over optimum: ${worst.toFixed(4)}`);
});

test("codes are the number of thresholds below the weight, both builds alike, for every choice of groups", () => {
  const data = SAMPLES.laplace.subarray(0, 60_000);
  const shape = [20, 30, 100];
  const importance = data.map((x) => (x > 0 ? 1 : 0.01));
  for (const options of [
    {},
    { granularity: "channel", axis: 1 },
    { granularity: "group", groupSize: 999 },
    { levels: 7 },
    { pinZero: true },
    { importance },
    { importance, granularity: "channel" },
    { importance: new Float32Array(60_000) },
  ] satisfies QuantizeOptions[]) {
    const q = quantize({ data, shape }, { method: "ecsq", targetBits: 3, ...options });
    const thresholds = q.thresholds as Float32Array;
    const groups = q.codebook.length / q.levels;
    expect(thresholds.length).toBe(groups * (q.levels - 1));
    const { axis, groupSize, granularity } = q;
    const codes = wlq.unpackCodes(q);
    codes.forEach((code, i) => {
      const g =
        granularity === "tensor"
          ? 0
          : granularity === "group"
            ? Math.floor(i / groupSize)
            : axis === 1
              ? Math.floor(i / 100) % 30
              : Math.floor(i / 3000);
      const own = thresholds.subarray(g * (q.levels - 1), (g + 1) * (q.levels - 1));
      if (own.filter((t) => t < (data[i] as number)).length !== code) throw new Error(`code ${i} is ${code}`);
    });
    const back = dequantize(q);
    const error = data.reduce((sum, x, i) => sum + (x - (back[i] as number)) ** 2, 0);
    expect(Math.abs(error / data.length / q.stats.mse - 1)).toBeLessThan(1e-9);
    // every code that a group does not use repeats a value that it does
    expect(new Set(q.codebook).size).toBeGreaterThan(1);
  }
});

test("with a scale a channel, scales are in the bits", () => {
  const data = SAMPLES.gauss.slice(0, 200_000);
  for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) * (1 + (Math.floor(i / 1000) % 7));
  const tensor = { data, shape: [200, 1000] };
  const q = quantize(tensor, { method: "ecsq", targetBits: 4, scale: "channel" });
  expect(Math.abs(coded(q) - 4)).toBeLessThan(0.02);
  expect(decibels(q)).toBeGreaterThan(22);
  const zeros = quantize(
    { data: new Float32Array(4096), shape: [4, 1024] },
    { method: "ecsq", targetBits: 4, scale: "channel" },
  );
  expect([zeros.stats.mse, zeros.stats.entropyBits]).toEqual([0, 0]);
});

test("importance buys precision where it is", () => {
  const data = SAMPLES.gauss;
  const importance = data.map((x) => (x > 1 ? 100 : 1));
  const weighted = (q: QuantizedTensor): number => {
    const back = wlq.dequantizeSync(q);
    return data.reduce((sum, x, i) => sum + (importance[i] as number) * (x - (back[i] as number)) ** 2, 0);
  };
  const plain = ecsq(data, { targetBits: 3 });
  const aware = ecsq(data, { targetBits: 3, importance });
  expect(Math.abs(coded(aware) - 3)).toBeLessThan(0.02);
  expect(weighted(aware)).toBeLessThan(weighted(plain) * 0.6);
});

test("a pinned zero is a value, and zeros stay zeros", () => {
  const data = spikeAtZero(100_000, 4);
  for (const [weights, bits] of [
    [data, 0.5],
    [data, 2],
    [data.map((x) => x + 1), 2],
    [data.map((x) => (x === 0 ? 0 : Math.abs(x))), 1],
    [SAMPLES.gauss.map((x, i) => (i === 5 ? 0 : x + 4)), 2],
  ] as const) {
    const q = quantize(weights, { method: "ecsq", targetBits: bits, pinZero: true });
    expect([...q.codebook]).toContain(0);
    const back = dequantize(q);
    weights.forEach((x, i) => {
      if (x === 0 && back[i] !== 0) throw new Error(`weight ${i} is 0 and became ${back[i]}`);
    });
  }
});

test("few distinct values, one value, no weights, values far apart", () => {
  const few = Float32Array.from({ length: 1000 }, (_, i) => i % 3);
  const exact = quantize(few, { method: "ecsq", targetBits: 3 });
  expect([exact.stats.mse, [...exact.codebook]]).toEqual([0, [0, 1, 2]]);
  const one = quantize(new Float32Array(5000).fill(7), { method: "ecsq", targetSqnr: 30 });
  expect([one.stats.mse, one.stats.entropyBits, one.levels]).toEqual([0, 0, 2]);
  expect(quantize(new Float32Array(0), { method: "ecsq", targetBits: 2 }).codes.length).toBe(0);
  const clumps = Float32Array.from({ length: 40_000 }, (_, i) => (i % 2) * 1e30 + (i % 2 ? 0 : i * 1e-9));
  expect(coded(quantize(clumps, { method: "ecsq", targetBits: 1 }))).toBeCloseTo(1, 1);
  const lone = gauss(50_000, 7);
  lone[123] = 1e20;
  expect(Math.abs(dequantize(quantize(lone, { method: "ecsq", targetBits: 2 }))[123] as number)).toBeGreaterThan(9e19);
});

test("the same call gives the same bytes", () => {
  const a = ecsq(SAMPLES.gauss, { targetBits: 2.2 });
  const b = ecsq(SAMPLES.gauss, { targetBits: 2.2 });
  sameBits([b.codebook, b.codes], [a.codebook, a.codes]);
});

test.each([
  [{ method: "ecsq" }, /ecsq" needs one of targetBits, targetSqnr and lambda, got none/],
  [{ method: "ecsq", targetBits: 3, lambda: 1 }, /got targetBits, lambda/],
  [{ targetBits: 3 }, /targetBits needs method "ecsq", got "optimal"/],
  [{ method: "ecsq", targetBits: 0 }, /targetBits must be a positive number, got 0/],
  [{ method: "ecsq", targetSqnr: Number.NaN }, /targetSqnr must be a positive number, got NaN/],
  [{ method: "ecsq", lambda: -1 }, /lambda must be a non-negative number, got -1/],
] as const)("%o is refused", (options, message) => {
  expect(() => quantize(new Float32Array(10), options)).toThrow(message);
  expect(() => quantize(new Float32Array(10), options)).toThrow(RangeError);
});
