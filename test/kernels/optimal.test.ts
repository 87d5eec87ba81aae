// Optimal: the partition costs what the exact references say, with and without weights, pins and coarse cells.
import { expect, test } from "vitest";
import { bruteForce } from "../reference/brute-force.ts";
import { optimal } from "../reference/optimal.ts";
import { type Point, sortedPoints } from "../reference/points.ts";
import { onEncoders } from "./instances.ts";
import { checkPartition, partition, partitionCost } from "./partition.ts";
import { Random } from "./random.ts";

interface Case {
  readonly values: number[];
  readonly weights: number[] | undefined;
  readonly pins: number[];
  readonly k: number;
}

/** What the kernel's partition costs; SIMD and scalar are compared on the way. */
function kernelCost(points: readonly Point[], k: number, pins: readonly number[], target: number): number {
  const [bounds, kinds] = onEncoders((i) => partition(i, points, k, pins, target));
  checkPartition({ bounds, kinds }, points.length, pins.length);
  return partitionCost({ bounds, kinds }, points, pins);
}

/**
 * Equal to 1e-9 of itself. The kernel maximises gains, whose rounding is relative to the whole: costs below 1e-16 of the
 * total spread around the mean are lost in it.
 */
function expectEqualCost(got: number, want: number, points: readonly Point[], tell: string): void {
  const weight = points.reduce((sum, { w }) => sum + w, 0);
  const mean = points.reduce((sum, { x, w }) => sum + w * x, 0) / weight;
  const spread = points.reduce((sum, { x, w }) => sum + w * (x - mean) ** 2, 0);
  if (Math.abs(got - want) > 1e-9 * want + 1e-14 * (spread + mean * mean * weight * 1e-2))
    throw new Error(`got ${got}, want ${want}: ${tell}`);
}

const KINDS = ["unweighted", "weighted", "zero pinned", "several pins", "weighted, several pins"] as const;

function randomCase(random: Random, kind: (typeof KINDS)[number]): Case {
  const integers = random.below(2) === 0; // integers: equal values, and ties
  const shift = random.pick([0, 0, 1, -3]);
  const value = (): number => (integers ? random.below(9) - 4 : Math.fround(random.normal())) + shift;
  const pins =
    kind === "zero pinned"
      ? [0]
      : kind.includes("several")
        ? Array.from({ length: 1 + random.below(3) }, value).sort((a, b) => a - b)
        : [];
  const values = Array.from({ length: 1 + random.below(pins.length > 0 ? 8 : 11) }, value);
  const weights = kind.startsWith("weighted") ? values.map(() => random.unit() * 3 + 1e-3) : undefined;
  return { values, weights, pins, k: Math.max(1, pins.length + random.below(5)) };
}

test.each(KINDS)("2000 small cases, %s: as trying everything and the plain programme", (kind) => {
  const random = new Random(10 + KINDS.indexOf(kind));
  for (let n = 0; n < 2000; n++) {
    const { values, weights, pins, k } = randomCase(random, kind);
    const points = sortedPoints(values, weights);
    const got = kernelCost(points, k, pins, 32767);
    const tell = JSON.stringify({ values, weights, pins, k });
    expectEqualCost(got, optimal(values, weights, k, pins).cost, points, tell);
    if (n < 400) expectEqualCost(got, bruteForce(values, weights, k, pins).cost, points, tell);
  }
});

test("some hundred points: as the plain programme", () => {
  const random = new Random(20);
  for (let n = 0; n < 24; n++) {
    const size = 50 + random.below(250);
    const values = Array.from({ length: size }, () => Math.fround(random.normal() ** 3));
    const weights = n % 2 === 0 ? undefined : values.map(() => random.unit() ** 4 + 1e-6);
    const pins = [[], [0], [-0.5, 0, 2], []][n % 4] as number[];
    const k = pins.length + 1 + random.below(17);
    const points = sortedPoints(values, weights);
    expectEqualCost(kernelCost(points, k, pins, 32767), optimal(values, weights, k, pins).cost, points, `${n}`);
  }
});

