// Places among runs, as 32-bit kernels take them: where a tensor has 2^32 weights and more.
import { expect, test } from "vitest";
import { MOST_GROUPS, runPlace } from "../src/codebook.ts";
import { Random } from "./kernels/random.ts";

/** The group of each of `count` weights from a place on, as the kernels walk (assembly/lookup.ts). */
function walk(inner: number, first: number, count: number): number[] {
  const groups: number[] = [];
  let group = Math.floor(first / inner);
  let left = inner - (first - group * inner);
  while (groups.length < count) {
    for (; left > 0 && groups.length < count; left--) groups.push(group);
    left = inner;
    group++;
  }
  return groups;
}

test("short runs keep their place", () => {
  for (const [inner, place] of [
    [1, 0],
    [1, 77],
    [9, 80],
    [65536, 65536 * 3 + 5],
  ] as const) {
    expect(runPlace(inner, place)).toEqual({ inner, first: place });
  }
});

test("long runs are counted as far as a tile sees, in 32 bits", () => {
  const random = new Random(12);
  for (let i = 0; i < 300; i++) {
    const inner = 65537 + random.below(random.pick([10, 1e6, 2 ** 31])) * random.pick([1, 50]);
    const group = random.pick([0, 1, MOST_GROUPS - 2, random.below(MOST_GROUPS)]);
    // near the ends of the run, and anywhere in it
    const within = random.pick([0, 1, 500, inner - 1, inner - 8, inner - 20_000, random.below(inner)]);
    const at = runPlace(inner, group * inner + within);
    expect(at.inner).toBe(65536);
    expect(at.first).toBeGreaterThanOrEqual(0);
    expect(at.first).toBeLessThan(2 ** 32);
    const count = 16_384;
    const crossing = Math.min(count, inner - within);
    expect(walk(at.inner, at.first, count)).toEqual([
      ...new Array(crossing).fill(group),
      ...new Array(count - crossing).fill(group + 1),
    ]);
  }
});
