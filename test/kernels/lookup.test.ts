// Lookup: values by code, bit for bit, in one codebook and in turns of many; wrong codes read but never trap.
import { expect, test } from "vitest";
import type { DecodeKernels } from "../../src/wasm/decode.ts";
import { lookup } from "../reference/lookup.ts";
import { pack } from "../reference/pack.ts";
import { type DecodeInstance, onDecoders, onEncoders, onePage, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const LEVELS = [1, 2, 3, 8, 15, 16, 17, 24, 31, 32, 33, 100, 255, 256];
const SIZES = [...Array(40).keys(), 63, 64, 65, 1023, 1024, 1025];
const random = new Random(90);

// every byte of every value differs, so that a wrong lane or byte shows; NaN among them
const bits32 = (count: number): Uint32Array => Uint32Array.from({ length: count }, () => random.bits());

test.each(LEVELS)("%d levels", (levels) => {
  for (const count of SIZES) {
    const codes = random.bytes(count, levels);
    const values = bits32(levels);
    const work32 = (
      i: Pick<DecodeInstance, "input" | "output" | "u32"> & { kernels: Pick<DecodeKernels, "lookup32"> },
    ): Uint32Array => {
      const dst = i.output(count * 4);
      i.kernels.lookup32(dst, i.input(codes), count, i.input(values), levels, false);
      return i.u32(dst, count);
    };
    sameBits(onDecoders(work32), lookup(codes, values, levels), `${count} float32`);
    sameBits(onEncoders(work32), lookup(codes, values, levels), `${count} float32`);
  }
});

test("4-bit codes straight to float32", () => {
  for (const count of SIZES) {
    for (const levels of [9, 16]) {
      const codes = random.bytes(count, levels);
      const values = bits32(16);
      sameBits(
        onDecoders((i) => {
          const dst = i.output(count * 4);
          i.kernels.lookup32(dst, i.input(pack(codes, 4)), count, i.input(values), 16, true);
          return i.u32(dst, count);
        }),
        lookup(codes, values, 16),
      );
    }
  }
});

test("many codebooks in turns", () => {
  for (let n = 0; n < 500; n++) {
    const levels = random.pick(LEVELS);
    const groups = 1 + random.below(9);
    const inner = random.pick([1, 2, 3, 7, 15, 16, 17, 40, 100]);
    const first = random.below(groups * inner);
    const count = random.below(400);
    const codes = random.bytes(count, levels);
    const values = bits32(groups * levels);
    const want = lookup(codes, values, levels, inner, groups, first);
    for (const period of groups * inner >= first + count ? [groups, -1] : [groups]) {
      sameBits(
        onDecoders((i) => {
          const dst = i.output(count * 4);
          i.kernels.lookupRuns(dst, i.input(codes), count, i.input(values), levels, inner, period, first);
          return i.u32(dst, count);
        }),
        want,
        `levels ${levels}, inner ${inner}, groups ${groups}, first ${first}, count ${count}`,
      );
    }
  }
});

test.each(["decode.scalar", "decode.simd"] as const)(
  "%s: codes beyond the levels do not trap where 1 KiB lies",
  (build) => {
    const kernels = onePage(build);
    const { memory } = kernels;
    const count = 256;
    new Uint8Array(memory.buffer, 0, count).set(Uint8Array.from({ length: count }, (_, i) => i));
    const end = memory.buffer.byteLength;
    for (const levels of LEVELS) {
      kernels.lookup32(1024, 0, count, end - 1024, levels, false);
      kernels.lookupRuns(1024, 0, count, end - 1024 - 3 * levels * 4, levels, 7, 3, 2);
      kernels.lookupRuns(1024, 0, count, end - 1024 - 3 * levels * 4, levels, 32, 3, 2);
    }
    kernels.lookup32(1024, 0, count, end - 128, 16, true);
    expect(() => kernels.lookup32(1024, 0, count, end - 512, 256, false)).toThrow(); // the check would notice
  },
);
