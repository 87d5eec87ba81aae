// Allocate: against all combinations on small instances, and near its own bound on large ones.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Allocation, fewestBytes, frontier, leastError, type Option } from "../src/allocate.ts";
import { Random } from "./kernels/random.ts";

/** All combinations, one by one. */
function exhaustive(tensors: readonly (readonly Option[])[], limit: number): number | undefined {
  let best: number | undefined;
  const visit = (t: number, bytes: number, error: number): void => {
    if (bytes > limit) return;
    if (t === tensors.length) {
      if (best === undefined || error < best) best = error;
      return;
    }
    for (const option of tensors[t] as readonly Option[]) visit(t + 1, bytes + option.bytes, error + option.error);
  };
  visit(0, 0, 0);
  return best;
}

const swapped = (tensors: readonly (readonly Option[])[]): Option[][] =>
  tensors.map((options) => options.map(({ bytes, error }) => ({ bytes: error, error: bytes })));

function checkSums(tensors: readonly (readonly Option[])[], found: Allocation): void {
  expect(found.picks).toHaveLength(tensors.length);
  const picked = found.picks.map((pick, t) => tensors[t]?.[pick] as Option);
  expect(picked.reduce((sum, { bytes }) => sum + bytes, 0)).toBeCloseTo(found.bytes, 9);
  expect(picked.reduce((sum, { error }) => sum + error, 0)).toBeCloseTo(found.error, 9);
}

const option = fc.record({ bytes: fc.nat(60), error: fc.nat(1000) });
const instance = fc.array(fc.array(option, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 });

describe("small instances, against all combinations", () => {
  test("the least error within a size", () => {
    fc.assert(
      fc.property(instance, fc.nat(250), (tensors, limit) => {
        const want = exhaustive(tensors, limit);
        const found = leastError(tensors, limit);
        expect(found?.error).toBe(want);
        if (!found) return;
        expect(found.bytes).toBeLessThanOrEqual(limit);
        expect(found.bound).toBeLessThanOrEqual(found.error);
        checkSums(tensors, found);
      }),
      { numRuns: 3000, seed: 1 },
    );
  });

  test("the fewest bytes within an error", () => {
    fc.assert(
      fc.property(instance, fc.nat(2500), (tensors, limit) => {
        const found = fewestBytes(tensors, limit);
        expect(found?.bytes).toBe(exhaustive(swapped(tensors), limit));
        if (found) checkSums(tensors, found);
      }),
      { numRuns: 3000, seed: 2 },
    );
  });

  test("curves as tensors have them: each bit a quarter of the error", () => {
    const random = new Random(3);
    for (let trial = 0; trial < 300; trial++) {
      const tensors = Array.from({ length: 2 + random.below(5) }, () => {
        const size = 1 + random.below(40);
        const spread = 1000 * random.unit() ** 4;
        return [1, 2, 3, 4, 5, 6].map((bits) => ({
          bytes: size * bits + random.below(3),
          error: (spread * (1 + random.unit() / 9)) / 4 ** bits,
        }));
      });
      const limit = random.below(500);
      const want = exhaustive(tensors, limit);
      const found = leastError(tensors, limit);
      if (want === undefined) expect(found).toBeUndefined();
      // what is within 5e-5 of the bound is not searched further
      else expect(found?.error).toBeLessThanOrEqual(want * 1.00005);
    }
  });
});

describe("large instances", () => {
  const random = new Random(4);
  const tensors = Array.from({ length: 300 }, () => {
    const size = 2048 * 2 ** random.below(9);
    const spread = 10 ** (3 * random.unit());
    return Array.from({ length: 255 }, (_, i) => ({
      bytes: Math.ceil((size * Math.log2(i + 2)) / 8) + 4 * (i + 2),
      error: (size * spread * 1.5) / (i + 2) ** 2,
    }));
  });
  const least = tensors.reduce((sum, [first]) => sum + (first?.bytes ?? 0), 0);

  test.each([1.001, 1.5, 3, 5, 7.5])("%s times the smallest size: within 0.01 %% of the bound, and full", (times) => {
    const limit = Math.floor(least * times);
    const started = performance.now();
    const found = leastError(tensors, limit) as Allocation;
    console.log(
      `${times}: ${((found.error / found.bound - 1) * 1e6).toFixed(1)} ppm, ${(performance.now() - started).toFixed(0)} ms`,
    );
    checkSums(tensors, found);
    expect(found.bytes).toBeLessThanOrEqual(limit);
    expect(found.bytes).toBeGreaterThan(limit * 0.9999);
    expect(found.error).toBeLessThanOrEqual(found.bound * 1.0001);
  });

  test("the frontier goes from the smallest to the best, each step worth less than the one before", () => {
    const points = frontier(tensors);
    expect(points[0]?.bytes).toBe(least);
    let worth = Number.POSITIVE_INFINITY;
    for (let i = 1; i < points.length; i++) {
      const [a, b] = [points[i - 1] as Option, points[i] as Option];
      const own = (a.error - b.error) / (b.bytes - a.bytes);
      expect(own).toBeLessThanOrEqual(worth * (1 + 1e-6));
      worth = own;
    }
  });
});

test("what cannot be, and what is trivial", () => {
  expect(leastError([[{ bytes: 3, error: 1 }]], 2)).toBeUndefined();
  expect(leastError([], 0)).toEqual({ picks: [], bytes: 0, error: 0, bound: 0 });
  expect(leastError([[{ bytes: 3, error: 1 }]], 3)).toEqual({ picks: [0], bytes: 3, error: 1, bound: 1 });
  // an option that is larger and worse than another is never taken
  const worse = [
    { bytes: 3, error: 1 },
    { bytes: 5, error: 2 },
  ];
  expect(leastError([worse], 9)?.picks).toEqual([0]);
});
