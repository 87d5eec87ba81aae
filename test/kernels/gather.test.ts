// Gather: every element in its place, for inner axes and outer ones.
import { expect, test } from "vitest";
import { gather } from "../reference/gather.ts";
import { onEncoders, sameBits } from "./instances.ts";

test("channels of any axis to consecutive stretches", () => {
  for (const outer of [0, 1, 2, 3, 17]) {
    for (const channels of [1, 2, 15, 16, 17, 33]) {
      for (const inner of [1, 2, 5, 16]) {
        const src = Uint32Array.from({ length: outer * channels * inner }, (_, i) => 0x9e3779b1 * (i + 1));
        const got = onEncoders((i) => {
          const dst = i.output(src.byteLength);
          i.kernels.gather(dst, i.input(src), outer, channels, inner);
          return i.u32(dst, src.length);
        });
        sameBits(got, gather(src, outer, channels, inner));
      }
    }
  }
  expect([...gather(Uint32Array.of(1, 2, 3, 4, 5, 6), 2, 3, 1)]).toEqual([1, 4, 2, 5, 3, 6]);
});
