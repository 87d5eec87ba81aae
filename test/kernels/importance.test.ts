// Importance: the first value that cannot be one, and weighted sums in the order that is specified.
import { expect, test } from "vitest";
import { firstUnfit, measureWeighted } from "../reference/importance.ts";
import { onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

test("the first importance that is negative or not finite, at every place", () => {
  const random = new Random(7);
  const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, -(2 ** -149), -3e38];
  for (const count of [0, 1, 7, 8, 9, 15, 16, 17, 40]) {
    const values = random.floats(count).map((x) => (random.below(5) === 0 ? -0 : Math.abs(x)));
    sameBits(
      onEncoders((i) => i.kernels.firstUnfitImportance(i.input(values), count)),
      count,
    );
    for (let at = 0; at < count; at++) {
      const spoilt = values.slice();
      spoilt[at] = random.pick(bad);
      if (at + 3 < count) spoilt[at + 3] = random.pick(bad);
      const got = onEncoders((i) => i.kernels.firstUnfitImportance(i.input(spoilt), count));
      sameBits(got, at);
      sameBits(got, firstUnfit(spoilt));
    }
  }
});

test("weighted error and signal, one stretch after another; the order matters", () => {
  const random = new Random(8);
  for (const count of [...Array(20).keys(), 1001, 4096]) {
    let want: [number, number] = [0, 0];
    for (let part = 0; part < 3; part++) {
      const weights = part === 1 ? random.floats(count) : random.normals(count);
      const decoded = weights.map((x) => x * (1 - random.unit() / 8));
      const importance = weights.map(() => random.unit() ** 6 * 1e3);
      const got = onEncoders((i) => {
        const sums = i.inout(Float64Array.from(want));
        i.kernels.measureWeighted(sums, i.input(weights), i.input(decoded), i.input(importance), count);
        return i.f64(sums, 2);
      });
      want = measureWeighted(want, weights, decoded, importance);
      sameBits(got, Float64Array.from(want), `${count} weights`);
    }
  }
  // lanes: 2^54 and 3; in turn every 1 would be lost
  const weights = Float32Array.of(2 ** 27, 1, 0, 1, 0, 1);
  const ones = new Float32Array(6).fill(1);
  expect(measureWeighted([0, 0], weights, ones, ones)[1]).toBe(2 ** 54 + 4);
});
