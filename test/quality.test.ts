// Quality: the error of `quantizeSync` against the known optimum, for every test set and every tensor of the models.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SETS } from "../bench/data.ts";
import { floatTensors, MODELS } from "../bench/models.ts";
import { dequantizeSync, init, type QuantizedTensor, quantizeSync } from "../src/index.ts";
import { onEncoders } from "./kernels/instances.ts";
import { partition } from "./kernels/partition.ts";
import { OPTIMA_LEVELS, OPTIMA_ZERO_LEVELS, type Optimum, optimumOf, readOptima } from "./oracle/optima.ts";
import { optimal } from "./reference/optimal.ts";
import type { Point } from "./reference/points.ts";

const optima = readOptima();
const levelsOf = (pinZero: boolean): readonly (keyof Optimum["mse"])[] =>
  pinZero ? OPTIMA_ZERO_LEVELS : OPTIMA_LEVELS;

/** How much worse than the optimum a codebook may be. */
function bound(levels: number): number {
  return levels === 256 ? 1.001 : 1.0001;
}

function bestMse(optimum: Optimum, levels: keyof Optimum["mse"], pinZero: boolean): number {
  return pinZero ? optimum.mseZero[levels as keyof Optimum["mseZero"]] : optimum.mse[levels];
}

function mseOf(data: Float32Array, decoded: Float32Array): number {
  let error = 0;
  for (let i = 0; i < data.length; i++) error += ((data[i] as number) - (decoded[i] as number)) ** 2;
  return error / data.length;
}

/**
 * What rounding the centroids to float32 may cost at most: half a unit in the last place, squared, per weight. The
 * optimum is that of real numbers; on weights a few units apart (`nearly-constant`) no float32 codebook reaches it.
 */
function roundingMse({ codebook, stats }: QuantizedTensor): number {
  let error = 0;
  codebook.forEach((value, c) => {
    const unit = 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(value) || 2 ** -149))) - 23);
    error += (stats.counts[c] as number) * (unit / 2) ** 2;
  });
  return error / stats.count;
}

const worst = new Map<string, { ratio: number; name: string }>();

/** Throws unless all levels of a set are within their bound; notes the worst ratios. */
function expectNearOptimum(name: string, data: Float32Array, optimum: Optimum): void {
  for (const pinZero of [false, true]) {
    for (const levels of levelsOf(pinZero)) {
      const q = quantizeSync(data, { levels, pinZero });
      const got = mseOf(data, dequantizeSync(q));
      const best = bestMse(optimum, levels, pinZero);
      const tell = `${name}, ${levels} levels${pinZero ? ", zero pinned" : ""}: ${got} is ${got / best} times the optimum`;
      if (got > bound(levels) * best + roundingMse(q)) throw new Error(tell);
      if (best === 0) continue;
      expect(got, tell).toBeGreaterThan(best * (1 - 1e-9));
      const key = `${levels}${pinZero ? " with zero" : ""}`;
      if (got / best > (worst.get(key)?.ratio ?? 0) && name !== "nearly-constant")
        worst.set(key, { ratio: got / best, name });
    }
  }
}

beforeAll(() => init());

test.each(SETS)("$name: within 1.0001 of the optimum, at 256 levels 1.001", ({ name, n, make }) => {
  const data = make(n);
  expectNearOptimum(name, data, optimumOf(optima, data));
});

test.each(MODELS)("$name: every tensor of 256 weights and more", async (model) => {
  let tensors = 0;
  for (const { name, data } of await floatTensors(model)) {
    if (data.length < 256) continue;
    expectNearOptimum(`${model.name}/${name}`, data, optimumOf(optima, data));
    tensors++;
  }
  expect(tensors).toBeGreaterThan(10);
});

test.each(MODELS)("$name: every smaller tensor, held against the plain programme", async (model) => {
  let tensors = 0;
  for (const { name, data } of await floatTensors(model)) {
    if (data.length < 2 || data.length >= 256) continue;
    const values = [...data];
    const distinct = new Set(values).size;
    for (const levels of OPTIMA_LEVELS) {
      const q = quantizeSync(data, { levels });
      const got = mseOf(data, dequantizeSync(q));
      const best = levels < distinct ? optimal(values, undefined, levels).cost / data.length : 0;
      const tell = `${model.name}/${name}, ${levels} levels: ${got}, the optimum is ${best}`;
      expect(got, tell).toBeLessThanOrEqual(bound(levels) * best + (best === 0 ? 0 : roundingMse(q)));
    }
    tensors++;
  }
  expect(tensors).toBeGreaterThan(0);
});

afterAll(() => {
  const rows = [...worst].map(
    ([levels, { ratio, name }]) => `  ${levels.padEnd(13)} 1 + ${(ratio - 1).toExponential(1)}  ${name}`,
  );
  console.log(
    `worst ratio to the optimal MSE (all but nearly-constant, whose optimum no float32 codebook reaches)\n${rows.join("\n")}`,
  );
});

describe("a fixed linear histogram does not pass", () => {
  const BINS = 4096;

  /** The exact optimum on 4096 equal bins, each at its mean: the best that can be made of them. */
  function linearCodebook(data: Float32Array, levels: number): number[] {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (const x of data) {
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
    const counts = new Float64Array(BINS);
    const sums = new Float64Array(BINS);
    for (const x of data) {
      const bin = Math.min(BINS - 1, Math.floor(((x - low) / (high - low)) * BINS));
      (counts[bin] as number) += 1;
      (sums[bin] as number) += x;
    }
    const points: Point[] = [];
    counts.forEach((w, bin) => {
      if (w > 0) points.push({ x: (sums[bin] as number) / w, w });
    });
    const [bounds] = onEncoders((i) => partition(i, points, levels, [], BINS));
    const clusters = Array.from({ length: levels }, (_, c) => points.slice(bounds[c], bounds[c + 1])).filter(
      (members) => members.length > 0,
    );
    return clusters.map(
      (members) => members.reduce((sum, { x, w }) => sum + w * x, 0) / members.reduce((sum, { w }) => sum + w, 0),
    );
  }

  /** Mean squared error with the nearest value of an ascending codebook. */
  function nearestMse(data: Float32Array, codebook: readonly number[]): number {
    const decoded = data.map((x) => {
      let [low, high] = [0, codebook.length - 1];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (x > ((codebook[middle] as number) + (codebook[middle + 1] as number)) / 2) low = middle + 1;
        else high = middle;
      }
      return codebook[low] as number;
    });
    return mseOf(data, decoded);
  }

  test.each(["peak-170", "spike-at-zero", "student-t3"])("%s: fails a bound that wlq holds", (name) => {
    const set = SETS.find((candidate) => candidate.name === name);
    if (!set) throw new Error(`no test set ${name}`);
    const data = set.make(set.n);
    const { mse } = optimumOf(optima, data);
    const ratios = OPTIMA_LEVELS.map(
      (levels) => [levels, nearestMse(data, linearCodebook(data, levels)) / mse[levels]] as const,
    );
    console.log(
      `${name}, 4096 linear bins: ${ratios.map(([levels, ratio]) => `${levels}: 1 + ${(ratio - 1).toExponential(1)}`).join(", ")}`,
    );
    expect(ratios.some(([levels, ratio]) => ratio > bound(levels))).toBe(true);
  });
});
