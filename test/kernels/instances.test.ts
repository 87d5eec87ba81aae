// The harness itself: it notices what a kernel must not do.
import { expect, test } from "vitest";
import type { EncodeKernels } from "../../src/wasm/encode.ts";
import { Instance, onEncoders, sameBits } from "./instances.ts";

test("a byte written outside, a changed input and a result made of foreign memory are noticed", () => {
  const instance = new Instance<EncodeKernels>("encode.scalar", 1);
  const codes = new Uint8Array(3);
  expect(() => instance.run((i) => i.kernels.pack(i.output(2), i.input(codes), 3, 8))).toThrow(
    "outside of its regions",
  );
  expect(() => instance.run((i) => i.kernels.pack(i.output(2, 1), i.input(codes), 3, 8))).not.toThrow();
  expect(() => instance.run((i) => i.kernels.pack(i.input(codes), i.input(new Uint8Array([1, 2, 3])), 3, 8))).toThrow(
    "changed its input",
  );
  expect(() => onEncoders((i) => i.u8(i.output(4), 4))).toThrow("SIMD against scalar");
});

test("bits are compared, not values", () => {
  expect(() => sameBits(Float32Array.of(0), Float32Array.of(-0))).toThrow("[0] is 0 (0x00000000), want 0 (0x80000000)");
  expect(() => sameBits(-0, 0)).toThrow();
  expect(() => sameBits(Float32Array.of(1), Float64Array.of(1))).toThrow("Float64Array");
  expect(() => sameBits([1, 2n], [1, 3n])).toThrow("result[1]: got 2, want 3");
  sameBits([Float32Array.of(Number.NaN)], [Float32Array.of(Number.NaN)]);
});
