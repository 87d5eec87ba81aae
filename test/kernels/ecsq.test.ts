// Ecsq: logarithms, counts beside importance, partitions and their thresholds, to the last bit.
import { expect, test } from "vitest";
import { prefix } from "../reference/atoms.ts";
import { ecsq, log2, type Points } from "../reference/ecsq.ts";
import { exact, floatAt, placeOf } from "../reference/float-order.ts";
import { type EncodeInstance, onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const random = new Random(77);

interface WeighedAtom {
  readonly weight: number;
  readonly sum: number;
  readonly tally: number;
}

test("log2: the reference's bits, exact at powers of two, within 1e-15", () => {
  for (let n = 0; n < 2000; n++) {
    const x = n < 200 ? 2 ** (n - 100) : (random.unit() + 2 ** -40) * 2 ** (random.below(200) - 100);
    const got = onEncoders((i) => {
      i.output(8); // memory under guard, which it must not touch
      return i.kernels.binaryLogarithm(x);
    });
    sameBits(got, log2(x));
    expect(Math.abs(got - Math.log2(x))).toBeLessThanOrEqual(1e-15 * Math.max(1, Math.abs(got)));
    if (n < 200) expect(got).toBe(n - 100);
  }
});

function pointsOf(atoms: readonly WeighedAtom[]): Points {
  const sums = prefix(atoms);
  const n0 = [0];
  let n = 0;
  let w = 0;
  for (const { weight, tally } of atoms) {
    n += tally;
    // the weights of an atom too light to be felt count with its neighbour
    if (w + weight > w) {
      w += weight;
      n0.push(n);
    } else if (n0.length > 1) n0[n0.length - 1] = n;
  }
  let square = 0;
  for (const { weight, sum } of sums.kept) square += weight * (sum / weight - sums.shift) * (sum / weight - sums.shift);
  return { ...sums, n0, square };
}

function load(i: EncodeInstance, atoms: readonly WeighedAtom[], tallied: boolean) {
  const room = (atoms.length + 1) * 8;
  const [values, p0, p1, n0, about] = [i.output(room), i.output(room), i.output(room), i.output(room), i.output(16)];
  const weight = i.inout(Float64Array.from(atoms, (a) => a.weight));
  const sum = i.inout(Float64Array.from(atoms, (a) => a.sum));
  const tally = tallied ? i.input(Float64Array.from(atoms, (a) => a.tally)) : 0;
  const count = i.kernels.ecsqPrefix(values, p0, p1, n0, weight, sum, tally, atoms.length, about);
  const [shift = 0, square = 0] = i.f64(about, 2);
  return { values, p0, p1, n0, weight, sum, count, shift, square };
}

function atomsOf(count: number, tallied: boolean): WeighedAtom[] {
  return Array.from(random.normals(count).sort(), (value) => {
    const weight = tallied ? random.pick([1, 0.01, 30, 1e-30]) * (random.unit() + 0.1) : 1 + random.below(3);
    return { weight, sum: weight * value, tally: tallied ? 1 + random.below(3) : weight };
  });
}

test("prefix sums with counts, partitions for any lambda, their codebook and thresholds", () => {
  let many = 0;
  let limited = 0;
  for (let n = 0; n < 240; n++) {
    const tallied = n % 3 === 0;
    const atoms = atomsOf(2 + random.below(400), tallied);
    const points = pointsOf(atoms);
    const all = points.n0.at(-1) as number;
    const lambda = (2 * points.square * 4 ** -(random.unit() * 6)) / all;
    const entry = random.pick([0, 5, 40]);
    const levels = random.pick([2, 5, 256]);
    const offset = random.pick([0, 0.25, 0.5]);
    const want = ecsq(points, lambda, entry, levels, offset);
    const k = want.centers.length;
    if (k > 10) many++;
    if (k === levels) limited++;
    const got = onEncoders((i) => {
      const at = load(i, atoms, tallied);
      const [bounds, centers, lengths] = [i.output(4 * 1026), i.output(8 * 1025), i.output(8 * 1025)];
      const result = i.output(32);
      const { values, weight, sum, p0, p1, n0, count, shift, square } = at;
      const before = [i.f64(n0, count + 1), square];
      const cells = i.kernels.ecsq(
        ...([bounds, centers, lengths, result, values, weight, sum, p0, p1, n0, count] as const),
        ...([shift, square, lambda, entry, levels, 0, 0, offset] as const),
      );
      const found = [i.i32(bounds, cells + 1), i.f64(centers, cells), i.f64(lengths, cells), i.f64(result, 3)];
      const [codebook, thresholds] = [i.output(4 * 1025), i.output(4 * 1025)];
      const distinct = i.kernels.codebookOfCells(
        ...([codebook, thresholds, bounds, centers, lengths, cells, weight, sum, p0, n0, lambda, -1, 0, 0] as const),
      );
      return [...before, cells, ...found, distinct, i.f32(codebook, distinct), i.f32(thresholds, distinct - 1)];
    });
    sameBits(got.slice(0, 7), [
      Float64Array.from(points.n0),
      points.square,
      k,
      Int32Array.from(want.bounds),
      Float64Array.from(want.centers),
      Float64Array.from(want.lengths),
      Float64Array.of(want.bits, want.error, want.cost),
    ]);
    // values are the means, rounded; decisions are rounded down
    const means = want.bounds.slice(0, -1).map((begin, c) => {
      const members = points.kept.slice(begin, want.bounds[c + 1]);
      const [w, s] = members.reduce(([a, b], m) => [a + m.weight, b + m.sum], [0, 0]) as [number, number];
      return Math.fround(s / w);
    });
    const values = got[8] as Float32Array;
    sameBits([got[7] as number, values], [new Set(means).size, Float32Array.from(new Set(means))]);
    if (new Set(means).size < k) continue;
    (got[9] as Float32Array).forEach((t, c) => {
      const [begin, end] = [want.bounds[c] as number, want.bounds[c + 2] as number];
      const ratio =
        ((points.n0[end] as number) - (points.n0[begin] as number)) /
        ((points.p0[end] as number) - (points.p0[begin] as number));
      const [a, b] = [values[c] as number, values[c + 1] as number];
      const more = (want.lengths[c + 1] as number) - (want.lengths[c] as number);
      const decision = 0.5 * (a + b) + (lambda * ratio * more) / (2 * (b - a));
      const ascending = c > 0 && t === (got[9] as Float32Array)[c - 1];
      if (!ascending) expect(t <= decision && floatAt(placeOf(t) + 1) > decision, `${t} for ${decision}`).toBe(true);
      expect(exact(t)).toBeTypeOf("bigint");
    });
  }
  expect(many).toBeGreaterThan(20);
  expect(limited).toBeGreaterThan(20);
});

test("atoms count the weights they stand for, those without importance too", () => {
  const got = onEncoders((i) => {
    const [weight, sum, tally] = [i.output(40), i.output(40), i.output(40)];
    const values = i.input(Float32Array.of(-1, -1, 0, 2, 2));
    const atoms = i.kernels.mergeEqual(weight, sum, values, i.input(Float64Array.of(1, 2, 0, 0.5, 0)), 5, tally);
    return [atoms, i.f64(weight, atoms), i.f64(sum, atoms), i.f64(tally, atoms)];
  });
  sameBits(got, [3, Float64Array.of(3, 0, 0.5), Float64Array.of(-3, 0, 1), Float64Array.of(2, 1, 2)]);
});
