// Atoms: prefix sums to the last bit, and cells that are whole, ascending and about as many as asked for.
import { expect, test } from "vitest";
import { prefix } from "../reference/atoms.ts";
import type { Atom } from "../reference/histogram.ts";
import { onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const random = new Random(9);

/** Ascending atoms; weights of any size, some too small to be felt. */
function randomAtoms(count: number, unit: boolean): Atom[] {
  const values = random.normals(count).sort();
  return Array.from(values, (value) => {
    const weight = unit ? 1 : random.pick([1, 0.25, 1e-30, 7, 1e-10, 1000]) * random.unit() + 2 ** -200;
    return { weight, sum: weight * value };
  });
}

test("prefix sums around the mean; atoms too light to be felt are dropped", () => {
  let dropped = 0;
  for (let n = 0; n < 300; n++) {
    const atoms = randomAtoms(random.below(60), n % 2 === 0);
    const want = prefix(atoms);
    dropped += atoms.length - want.kept.length;
    const got = onEncoders((i) => {
      const p0 = i.output((atoms.length + 1) * 8);
      const p1 = i.output((atoms.length + 1) * 8);
      const weight = i.inout(Float64Array.from(atoms, (a) => a.weight));
      const sum = i.inout(Float64Array.from(atoms, (a) => a.sum));
      const shift = i.output(8);
      const kept = i.kernels.prefix(p0, p1, weight, sum, atoms.length, shift);
      return [kept, i.f64(shift, 1), i.f64(p0, kept + 1), i.f64(p1, kept + 1), i.f64(weight, kept), i.f64(sum, kept)];
    });
    sameBits(got, [
      want.kept.length,
      Float64Array.of(want.shift),
      Float64Array.from(want.p0),
      Float64Array.from(want.p1),
      Float64Array.from(want.kept, (a) => a.weight),
      Float64Array.from(want.kept, (a) => a.sum),
    ]);
    expect(want.kept.every((_, a) => (want.p0[a + 1] as number) > (want.p0[a] as number))).toBe(true);
  }
  expect(dropped).toBeGreaterThan(100);
});

test("no atoms, and atoms without weight, leave nothing", () => {
  for (const atoms of [
    [],
    [
      { weight: 0, sum: 0 },
      { weight: 0, sum: 0 },
    ],
  ]) {
    const got = onEncoders((i) => {
      const p0 = i.output(24);
      const shift = i.output(8);
      const weight = i.inout(Float64Array.from(atoms, (a) => a.weight));
      const kept = i.kernels.prefix(
        p0,
        i.output(24),
        weight,
        i.inout(Float64Array.from(atoms, (a) => a.sum)),
        atoms.length,
        shift,
      );
      return [kept, i.f64(shift, 1), i.f64(p0, 1)];
    });
    sameBits(got, [0, Float64Array.of(0), Float64Array.of(0)]);
  }
});

test("cells begin at 0, end at the last atom, ascend, and hold about equal shares", () => {
  for (let n = 0; n < 200; n++) {
    const atoms = prefix(randomAtoms(1 + random.below(800), n % 2 === 0)).kept;
    const count = atoms.length;
    const target = 1 + random.below(300);
    const cells = onEncoders((i) => {
      const at = i.output((Math.min(target, count) + 1) * 4);
      const weight = i.input(Float64Array.from(atoms, (a) => a.weight));
      const m = i.kernels.coarsen(at, weight, i.input(Float64Array.from(atoms, (a) => a.sum)), count, target);
      return i.i32(at, m + 1);
    });
    const m = cells.length - 1;
    expect(cells[0]).toBe(0);
    expect(cells[m]).toBe(count);
    expect(m).toBeLessThanOrEqual(target);
    expect(cells.every((first, c) => c === m || (cells[c + 1] as number) > first)).toBe(true);
    if (count <= target) {
      expect(m).toBe(count);
      continue;
    }
    // (weight * gap^2)^(1/3), the integral of density^(1/3) over an atom (see reference/histogram.ts)
    const mean = (a: number): number => (atoms[a] as Atom).sum / (atoms[a] as Atom).weight;
    const share = atoms.map(({ weight }, a) =>
      Math.cbrt(weight * (mean(Math.min(a + 1, count - 1)) - mean(Math.max(a - 1, 0))) ** 2),
    );
    const step = share.reduce((a, b) => a + b, 0) / target;
    for (let c = 0; c < m; c++) {
      const own = share.slice(cells[c], cells[c + 1]);
      const largest = Math.max(...own);
      // atoms belong to the cell of their middle, so a cell reaches over its step by half an atom at either end
      const total = own.reduce((a, b) => a + b, 0);
      if (total > (step + largest) * 1.01) throw new Error(`case ${n}: cell ${c} of ${m} holds ${total / step} shares`);
    }
  }
});

test("a gap and outliers take one cell each, the rest is for the other atoms", () => {
  const clumps = Array.from({ length: 2000 }, (_, a) => ({ weight: 500, sum: 500 * (a < 1000 ? a : 1e6 + a) }));
  const outliers = Array.from({ length: 2000 }, (_, a) => ({ weight: 1, sum: a < 1990 ? a : 1e9 * (a - 1989) }));
  for (const atoms of [clumps, outliers]) {
    const cells = onEncoders((i) => {
      const at = i.output(101 * 4);
      const weight = i.input(Float64Array.from(atoms, (a) => a.weight));
      const m = i.kernels.coarsen(at, weight, i.input(Float64Array.from(atoms, (a) => a.sum)), 2000, 100);
      return i.i32(at, m + 1);
    });
    expect(cells.length - 1).toBeGreaterThan(90);
    for (let c = 1; c < cells.length; c++) expect((cells[c] as number) - (cells[c - 1] as number)).toBeLessThan(30);
  }
});
