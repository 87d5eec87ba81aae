// Sort: order, stability and sums, around the sizes where the method changes.
import { expect, test } from "vitest";
import { merged, sorted } from "../reference/sort.ts";
import { onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const SIZES = [0, 1, 2, 3, 23, 24, 25, 26, 100, 255, 256, 257, 1000];
const random = new Random(8);

const KINDS: readonly { name: string; make: (count: number) => Float32Array }[] = [
  { name: "any bits", make: (n) => random.floats(n) },
  { name: "normal", make: (n) => random.normals(n) },
  { name: "all equal", make: (n) => new Float32Array(n).fill(-1.25) },
  { name: "zeros of both signs", make: (n) => Float32Array.from({ length: n }, () => random.pick([0, -0])) },
  { name: "few values", make: (n) => Float32Array.from({ length: n }, () => random.pick([-3, -0, 0, 1, 1.5])) },
  { name: "negative", make: (n) => random.normals(n).map((x) => -Math.abs(x)) },
  { name: "ascending", make: (n) => random.normals(n).sort() },
  { name: "descending", make: (n) => random.normals(n).sort().reverse() },
  { name: "one byte differs", make: (n) => Float32Array.from({ length: n }, () => 1 + random.below(256) * 2 ** -23) },
];

test.each(KINDS)("$name: sorted with their weights, equal ones in order", ({ make }) => {
  for (const count of SIZES) {
    for (const weighted of [false, true]) {
      const values = make(count);
      // a weight of its own for each shows the order of equal values
      const weights = weighted ? Float64Array.from(values, (_, i) => i + 0.5) : undefined;
      const want = sorted(values, weights);
      const got = onEncoders((i) => {
        const at = i.inout(values);
        const weightAt = weights ? i.inout(weights) : 0;
        i.kernels.sortValues(at, weightAt, count, i.output(12 * count + 4096));
        return weights ? [i.f32(at, count), i.f64(weightAt, count)] : [i.f32(at, count)];
      });
      sameBits(
        got[0] as Float32Array,
        Float32Array.from(want, (e) => e.value),
        `${count} values`,
      );
      if (weighted)
        sameBits(
          got[1] as Float64Array,
          Float64Array.from(want, (e) => e.weight),
          `${count} weights`,
        );
    }
  }
});

test.each(KINDS)("$name: equal values join, those without weight go", ({ make }) => {
  for (const count of SIZES) {
    for (const weights of [
      undefined,
      Float64Array.from({ length: count }, () => random.below(3) * random.unit()),
      new Float64Array(count),
    ]) {
      const entries = sorted(make(count), weights);
      const want = merged(entries);
      const got = onEncoders((i) => {
        const weight = i.output(count * 8);
        const sum = i.output(count * 8);
        const from = weights ? i.input(Float64Array.from(entries, (e) => e.weight)) : 0;
        const atoms = i.kernels.mergeEqual(
          weight,
          sum,
          i.input(Float32Array.from(entries, (e) => e.value)),
          from,
          count,
          0,
        );
        return [atoms, i.f64(weight, atoms), i.f64(sum, atoms)];
      });
      sameBits(got, [want.length, Float64Array.from(want, (a) => a.weight), Float64Array.from(want, (a) => a.sum)]);
    }
  }
});

test("promote", () => {
  const values = random.floats(33);
  for (const count of [0, 1, 33]) {
    const got = onEncoders((i) => {
      const dst = i.output(count * 8);
      i.kernels.promote(dst, i.input(values.subarray(0, count)), count);
      return i.f64(dst, count);
    });
    sameBits(got, Float64Array.from(values.subarray(0, count)));
  }
  expect(values.length).toBe(33);
});
