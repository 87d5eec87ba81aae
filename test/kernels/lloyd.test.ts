// Lloyd: every step to the last bit, pinned centroids, empty clusters, ties, starts.
import { expect, test } from "vitest";
import { type Prefix, prefix } from "../reference/atoms.ts";
import type { Atom } from "../reference/histogram.ts";
import { lloyd, lloydCost } from "../reference/lloyd.ts";
import { onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const random = new Random(50);

function run(
  codebook: readonly number[],
  sums: Prefix,
  pinned: readonly boolean[] | undefined,
  steps: number,
): { codebook: Float64Array; steps: number } {
  const { kept, p0, p1, shift } = sums;
  const [taken, values] = onEncoders((i) => {
    const at = i.inout(Float64Array.from(codebook));
    const steps_ = i.kernels.lloyd(
      at,
      codebook.length,
      i.input(Float64Array.from(kept, (a) => a.weight)),
      i.input(Float64Array.from(kept, (a) => a.sum)),
      i.input(Float64Array.from(p0)),
      i.input(Float64Array.from(p1)),
      shift,
      kept.length,
      pinned ? i.input(Uint8Array.from(pinned, Number)) : 0,
      steps,
    );
    return [steps_, i.f64(at, codebook.length)];
  }) as [number, Float64Array];
  return { codebook: values, steps: taken };
}

function atomsOf(values: readonly number[]): Atom[] {
  return [...values]
    .sort((a, b) => a - b)
    .map((value) => {
      const weight = random.pick([1, 1, 2, 0.5]);
      return { weight, sum: weight * value };
    });
}

test("one step and all of them, with pins, empty clusters and ties", () => {
  let empty = 0;
  let many = 0;
  for (let n = 0; n < 500; n++) {
    const integers = n % 2 === 0; // ties: atoms in the middle of two centroids
    const value = (): number => (integers ? random.below(13) - 6 : random.normal());
    const sums = prefix(atomsOf(Array.from({ length: 1 + random.below(50) }, value)));
    const k = 1 + random.below(9);
    const codebook = Array.from({ length: k }, () => value() * random.pick([1, 1, 4])).sort((a, b) => a - b);
    const pinned = n % 3 === 0 ? undefined : codebook.map(() => random.below(4) === 0);
    for (const steps of [0, 1, 2, 100]) {
      const want = lloyd(codebook, sums, pinned ?? codebook.map(() => false), steps);
      const got = run(codebook, sums, pinned, steps);
      sameBits(got.codebook, Float64Array.from(want.codebook), `${n}, ${steps} steps`);
      expect(got.steps).toBe(want.steps);
      if (steps === 100) {
        expect(lloydCost(want.codebook, sums)).toBeLessThanOrEqual(lloydCost(codebook, sums) * (1 + 1e-12));
        if (want.steps > 5) many++;
      }
      if (steps === 1 && !pinned && want.codebook.some((c, j) => c === codebook[j])) empty++;
    }
    pinned?.forEach((pin, c) => {
      if (pin) expect(run(codebook, sums, pinned, 100).codebook[c]).toBe(codebook[c]);
    });
  }
  expect(empty).toBeGreaterThan(20);
  expect(many).toBeGreaterThan(10);
});

test("an atom in the middle goes to the lower centroid; an empty cluster stays", () => {
  const sums = prefix([0, 1, 2, 3].map((sum) => ({ weight: 1, sum })));
  // 1 lies between 0 and 2: with the lower
  expect([...run([0, 2, 100], sums, undefined, 1).codebook]).toEqual([0.5, 2.5, 100]);
});

test("starts: equal steps over the range, quantiles of the weight", () => {
  for (let n = 0; n < 100; n++) {
    const { kept, p0 } = prefix(atomsOf(Array.from({ length: 1 + random.below(40) }, () => random.normal())));
    const k = 1 + random.below(12);
    const means = kept.map(({ weight, sum }) => sum / weight);
    const [low, high] = [means[0] as number, means.at(-1) as number];
    const total = p0.at(-1) as number;
    const start = (kind: number): Float64Array =>
      onEncoders((i) => {
        const at = i.output(k * 8);
        const weight = i.input(Float64Array.from(kept, (a) => a.weight));
        i.kernels.lloydStart(
          at,
          k,
          weight,
          i.input(Float64Array.from(kept, (a) => a.sum)),
          i.input(Float64Array.from(p0)),
          kept.length,
          kind,
        );
        return i.f64(at, k);
      });
    sameBits(
      start(0),
      Float64Array.from({ length: k }, (_, c) => low + ((high - low) * (c + 0.5)) / k),
    );
    // the first atom with which the weight so far reaches (c + 0.5) / k of all
    sameBits(
      start(1),
      Float64Array.from({ length: k }, (_, c) => {
        const target = (total * (c + 0.5)) / k;
        const at = means.findIndex((_, a) => (p0[a + 1] as number) >= target);
        return (at < 0 ? high : means[at]) as number;
      }),
    );
  }
});
