// Half: all float16 and bfloat16 both ways, rounding of float32 of every kind, float64.
import { expect, test } from "vitest";
import { floatOf } from "../reference/float-order.ts";
import { bf16Bits, bf16Value, f16Bits, f16Value, rounded } from "../reference/half.ts";
import { onDecoders, onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const ALL = Uint16Array.from({ length: 65536 }, (_, i) => i);

const isNaN16 = (h: number, infinity: number): boolean => (h & 0x7fff) > infinity;

test("all float16 and bfloat16 to float32", () => {
  const wide16 = onEncoders((i) => {
    const dst = i.output(65536 * 4);
    i.kernels.f16ToF32(dst, i.input(ALL), 65536);
    return i.u32(dst, 65536);
  });
  const wideB16 = onEncoders((i) => {
    const dst = i.output(65536 * 4);
    i.kernels.bf16ToF32(dst, i.input(ALL), 65536);
    return i.u32(dst, 65536);
  });
  const want16 = new Uint32Array(65536);
  for (const h of ALL) {
    // a NaN keeps its digits
    want16[h] = isNaN16(h, 0x7c00) ? ((h & 0x8000) * 65536 + 0x7f800000 + (h & 1023) * 8192) >>> 0 : bits(f16Value(h));
  }
  sameBits(wide16, want16);
  sameBits(
    wideB16,
    Uint32Array.from(ALL, (h) => h * 65536),
  );
});

test("all float16 and bfloat16 come back", () => {
  const back16 = toHalf("f32ToF16", Float32Array.from(ALL, f16Value));
  const backB16 = toHalf("f32ToBf16", Float32Array.from(ALL, bf16Value));
  sameBits(
    back16,
    ALL.map((h) => (isNaN16(h, 0x7c00) ? 0x7e00 | ((back16[h] as number) & 0x8000) : h)),
  );
  sameBits(
    backB16,
    ALL.map((h) => (isNaN16(h, 0x7f80) ? (backB16[h] as number) : h)),
  );
  expect(ALL.every((h) => isNaN16(h, 0x7f80) === isNaN16(backB16[h] as number, 0x7f80))).toBe(true);
});

test("float32 of every kind, ties, and their neighbours to float16 and bfloat16", () => {
  const random = new Random(1);
  const values: number[] = [...SPECIAL];
  for (let n = 0; n < 60000; n++) values.push(floatOf(random.bits())); // NaN and infinities among them
  for (let n = 0; n < 20000; n++)
    values.push(f16Value(random.below(0x7c00)) * (1 + random.below(5) / 4096), random.normal());
  for (const toValue of [f16Value, bf16Value]) {
    const largest = toValue === f16Value ? 0x7bff : 0x7f7f;
    for (let n = 0; n < 20000; n++) {
      const h = random.below(largest);
      const tie = (toValue(h) + toValue(h + 1)) / 2; // exact: one digit more
      values.push(tie, -tie, tie * (1 + 2 ** -23), tie * (1 - 2 ** -24));
    }
  }
  const floats = Float32Array.from(values);
  const nan = floats.map((x) => (Number.isNaN(x) ? 1 : 0));
  expect(nan.some((x) => x === 1)).toBe(true);
  // JavaScript does not promise the bits of a NaN it passes on: those in `floats` are read back by the reference
  sameBits(toHalf("f32ToF16", floats), withNaN(floats, f16Bits, toHalf("f32ToF16", floats), 0x7c00));
  sameBits(toHalf("f32ToBf16", floats), withNaN(floats, bf16Bits, toHalf("f32ToBf16", floats), 0x7f80));
  sameBits(
    onDecoders((i) => {
      const half = i.output(floats.length * 2);
      const brain = i.output(floats.length * 2);
      const src = i.input(floats);
      i.kernels.f32To16(half, src, floats.length, 1);
      i.kernels.f32To16(brain, src, floats.length, 2);
      return [i.u16(half, floats.length), i.u16(brain, floats.length)];
    }),
    [toHalf("f32ToF16", floats), toHalf("f32ToBf16", floats)],
  );
});

test("NaN bits: float16 has one NaN a sign, bfloat16 keeps the upper digits", () => {
  const src = Uint32Array.of(0x7f800001, 0xff800001, 0x7fc12345, 0xffffffff, 0x7fbfffff);
  const [half, brain] = onEncoders((i) => {
    const from = i.input(src);
    const a = i.output(10);
    const b = i.output(10);
    i.kernels.f32ToF16(a, from, 5);
    i.kernels.f32ToBf16(b, from, 5);
    return [i.u16(a, 5), i.u16(b, 5)];
  });
  sameBits(half as Uint16Array, Uint16Array.of(0x7e00, 0xfe00, 0x7e00, 0xfe00, 0x7e00));
  sameBits(brain as Uint16Array, Uint16Array.of(0x7fc0, 0xffc0, 0x7fc1, 0xffff, 0x7fff));
});

test("float64 to float32 and back", () => {
  const random = new Random(2);
  const view = new DataView(new ArrayBuffer(8));
  const values: number[] = [
    0,
    -0,
    1e300,
    -1e300,
    1e-300,
    3.4028235677973366e38,
    3.4028235677973362e38,
    2 ** -150,
    2 ** -149.5,
  ];
  for (let n = 0; n < 20000; n++) {
    view.setUint32(0, random.bits());
    view.setUint32(4, random.bits());
    const x = view.getFloat64(0);
    values.push(Number.isNaN(x) ? 0 : x, random.float() + random.unit() * 1e-7);
    const tie = random.float();
    values.push(tie * (1 + 2 ** -24), tie * (1 + 2 ** -24) * (1 + 2 ** -52));
  }
  for (const count of [values.length, 0, 1, 2, 3, 5]) {
    const src = Float64Array.from(values.slice(0, count));
    sameBits(
      onEncoders((i) => {
        const dst = i.output(count * 4);
        i.kernels.f64ToF32(dst, i.input(src), count);
        return i.f32(dst, count);
      }),
      Float32Array.from(src, Math.fround),
    );
  }
  const floats = random.floats(1001);
  sameBits(
    onEncoders((i) => {
      const dst = i.output(1001 * 8);
      i.kernels.f32ToF64(dst, i.input(floats), 1001);
      return i.f64(dst, 1001);
    }),
    Float64Array.from(floats),
  );
  const nan = onEncoders((i) => {
    const dst = i.output(12);
    i.kernels.f64ToF32(
      dst,
      i.input(Float64Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)),
      3,
    );
    return i.f32(dst, 3);
  });
  expect([...nan]).toEqual([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
});

test("roundTo rounds in place; every size converts every value", () => {
  const random = new Random(3);
  for (let count = 0; count <= 20; count++) {
    const floats = random.floats(count);
    for (const format of [0, 1, 2]) {
      sameBits(
        onEncoders((i) => {
          const at = i.inout(floats);
          i.kernels.roundTo(at, count, format);
          return i.f32(at, count);
        }),
        floats.map((x) => rounded(x, format)),
      );
    }
    const halves = Uint16Array.from(floats, f16Bits);
    sameBits(
      onEncoders((i) => {
        const dst = i.output(count * 4);
        i.kernels.f16ToF32(dst, i.input(halves), count);
        return i.f32(dst, count);
      }),
      Float32Array.from(halves, f16Value),
    );
    sameBits(
      onEncoders((i) => {
        const dst = i.output(count * 4);
        i.kernels.bf16ToF32(dst, i.input(halves), count);
        return i.u32(dst, count);
      }),
      Uint32Array.from(halves, (h) => h * 65536),
    );
  }
});

const SPECIAL: readonly number[] = [
  0,
  -0,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
  65504,
  65519.99609375,
  65520,
  65535,
  65536,
  -65520,
  2 ** -24,
  2 ** -25,
  2 ** -25 * (1 + 2 ** -23),
  -(2 ** -25),
  2 ** -26,
  2 ** -14,
  2 ** -14 * (1 - 2 ** -11),
  2 ** -149,
  2 ** -133,
  2 ** -134,
  3.4028234663852886e38,
  3.3961775292304957e38,
  3.3895313892515355e38,
  3.39617752923046e38,
];

function toHalf(kernel: "f32ToF16" | "f32ToBf16", floats: Float32Array): Uint16Array {
  return onEncoders((i) => {
    const dst = i.output(floats.length * 2);
    i.kernels[kernel](dst, i.input(floats), floats.length);
    return i.u16(dst, floats.length);
  });
}

/** Reference bits; where the value is NaN those that were got, if they are a NaN's. */
function withNaN(floats: Float32Array, toBits: (x: number) => number, got: Uint16Array, infinity: number): Uint16Array {
  return Uint16Array.from(floats, (x, i) => {
    if (!Number.isNaN(x)) return toBits(x);
    expect(isNaN16(got[i] as number, infinity)).toBe(true);
    return got[i] as number;
  });
}

function bits(x: number): number {
  return new Uint32Array(Float32Array.of(x).buffer)[0] as number;
}