test("many pins, among them ones that own nothing: as the plain programme", () => {
  const random = new Random(21);
  for (let n = 0; n < 60; n++) {
    const values = Array.from({ length: 1 + random.below(90) }, () => Math.fround(random.normal()));
    const wide = random.pick([1, 3, 30]);
    const pins = Array.from({ length: 1 + random.below(20) }, (_, p) =>
      p % 3 ? Math.fround(random.normal() * wide) : random.pick(values),
    );
    const centres = [...new Set(pins)].sort((a, b) => a - b);
    const k = centres.length + random.below(12);
    const points = sortedPoints(values, undefined);
    const want = optimal(values, undefined, k, centres).cost;
    expectEqualCost(kernelCost(points, k, centres, 32767), want, points, JSON.stringify({ values, centres, k }));
  }
});

/** Shapes that real weights have, and worse. */
const SHAPES: readonly { name: string; value: (random: Random) => number }[] = [
  { name: "normal", value: (random) => random.normal() },
  { name: "heavy tails", value: (random) => random.normal() ** 3 },
  { name: "two clumps", value: (random) => random.pick([0, 5]) + random.normal() * 1e-3 },
  { name: "even", value: (random) => random.unit() },
  { name: "lattice", value: (random) => Math.round(random.normal() * 400) + random.unit() * 1e-3 },
];

/** Cost with coarse cells over cost with a cell for every point, which the tests above hold against the references. */
function worstRatio(shape: (typeof SHAPES)[number], seed: number, cellsOf: (k: number) => number): number {
  const random = new Random(seed);
  let worst = 1;
  for (let n = 0; n < 12; n++) {
    const values = Array.from({ length: 300 + random.below(2700) }, () => Math.fround(shape.value(random)));
    const weights = n % 3 === 0 ? values.map(() => random.unit() ** 2 + 1e-3) : undefined;
    const pins = [[], [0], [], [-0.25, 0, 0.5]][n % 4] as number[];
    const k = pins.length + 2 + random.below(39 - pins.length);
    const points = sortedPoints(values, weights);
    const exact = kernelCost(points, k, pins, 32767);
    const coarse = kernelCost(points, k, pins, cellsOf(k));
    expect(coarse, `${n}`).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
    worst = Math.max(worst, coarse / exact);
  }
  return worst;
}

test.each(SHAPES)("coarse cells, $name: 64 a centre cost 1e-4 at most, 64 in all stay close", (shape) => {
  const fine = worstRatio(shape, 30, (k) => 64 * k);
  const rough = worstRatio(shape, 31, () => 64);
  expect(fine).toBeLessThanOrEqual(1.0001);
  expect(rough).toBeLessThanOrEqual(1.05);
});

test("one point, as many centres as points, more centres than points, empty intervals", () => {
  for (const [values, k, pins, want] of [
    [[3], 1, [], 0],
    [[3], 4, [], 0],
    [[3], 1, [1], 4],
    [[3], 3, [1, 2], 0],
    [[1, 2, 4], 3, [], 0],
    [[1, 2, 4], 3, [2, 2, 2], 5],
    [[1, 2, 4], 2, [-100, 100], 99 ** 2 + 98 ** 2 + 96 ** 2],
  ] as [number[], number, number[], number][]) {
    const points = sortedPoints(values, undefined);
    const reference = bruteForce(values, undefined, k, pins).cost;
    const got = kernelCost(points, k, pins, 32767);
    expectEqualCost(got, reference, points, JSON.stringify({ values, k, pins }));
    expect(got).toBeCloseTo(want, 12);
  }
});

test("far from zero: the mean is taken off before sums, so digits are kept", () => {
  const random = new Random(40);
  const values = Array.from({ length: 2000 }, () => Math.fround(1000 + 1e-2 * random.normal()));
  const points = sortedPoints(values, undefined);
  const moved = points.map(({ x, w }) => ({ x: x - 1000, w }));
  expect(kernelCost(points, 9, [], 32767) / kernelCost(moved, 9, [], 32767)).toBeCloseTo(1, 9);
});
