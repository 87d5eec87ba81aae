// Scale: scaled codebooks, normalized weights and the sums behind a scale, in runs of groups.
import { expect, test } from "vitest";
import { normalized, type Runs, scaleCodebook, scaleSums } from "../reference/scale.ts";
import { onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const random = new Random(100);

function runs(count: number): Runs {
  const inner = random.pick([1, 2, 3, 16, 17, 64]);
  // now and then all weights lie in one period
  const groups = random.below(3) === 0 ? Math.ceil((count + inner) / inner) + 1 : 1 + random.below(9);
  return { inner, groups, first: random.below(random.below(2) === 0 ? inner : inner * groups) };
}

test("a codebook times a factor, rounded to the tensor's dtype; ascending stays ascending", () => {
  for (let n = 0; n < 400; n++) {
    const levels = 1 + random.below(40);
    const values = (n % 2 === 0 ? random.normals(levels) : random.floats(levels)).sort();
    const factor = random.pick([0, 1, 2 ** -24, Math.fround(random.unit()), Math.fround(random.unit() * 1e-3), 0.5]);
    for (const format of [0, 1, 2]) {
      const want = scaleCodebook(values, factor, format);
      const got = onEncoders((i) => {
        const dst = i.output(levels * 4);
        i.kernels.scaleCodebook(dst, i.input(values), levels, factor, format);
        return i.f32(dst, levels);
      });
      sameBits(got, want);
      for (let c = 1; c < levels; c++) expect(want[c]).toBeGreaterThanOrEqual(want[c - 1] as number);
    }
  }
});

test("weights times the inverse of their scale, importance times its square", () => {
  for (let n = 0; n < 300; n++) {
    const count = random.below(300);
    const { inner, groups, first } = runs(count);
    const src = n % 4 === 1 ? random.floats(count) : random.normals(count);
    const importance = n % 2 === 0 ? undefined : Float32Array.from(src, () => random.unit());
    const inverse = random.normals(groups);
    const square = random.normals(groups).map((x) => x * x);
    const want = normalized(src, importance, inverse, square, { inner, groups, first });
    for (const period of groups * inner >= first + count ? [groups, -1] : [groups]) {
      sameBits(
        onEncoders((i) => {
          const dst = i.output(count * 4);
          const cost = i.output(count * 4);
          i.kernels.normalizeRuns(
            dst,
            cost,
            i.input(src),
            importance ? i.input(importance) : 0,
            count,
            i.input(inverse),
            i.input(square),
            inner,
            period,
            first,
          );
          return [i.f32(dst, count), i.f32(cost, count)];
        }),
        [want.values, want.cost],
      );
    }
  }
});

test("sums per group, added to what is there", () => {
  for (let n = 0; n < 300; n++) {
    const count = random.below(300);
    const { inner, groups, first } = runs(count);
    const src = n % 5 === 0 ? random.floats(count) : random.normals(count);
    const values = n % 3 === 0 ? undefined : src.map((x) => x + random.normal());
    const importance = n % 2 === 0 ? undefined : Float32Array.from(src, () => random.unit());
    const before = Float64Array.from({ length: groups * 4 }, () => random.unit());
    const want = scaleSums(before, src, values, importance, { inner, groups, first });
    sameBits(
      onEncoders((i) => {
        const out = i.inout(before);
        i.kernels.scaleSums(
          out,
          i.input(src),
          values ? i.input(values) : 0,
          importance ? i.input(importance) : 0,
          count,
          inner,
          groups,
          first,
        );
        return i.f64(out, groups * 4);
      }),
      want,
    );
  }
});
