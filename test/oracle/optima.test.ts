// optima.json against what else is known: the data's hashes, order in k, the plain reference, and Lloyd-Max theory.
import { expect, test } from "vitest";
import { SETS } from "../../bench/data.ts";
import { optimal } from "../reference/optimal.ts";
import { OPTIMA_LEVELS, OPTIMA_ZERO_LEVELS, optimumOf, readOptima } from "./optima.ts";

const optima = readOptima();

function setNamed(name: string): Float32Array {
  const set = SETS.find((candidate) => candidate.name === name);
  if (set === undefined) throw new Error(`no test set ${name}`);
  return set.make(set.n);
}

test("every test set has an entry, made with the bits that bench/data.ts makes here", () => {
  for (const set of SETS)
    expect(optimumOf(optima, set.make(set.n)), set.name).toMatchObject({ name: set.name, n: set.n });
});

test("more levels cost less, a pin costs more, and only too few distinct values cost nothing", () => {
  for (const { name, distinct, mse, mseZero } of optima) {
    let last = Number.POSITIVE_INFINITY;
    for (const levels of OPTIMA_LEVELS) {
      expect(mse[levels] === 0, `${name}, ${levels}`).toBe(distinct <= levels);
      if (last > 0) expect(mse[levels], `${name}, ${levels}`).toBeLessThan(last);
      last = mse[levels];
    }
    for (const levels of OPTIMA_ZERO_LEVELS) {
      expect(mseZero[levels], `${name}, ${levels}`).toBeGreaterThanOrEqual(mse[levels] * (1 - 1e-12));
    }
  }
});

// Two sets have few enough distinct values for the O(k n^2) reference; shifted, where the mean is far from zero.
test.each([
  { name: "nearly-constant", shift: 1, levels: OPTIMA_LEVELS },
  { name: "bf16-grid", shift: 0, levels: [3, 9] as const },
])(
  "$name: the plain reference finds the same",
  ({ name, shift, levels }) => {
    const data = setNamed(name);
    const optimum = optimumOf(optima, data);
    const counts = new Map<number, number>();
    for (const x of data) counts.set(x - shift, (counts.get(x - shift) ?? 0) + 1);
    for (const k of levels) {
      const { cost } = optimal([...counts.keys()], [...counts.values()], k);
      expect(Math.abs(cost / data.length / optimum.mse[k] - 1), `${k} levels`).toBeLessThan(1e-12);
    }
  },
  60_000,
);

test("bf16-grid with zero pinned: the plain reference finds the same", () => {
  const data = setNamed("bf16-grid");
  const counts = new Map<number, number>();
  for (const x of data) counts.set(x, (counts.get(x) ?? 0) + 1);
  const { cost } = optimal([...counts.keys()], [...counts.values()], 5, [0]);
  expect(Math.abs(cost / data.length / optimumOf(optima, data).mseZero[5] - 1)).toBeLessThan(1e-12);
});

/** SQNR in dB of the optimal quantizers of N(0, 1) (Lloyd, Max), computed from the density by the project's notes. */
const LLOYD_MAX_DB = [
  [3, 7.208],
  [5, 10.972],
  [9, 15.551],
  [16, 20.22],
  [17, 20.723],
  [32, 26.01],
  [256, 43.85],
] as const;

test("a million Gaussian values come close to the Lloyd-Max quantizers", () => {
  const data = setNamed("gauss-1m");
  let energy = 0;
  for (const x of data) energy += x * x;
  const variance = energy / data.length;
  const { mse } = optimumOf(optima, data);
  // A finite sample is fitted a little better than its density: by 0.02 dB at 256 levels, whose outer cells hold few values.
  for (const [levels, want] of LLOYD_MAX_DB) {
    expect(Math.abs(10 * Math.log10(variance / mse[levels]) - want), `${levels} levels`).toBeLessThan(
      levels < 256 ? 0.02 : 0.04,
    );
  }
});
