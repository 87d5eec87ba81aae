// Assign: linear, table and halving give the code that is defined, and `measure` the sums that are specified.
import { expect, test } from "vitest";
import { codeOf, type Measure, measure } from "../reference/assign.ts";
import { nearestCode, thresholds, tidy } from "../reference/codebook.ts";
import { floatAt, placeOf } from "../reference/float-order.ts";
import { groupAt } from "../reference/lookup.ts";
import { onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const LEVELS = [2, 3, 4, 5, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100, 128, 200, 255, 256];
const SIZES = [0, 1, 15, 16, 17, 31, 33, 300];
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
        const tabled = onEncoders((i) => {
          const at = i.input(limits);
          const table = i.output(65536);
          i.kernels.assignTable(table, at, levels);
          const codes = i.output(count);
          i.kernels.assign(codes, i.input(src), count, at, levels, table);
          return i.u8(codes, count);
        });
        const plain = onEncoders((i) => {
          const codes = i.output(count);
          // up to 32 levels only the thresholds themselves are read, or 16 of them
          i.kernels.assign(
            codes,
            i.input(src),
            count,
            i.input(levels <= 32 ? limits.subarray(0, levels > 8 && levels <= 16 ? 16 : levels - 1) : limits),
            levels,
            0,
          );
          return i.u8(codes, count);
        });
        sameBits(plain, want, "linear or halving");
        sameBits(tabled, want, "table");
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
  const long = new Float32Array(24);
  for (let i = 0; i < 24; i++) long.set(src.subarray(i % 6, (i % 6) + 1), i);
  const want = Uint8Array.from(long, (x) => codeOf(x, limits));
  for (const withTable of [false, true]) {
    sameBits(
      onEncoders((i) => {
        const at = i.input(limits);
        const table = withTable ? i.output(65536) : 0;
        if (table) i.kernels.assignTable(table, at, levels);
        const codes = i.output(24);
        i.kernels.assign(codes, i.input(long), 24, at, levels, table);
        return i.u8(codes, 24);
      }),
      want,
    );
  }
});

test("the table holds, for the upper half of the bits, the code of the smallest weight that has them", () => {
  for (const levels of [33, 256]) {
    const limits = thresholds(codebook(levels), 256);
    const table = onEncoders((i) => {
      const at = i.output(65536);
      i.kernels.assignTable(at, i.input(limits), levels);
      return i.u8(at, 65536);
    });
    const smallest = new Float32Array(
      Uint32Array.from({ length: 65536 }, (_, cell) => cell * 65536 + (cell >= 0x8000 ? 0xffff : 0)).buffer,
    );
    for (let cell = 0; cell < 65536; cell += 1 + random.below(7)) {
      const x = smallest[cell] as number;
      expect(table[cell]).toBe(Number.isFinite(x) ? codeOf(x, limits) : 0);
    }
  }
});

test("many codebooks in turns", () => {
  for (let n = 0; n < 300; n++) {
    const levels = random.pick(LEVELS);
    const stride = 2 ** Math.ceil(Math.log2(levels));
    const groups = 1 + random.below(9);
    const inner = random.pick([1, 2, 3, 7, 15, 16, 17, 40, 100]);
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
          i.kernels.assignRuns(codes, i.input(src), count, i.input(flat), levels, stride, inner, period, first);
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
            i.output(64 * levels),
          );
          return [i.f64(totals, 512), i.f64(sums, 3)];
        });
        want = measure(want, src, decoded, codes, levels);
        sameBits(got, [want.totals, Float64Array.of(want.squares, want.worst, want.decodedSquares)]);
      }
    }
  }
});
