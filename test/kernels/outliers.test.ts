// Outliers: keys and the pick of the largest by the kernels, against plain steps.
import { expect, test } from "vitest";
import { outlierKeys, outlierOrder, pickOutliers } from "../reference/outliers.ts";
import { onOutliers, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const LENGTHS = [0, 1, 3, 4, 5, 8, 9, 15, 16, 17, 63, 1000];
const EXTREMES = [
  0,
  -0,
  1e-45,
  -1e-45,
  3.4028234663852886e38,
  -3.4028234663852886e38,
  Number.NaN,
  Number.NEGATIVE_INFINITY,
];

test("keys are the bits of magnitudes, or the upper half of the float64 h w w", () => {
  const random = new Random(4);
  for (const length of LENGTHS) {
    const weights = random.normals(length).map((x, i) => EXTREMES[i % 11] ?? x);
    const importance = random.normals(length).map((x, i) => [0, 3.4028234663852886e38, 1e-45][i % 5] ?? x * x);
    for (const cost of [undefined, importance]) {
      const keys = onOutliers((i) => {
        const at = i.output(length * 4);
        i.kernels.outlierKeys(at, i.input(weights), cost ? i.input(cost) : 0, length);
        return i.u32(at, length);
      });
      // the bits of NaN are those of the engine that made it
      const want = outlierKeys(weights, cost).map((key, i) => (Number.isNaN(weights[i]) ? (keys[i] as number) : key));
      sameBits(keys, want);
    }
  }
});

test("the pick has all above the limit and the first of those equal to it", () => {
  const random = new Random(5);
  for (const length of LENGTHS) {
    const keys = Uint32Array.from(random.bytes(length), (b) => (b % 7 === 0 ? 0x7f7fffff : b % 31));
    for (const limit of [0, 1, 17, 30, 31, 0x7f7fffff]) {
      for (const left of [0, 1, 3, length]) {
        const [places, rest] = onOutliers((i) => {
          const at = i.output(length * 4);
          const leftAt = i.inout(Int32Array.of(left));
          const found = i.kernels.pickOutliers(at, i.input(keys), length, limit, leftAt);
          // behind the last nothing is written
          return [i.u32(at, found), i.i32(leftAt, 1)];
        });
        const want = pickOutliers(keys, limit, left);
        sameBits(places, Uint32Array.from(want.places));
        expect([...rest]).toEqual([want.left]);
      }
    }
  }
});

test("the reference's order: the largest first, ties by place, no zeros", () => {
  expect(outlierOrder(Float32Array.of(1, -3, 0, 3, 2, -0))).toEqual([1, 3, 4, 0]);
  expect(outlierOrder(Float32Array.of(1, -3, 4, 3), Float32Array.of(100, 1, 0, 1))).toEqual([0, 1, 3]);
});
