// The references against each other: trying everything and the plain dynamic programme find the same optimum.
import { expect, test } from "vitest";
import { bruteForce } from "./brute-force.ts";
import { optimal } from "./optimal.ts";
import { sortedPoints } from "./points.ts";

/** Park and Miller's generator, seeded: the same cases on every run. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

/** What a codebook costs when every value goes to its nearest entry. */
function costOf(
  codebook: readonly number[],
  values: readonly number[],
  weights: readonly number[] | undefined,
): number {
  let cost = 0;
  for (const { x, w } of sortedPoints(values, weights)) cost += w * Math.min(...codebook.map((c) => (x - c) ** 2));
  return cost;
}

test("2000 small cases: equal costs, and codebooks that have them", () => {
  const random = uniform(1);
  const below = (bound: number): number => Math.floor(random() * bound);
  let pinned = 0;
  for (let c = 0; c < 2000; c++) {
    const integers = below(2) === 0; // integers: equal values, and ties
    const value = (): number => (integers ? below(9) - 4 : random() * 2 - 1);
    const pins = Array.from({ length: below(3) }, value);
    const values = Array.from({ length: 1 + below(pins.length > 0 ? 8 : 11) }, value);
    const weights = below(2) === 0 ? undefined : values.map(() => (below(6) === 0 ? 0 : random() * 3));
    const k = Math.max(1, pins.length + below(5));
    if (pins.length > 0) pinned++;

    const want = bruteForce(values, weights, k, pins);
    const got = optimal(values, weights, k, pins);
    const tell = JSON.stringify({ values, weights, k, pins, want, got });
    const tolerance = 1e-9 * want.cost + 1e-15; // costs of 0 have no relative error
    expect(Math.abs(got.cost - want.cost), tell).toBeLessThanOrEqual(tolerance);
    for (const { codebook } of [want, got]) {
      expect(Math.abs(costOf(codebook, values, weights) - want.cost), tell).toBeLessThanOrEqual(tolerance);
      expect(codebook.length, tell).toBeLessThanOrEqual(k);
      for (const pin of pins) expect(codebook, tell).toContain(pin);
      expect(
        [...codebook].sort((a, b) => a - b),
        tell,
      ).toEqual(codebook);
    }
  }
  expect(pinned).toBeGreaterThan(1000);
});

test("cases whose answer is plain to see", () => {
  for (const solve of [bruteForce, optimal]) {
    expect(solve([1, 2, 10, 12], undefined, 2)).toEqual({ cost: 2.5, codebook: [1.5, 11] });
    expect(solve([1, 2, 10, 12], [3, 1, 0, 5], 2)).toEqual({ cost: 0.75, codebook: [1.25, 12] });
    expect(solve([1, 2, 10, 12], undefined, 2, [0])).toEqual({ cost: 7, codebook: [0, 11] });
    expect(solve([5, 5, -0, 0], undefined, 4)).toEqual({ cost: 0, codebook: [0, 5] }); // fewer values than k
    expect(solve([3], undefined, 2, [0, 100])).toEqual({ cost: 9, codebook: [0, 100] }); // no free value, one pin empty
    expect(solve([], undefined, 2, [1])).toEqual({ cost: 0, codebook: [1] });
    expect(() => solve([1], undefined, 1, [0, 1])).toThrow("k is 1 with 2 pins");
    expect(() => solve([1, 2], [1], 1)).toThrow("weight 1 is undefined");
  }
});
