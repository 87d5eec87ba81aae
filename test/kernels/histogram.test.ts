// Histogram: bins within the budget, exact sums in any order, distinct values.
import { expect, test } from "vitest";
import { floatOf } from "../reference/float-order.ts";
import { atoms, binsOf, CELLS, cellOf, depths, distinct, weightedAtoms } from "../reference/histogram.ts";
import { type EncodeInstance, onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const random = new Random(7);
const FINITE_CELLS = CELLS - 256;

interface Named {
  readonly name: string;
  readonly values: Float32Array;
}

const SETS: readonly Named[] = [
  { name: "normal", values: random.normals(5000) },
  { name: "any bits", values: random.floats(5000) },
  { name: "far from zero", values: random.normals(5000).map((x) => 1e6 + x) },
  { name: "far from zero, negative", values: random.normals(5000).map((x) => -1 - 1e-3 * x) },
  { name: "one value", values: new Float32Array(3000).fill(-2.5) },
  { name: "zeros of both signs", values: Float32Array.from({ length: 3001 }, (_, i) => (i % 3 === 0 ? -0 : 0)) },
  { name: "subnormal", values: random.normals(5000).map((x) => x * 1e-42) },
  {
    name: "spike and outliers",
    values: Float32Array.from({ length: 5000 }, (_, i) =>
      i % 500 === 0 ? 1e30 * random.normal() : i % 3 === 0 ? random.normal() : 0,
    ),
  },
  { name: "one weight", values: Float32Array.of(3.5) },
  { name: "none", values: new Float32Array(0) },
];

/** The sum of zeros may be -0. */
const unsigned = (x: number): number => x + 0;

/** Counts and lays out; the table and the number of bins. */
function laidOut(
  i: EncodeInstance,
  values: Float32Array,
  budget: number,
): { table: number; cells: number; bins: number } {
  const cells = i.inout(new Uint32Array(CELLS));
  const table = i.output(CELLS * 4);
  i.kernels.countCells(cells, i.input(values), values.length);
  return { table, cells, bins: i.kernels.layout(table, cells, budget, i.output(2200)) };
}

/** Totals of the bins, fed in tiles, settled after every second one. */
function totalsOf(i: EncodeInstance, table: number, bins: number, tiles: readonly Float32Array[]): number {
  const packed = i.inout(new BigUint64Array(bins));
  const totals = i.inout(new Float64Array(2 * bins));
  tiles.forEach((tile, t) => {
    i.kernels.histogram(packed, table, i.input(tile), tile.length);
    if (t % 2 === 1) i.kernels.settle(totals, packed, bins);
  });
  i.kernels.settle(totals, packed, bins);
  return totals;
}

test.each(SETS)("layout of $name: as the reference, within the budget, ascending, no cell left out", ({ values }) => {
  const counts = new Uint32Array(CELLS);
  for (const x of values) (counts[cellOf(x)] as number) += 1;
  for (const budget of [1, 100, 8192, 65536]) {
    const [bins, table, cells] = onEncoders((i) => {
      const { table, cells, bins } = laidOut(i, values, budget);
      return [bins, i.u32(table, CELLS), i.u32(cells, CELLS)];
    }) as [number, Uint32Array, Uint32Array];
    sameBits(
      cells,
      Uint32Array.from(
        { length: CELLS },
        (_, upper) => counts[upper < 0x8000 ? upper + 0x8000 : 0xffff - upper] as number,
      ),
    );
    // bins are counted in the order of the bits; what is not finite shares the last
    const depth = depths(counts, budget);
    const want = new Uint32Array(CELLS);
    let next = 0;
    for (let upper = 0; upper < CELLS; upper++) {
      if ((upper & 0x7f80) === 0x7f80) continue;
      const d = depth[cellOf(floatOf(upper * 65536))] as number;
      want[upper] = next * 32 + (16 - d);
      next += 2 ** d;
    }
    for (let upper = 0; upper < CELLS; upper++) if ((upper & 0x7f80) === 0x7f80) want[upper] = next * 32 + 16;
    sameBits(table, want);
    expect(bins).toBe(next + 1);
    expect(bins).toBeGreaterThan(FINITE_CELLS);
    expect(bins).toBeLessThanOrEqual(FINITE_CELLS + 1 + budget);
  }
});

test.each(SETS)("atoms of $name: exact, in any order and any tiles", ({ values }) => {
  const budget = 8192;
  const counts = new Uint32Array(CELLS);
  for (const x of values) (counts[cellOf(x)] as number) += 1;
  const bins = binsOf(values, depths(counts, budget));
  const want = atoms(values, bins);
  const halves = [values.subarray(0, values.length >> 1), values.subarray(values.length >> 1)];
  const shuffled = random.shuffled(values);
  const crumbs = Array.from({ length: Math.ceil(values.length / 777) }, (_, t) =>
    shuffled.subarray(t * 777, (t + 1) * 777),
  );
  for (const tiles of [[values], halves, crumbs]) {
    const got = onEncoders((i) => {
      const { table, bins: binCount } = laidOut(i, values, budget);
      const totals = totalsOf(i, table, binCount, tiles);
      const weight = i.output(binCount * 8);
      const sum = i.output(binCount * 8);
      const count = i.kernels.binAtoms(weight, sum, totals, table, 0, 0, 0);
      return [count, i.f64(weight, count), i.f64(sum, count).map(unsigned)];
    });
    sameBits(got, [want.length, Float64Array.from(want, (a) => a.weight), Float64Array.from(want, (a) => a.sum)]);
  }
});

test("atoms ascend, and none is outside of its bin's values", () => {
  for (const { values, name } of SETS) {
    if (name === "zeros of both signs") continue;
    const [weight, sum] = onEncoders((i) => {
      const { table, bins } = laidOut(i, values, 8192);
      const totals = totalsOf(i, table, bins, [values]);
      const weight = i.output(bins * 8);
      const sum = i.output(bins * 8);
      const count = i.kernels.binAtoms(weight, sum, totals, table, 0, 0, 0);
      return [i.f64(weight, count), i.f64(sum, count).map(unsigned)];
    }) as [Float64Array, Float64Array];
    const means = weight.map((w, a) => (sum[a] as number) / w);
    for (let a = 1; a < means.length; a++)
      expect(means[a], `${name} ${a}`).toBeGreaterThanOrEqual(means[a - 1] as number);
    expect(weight.reduce((a, b) => a + b, 0)).toBe(values.length);
  }
});

test.each(SETS)("weighted atoms of $name", ({ values }) => {
  const importance = Float32Array.from(values, () => (random.below(4) === 0 ? 0 : random.unit() ** 8));
  const counts = new Uint32Array(CELLS);
  for (const x of values) (counts[cellOf(x)] as number) += 1;
  const want = weightedAtoms(values, importance, binsOf(values, depths(counts, 4000)));
  const got = onEncoders((i) => {
    const { table, bins } = laidOut(i, values, 4000);
    const totals = i.inout(new Float64Array(2 * bins));
    const cut = values.length >> 1;
    i.kernels.histogramWeighted(
      totals,
      table,
      i.input(values.subarray(0, cut)),
      i.input(importance.subarray(0, cut)),
      cut,
    );
    i.kernels.histogramWeighted(
      totals,
      table,
      i.input(values.subarray(cut)),
      i.input(importance.subarray(cut)),
      values.length - cut,
    );
    const weight = i.output(bins * 8);
    const sum = i.output(bins * 8);
    const count = i.kernels.binAtoms(weight, sum, totals, table, 1, 0, 0);
    return [count, i.f64(weight, count), i.f64(sum, count).map(unsigned)];
  });
  sameBits(got, [want.length, Float64Array.from(want, (a) => a.weight), Float64Array.from(want, (a) => a.sum)]);
});

test("a bin holds 2^24 - 1 weights with the largest lower half before it is settled", () => {
  const lowest = new Float32Array(new Uint32Array([0x3f80ffff]).buffer);
  const [bins, totals] = onEncoders((i) => {
    const { table, bins } = laidOut(i, new Float32Array(0), 1);
    // one tile of 2^16 - 1, the bin's own word copied as if 256 of them and 255 more had come
    const full = BigInt(2 ** 24 - 1);
    const packed = new BigUint64Array(bins);
    packed[0x3f80] = (full << 40n) | (full * 0xffffn);
    const at = i.inout(packed);
    const totals = i.inout(new Float64Array(2 * bins));
    i.kernels.settle(totals, at, bins);
    i.kernels.histogram(at, table, i.input(lowest), 1);
    i.kernels.settle(totals, at, bins);
    return [bins, i.f64(totals + 0x3f80 * 16, 2)];
  }) as [number, Float64Array];
  expect(bins).toBe(FINITE_CELLS + 1);
  sameBits(totals, Float64Array.of(2 ** 24, 2 ** 24 * 0xffff));
});

test("infinities and NaN of any kind go to the last bin, where one look finds them", () => {
  const bad = new Float32Array(
    Uint32Array.of(0x7f800000, 0xff800000, 0x7fc00000, 0xffffffff, 0x7f80ffff, 0xff800001).buffer,
  );
  const finite = random.floats(500);
  for (const x of [...bad.keys()]) {
    const last = onEncoders((i) => {
      // they may be in the sample as well
      const { table, bins } = laidOut(i, x % 2 === 0 ? finite : bad, 8192);
      const packed = i.inout(new BigUint64Array(bins));
      i.kernels.histogram(packed, table, i.input(finite), finite.length);
      const none = i.f64(packed + (bins - 1) * 8, 1);
      i.kernels.histogram(packed, table, i.input(bad.subarray(x, x + 1)), 1);
      return [none, i.f64(packed + (bins - 1) * 8, 1)];
    }) as [Float64Array, Float64Array];
    expect(last[0][0]).toBe(0);
    expect(last[1][0]).not.toBe(0);
  }
});

test("distinct values: counts, importance, the limit, one zero", () => {
  for (const limit of [1, 5, 40, 200]) {
    for (let n = 0; n < 30; n++) {
      const pool = [...random.floats(1 + random.below(80)), 0, -0];
      const values = Float32Array.from({ length: random.below(400) }, () => random.pick(pool));
      const importance = random.below(2) === 0 ? undefined : Float32Array.from(values, () => random.below(3));
      const want = distinct(values, importance);
      const slots = 256;
      const cut = random.below(values.length + 1);
      const got = onEncoders((i) => {
        const table = i.inout(new Uint8Array(slots * 24));
        let known = 0;
        for (const [from, to] of [
          [0, cut],
          [cut, values.length],
        ] as const) {
          if (known < 0) break;
          const weights = importance ? i.input(importance.subarray(from, to)) : 0;
          known = i.kernels.countDistinct(
            table,
            slots,
            known,
            limit,
            i.input(values.subarray(from, to)),
            weights,
            to - from,
          );
        }
        if (known < 0) return [known];
        const at = i.output(known * 4);
        const weight = i.output(known * 8);
        return [known, i.kernels.distinctEntries(at, weight, table, slots), i.f32(at, known), i.f64(weight, known)];
      }) as [number, number, Float32Array, Float64Array];
      if (want.size > limit) {
        expect(got).toEqual([-1]);
        continue;
      }
      expect(got.slice(0, 2)).toEqual([want.size, want.size]);
      const found = new Map(Array.from(got[2], (x, e) => [x, got[3][e] as number]));
      expect(found.size).toBe(want.size);
      for (const [x, weight] of want) expect(found.get(x), String(x)).toBe(weight);
      for (const x of got[2]) expect(Object.is(x, -0)).toBe(false);
    }
  }
});
