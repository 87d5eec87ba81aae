// Moments: sums in the order that is specified, extremes, and the first weight that is not finite.
import { expect, test } from "vitest";
import { firstNonFinite, type Moments, maxMagnitude, moments } from "../reference/moments.ts";
import { onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const SIZES = [...Array(70).keys(), 1000, 4095, 4096, 4097];

function run(before: Moments, values: Float32Array): Float64Array {
  return onEncoders((i) => {
    const out = i.inout(Float64Array.of(before.sum, before.squares, before.low, before.high));
    i.kernels.moments(out, i.input(values), values.length);
    return i.f64(out, 4);
  });
}

const START: Moments = { sum: 0, squares: 0, low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY };

test("sums, minimum and maximum, one stretch after another", () => {
  const random = new Random(4);
  for (const count of SIZES) {
    let want = START;
    for (let part = 0; part < 3; part++) {
      const values = part === 1 ? random.floats(count) : random.normals(count);
      const got = run(want, values);
      want = moments(want, values);
      sameBits(got, Float64Array.of(want.sum, want.squares, want.low, want.high), `${count} values`);
    }
  }
});

test("the order matters, so it is really tested; zeros have no sign", () => {
  const values = Float32Array.of(1e30, 1, -1e30, 1, 1, 1, 1, 1);
  const [sum] = run(START, values);
  expect(sum).not.toBe(values.reduce((a, b) => a + b, 0));
  for (const zeros of [
    [0, -0],
    [-0, 0],
    [-0, -0, -0, -0, -0],
    [0, 0, 0, -0],
  ]) {
    const got = run(START, Float32Array.from(zeros));
    sameBits(got.subarray(2), Float64Array.of(0, 0));
  }
});

test("largest magnitude", () => {
  const random = new Random(5);
  for (const count of SIZES) {
    for (const values of [random.floats(count), random.normals(count)]) {
      sameBits(
        onEncoders((i) => i.kernels.maxMagnitude(i.input(values), count)),
        maxMagnitude(values),
      );
    }
  }
});

test("the first infinity or NaN, at every place", () => {
  const random = new Random(6);
  const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const count of [0, 1, 15, 16, 17, 31, 32, 33, 50]) {
    const values = random.floats(count);
    sameBits(
      onEncoders((i) => i.kernels.firstNonFinite(i.input(values), count)),
      count,
    );
    for (let at = 0; at < count; at++) {
      const spoilt = values.slice();
      spoilt[at] = random.pick(bad);
      if (at + 3 < count) spoilt[at + 3] = random.pick(bad);
      const got = onEncoders((i) => i.kernels.firstNonFinite(i.input(spoilt), count));
      sameBits(got, at);
      sameBits(got, firstNonFinite(spoilt));
    }
  }
});
