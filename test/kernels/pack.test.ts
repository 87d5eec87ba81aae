// Pack and unpack: 1 to 8 bits, every size around vectors and tiles, nothing beyond what the contracts allow.
import { expect, test } from "vitest";
import { pack } from "../reference/pack.ts";
import { unpack } from "../reference/unpack.ts";
import { onDecoders, onEncoders, onePage, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const BITS = [1, 2, 3, 4, 5, 6, 7, 8];
const SIZES = [...Array(71).keys(), 127, 128, 129, 1023, 1024, 1025, 16383, 16384, 16385];
const random = new Random(80);

test.each(BITS)("%d bits: packed as the reference, unpacked to the same codes", (bits) => {
  for (const count of SIZES) {
    const codes = random.bytes(count, 2 ** bits);
    const packed = pack(codes, bits);
    sameBits(
      onEncoders((i) => {
        const dst = i.output(packed.length, 8);
        i.kernels.pack(dst, i.input(codes), count, bits);
        return i.u8(dst, packed.length);
      }),
      packed,
      `pack ${count}`,
    );
    const work = (i: Parameters<Parameters<typeof onDecoders>[0]>[0]): Uint8Array => {
      const dst = i.output(count, 15);
      i.kernels.unpack(dst, i.input(packed), count, bits);
      return i.u8(dst, count);
    };
    sameBits(onDecoders(work), codes, `unpack ${count}`);
    sameBits(
      onEncoders((i) => {
        const dst = i.output(count, 15);
        i.kernels.unpack(dst, i.input(packed), count, bits);
        return i.u8(dst, count);
      }),
      codes,
      `unpack ${count}`,
    );
    sameBits(unpack(packed, count, bits), codes, "the references undo each other");
  }
});

test.each(BITS)("%d bits: bits behind the last code do not matter to unpack and are 0 from pack", (bits) => {
  for (let count = 1; count < 40; count++) {
    const packed = random.bytes(Math.ceil((count * bits) / 8));
    const codes = unpack(packed, count, bits);
    sameBits(
      onDecoders((i) => {
        const dst = i.output(count, 15);
        i.kernels.unpack(dst, i.input(packed), count, bits);
        return i.u8(dst, count);
      }),
      codes,
    );
    const again = onEncoders((i) => {
      const dst = i.output(packed.length, 8);
      i.kernels.pack(dst, i.input(codes), count, bits);
      return i.u8(dst, packed.length);
    });
    const used = (count * bits) % 8;
    if (used > 0) expect((again.at(-1) as number) >> used).toBe(0);
  }
});

test.each(["decode.scalar", "decode.simd"] as const)(
  "%s: unpack reads no more than 15 bytes beyond, at the end of memory",
  (build) => {
    const { unpack: kernel, memory } = onePage(build);
    for (const bits of BITS) {
      for (let count = 1; count < 70; count++) {
        const bytes = Math.ceil((count * bits) / 8);
        kernel(0, memory.buffer.byteLength - bytes - 15, count, bits);
      }
    }
    // and the check would notice: a load beyond the memory traps
    expect(() => kernel(0, memory.buffer.byteLength - 1, 64, 8)).toThrow();
  },
);
