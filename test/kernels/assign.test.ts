// Assign: linear, cells and halving give the code that is defined, and `measure` the sums that are specified.
import { expect, test } from "vitest";
import { codeOf, type Measure, measure } from "../reference/assign.ts";
import { nearestCode, thresholds, tidy } from "../reference/codebook.ts";
import { floatAt, placeOf } from "../reference/float-order.ts";
import { groupAt } from "../reference/lookup.ts";
import { onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const LEVELS = [2, 3, 4, 5, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100, 128, 200, 255, 256];
const SIZES = [0, 1, 15, 16, 17, 31, 33, 127, 128, 300];
const SCRATCH = 1296;
const random = new Random(70);

/** Ascending codebook; some have fewer distinct values than levels, some values far apart. */
function codebook(levels: number): Float32Array {
  const values = random.below(3) === 0 ? random.floats(levels) : random.normals(levels);
  const distinct = random.below(4) === 0 ? 1 + random.below(levels) : levels;
  return Float32Array.from(tidy([...values.subarray(0, distinct)], levels).codebook);
}

/** Weights: thresholds, their neighbours, values of the codebook, any float32. */
function weights(count: number, values: Float32Array, limits: Float32Array): Float32Array {
  const finite = limits.filter((t) => Number.isFinite(t));
  return Float32Array.from({ length: count }, () => {
    const kind = random.below(5);
    if (kind < 2 && finite.length > 0) {
      const x = floatAt(placeOf(finite[random.below(finite.length)] as number) + random.below(3) - 1);
      return Number.isFinite(x) ? x : 0;
    }
    if (kind === 2) return values[random.below(values.length)] as number;
    return kind === 3 ? random.float() : random.normal();
  });
}

test.each(LEVELS)(
  "%d levels: all ways give the number of thresholds below the weight, which is the nearest code",
  (levels) => {
    for (let n = 0; n < 6; n++) {
      const values = codebook(levels);
      const limits = thresholds(values, 256);
      for (const count of SIZES) {
        const src = weights(count, values, limits);
        const want = Uint8Array.from(src, (x) => codeOf(x, limits));
        const found = onEncoders((i) => {
          const codes = i.output(count);
          i.kernels.assign(codes, i.input(src), count, i.input(limits), levels, 128, i.output(SCRATCH));
          return i.u8(codes, count);
        });
        sameBits(found, want, `count ${count}`);
        if (count === 33) src.forEach((x, i) => expect(want[i], `${x}`).toBe(nearestCode(x, values)));
      }
    }
  },
);

test.each([16, 64, 256])("%d levels: infinities and NaN have codes, too, the same in all ways", (levels) => {
  const limits = thresholds(codebook(levels), 256);
  const src = new Float32Array(
    Uint32Array.of(0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xffffffff).buffer,
  );
  const long = new Float32Array(240);
  for (let i = 0; i < 240; i++) long.set(src.subarray(i % 6, (i % 6) + 1), i);
  const want = Uint8Array.from(long, (x) => codeOf(x, limits));
  for (const count of [24, 240]) {
    sameBits(
      onEncoders((i) => {
        const codes = i.output(count);
        i.kernels.assign(
          codes,
          i.input(long.subarray(0, count)),
          count,
          i.input(limits),
          levels,
          128,
          i.output(SCRATCH),
        );
        return i.u8(codes, count);
      }),
      want.subarray(0, count),
    );
  }
});

test("thresholds that crowd beside one far away", () => {
  for (const levels of [17, 33, 64, 256]) {
    for (const far of [1, 1e3, 1e6, 1e30, 3e38]) {
      const own = Float32Array.from({ length: levels }, (_, c) => (c === levels - 1 ? far : 1e-3 * (c - levels / 2)));
      const values = own.sort();
      const limits = thresholds(values, 256);
      const src = weights(9000, values, limits);
      const want = Uint8Array.from(src, (x) => codeOf(x, limits));
      const found = onEncoders((i) => {
        const codes = i.output(9000);
        i.kernels.assign(codes, i.input(src), 9000, i.input(limits), levels, 128, i.output(SCRATCH));
        return i.u8(codes, 9000);
      });
      sameBits(found, want, `${levels} levels, ${far}`);
    }
  }
});

test("many codebooks in turns", () => {
  for (let n = 0; n < 300; n++) {
    const levels = random.pick(LEVELS);
    const stride = 2 ** Math.ceil(Math.log2(levels));
    const groups = 1 + random.below(9);
    const inner = random.pick([1, 2, 3, 7, 15, 16, 17, 40, 100, 150]);
    const first = random.below(groups * inner);
    const count = random.below(400);
    const books = Array.from({ length: groups }, () => codebook(levels));
    const limits = books.map((values) => thresholds(values, stride));
    const flat = new Float32Array(groups * stride);
    limits.forEach((own, g) => flat.set(own.subarray(0, stride), g * stride));
    const src = weights(count, books[0] as Float32Array, limits[0] as Float32Array);
    const want = Uint8Array.from(src, (x, i) => codeOf(x, limits[groupAt(i, inner, groups, first)] as Float32Array));
    // a period that never ends is what a tile of consecutive groups has
    const endless = groups * inner >= first + count;
    for (const period of endless ? [groups, -1] : [groups]) {
      sameBits(
        onEncoders((i) => {
          const codes = i.output(count);
          i.kernels.assignRuns(
            codes,
            i.input(src),
            count,
            i.input(flat),
            levels,
            stride,
            inner,
            period,
            first,
            i.output(SCRATCH),
          );
          return i.u8(codes, count);
        }),
        want,
        `levels ${levels}, inner ${inner}, groups ${groups}, first ${first}, count ${count}`,
      );
    }
  }
});

test("counts and errors per code, squares and the worst error, one stretch after another", () => {
  for (const levels of [2, 5, 16, 17, 256]) {
    for (const count of [0, 1, 2, 3, 4, 5, 63, 64, 65, 1000]) {
      let want: Measure = { totals: new Float64Array(512), squares: 0, worst: 0, decodedSquares: 0 };
      for (let part = 0; part < 3; part++) {
        const src = part === 1 ? random.floats(count) : random.normals(count);
        const decoded = src.map((x) => x + 0.1 * random.normal());
        const codes = random.bytes(count, levels);
        const got = onEncoders((i) => {
          const totals = i.inout(want.totals);
          const sums = i.inout(Float64Array.of(want.squares, want.worst, want.decodedSquares));
          i.kernels.measure(
            totals,
            sums,
            i.input(src),
            i.input(decoded),
            i.input(codes),
            count,
            levels,
            i.output(64 * levels + 64),
          );
          return [i.f64(totals, 512), i.f64(sums, 3)];
        });
        want = measure(want, src, decoded, codes, levels);
        sameBits(got, [want.totals, Float64Array.of(want.squares, want.worst, want.decodedSquares)]);
      }
    }
  }
});
