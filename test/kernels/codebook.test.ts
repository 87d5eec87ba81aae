// Codebook: centroids, order and rounding; thresholds against exact arithmetic.
import { expect, test } from "vitest";
import { codebookOf, nearestCode, threshold, thresholds, tidy } from "../reference/codebook.ts";
import { floatAt, placeOf } from "../reference/float-order.ts";
import { rounded } from "../reference/half.ts";
import type { Atom } from "../reference/histogram.ts";
import { onEncoders, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const random = new Random(60);

test("tidy: ascending, distinct, one zero, the last repeated", () => {
  for (let n = 0; n < 400; n++) {
    const pool = [...random.floats(1 + random.below(20)), 0, -0];
    const values = Float32Array.from({ length: random.below(30) }, () => random.pick(pool));
    const k = values.length + random.below(4);
    const want = tidy([...values], k);
    const input = new Float32Array(k);
    input.set(values);
    const got = onEncoders((i) => {
      const at = i.inout(input);
      return [i.kernels.tidy(at, values.length, k), i.f32(at, k)];
    });
    sameBits(got, [want.distinct, Float32Array.from(want.codebook)]);
  }
});

test("centroids of intervals and pins, rounded to the format", () => {
  for (let n = 0; n < 600; n++) {
    const atoms: Atom[] = Array.from(random.normals(1 + random.below(40)).sort(), (x) => {
      const weight = random.below(5) + 1;
      return { weight, sum: weight * x };
    });
    const k = 1 + random.below(10);
    const pins: number[] = [];
    const kinds: number[] = Array.from({ length: k }, () => (random.below(4) === 0 ? 0 : -1));
    kinds.forEach((kind, t) => {
      if (kind < 0) return;
      kinds[t] = pins.length;
      pins.push(Math.fround(random.pick([0, -0, random.normal()])));
    });
    const bounds = Array.from({ length: k - 1 }, () => random.below(atoms.length + 1)).sort((a, b) => a - b);
    bounds.unshift(0);
    bounds.push(atoms.length);
    const format = n % 3;
    const want = codebookOf(bounds, kinds, atoms, pins, format);
    const got = onEncoders((i) => {
      const at = i.output(k * 4);
      const distinct = i.kernels.codebookOf(
        at,
        i.input(Int32Array.from(bounds)),
        i.input(Int32Array.from(kinds)),
        k,
        i.input(Float64Array.from(atoms, (a) => a.weight)),
        i.input(Float64Array.from(atoms, (a) => a.sum)),
        i.input(Float32Array.from(pins)),
        format,
      );
      return [distinct, i.f32(at, k)];
    });
    sameBits(got, [want.distinct, Float32Array.from(want.codebook)]);
    expect(want.codebook.every((x) => pins.includes(x) || rounded(x, format) === x)).toBe(true);
  }
});

function kernelThresholds(codebook: Float32Array, padded: number): Float32Array {
  return onEncoders((i) => {
    const dst = i.output(Math.max(padded, codebook.length - 1) * 4);
    i.kernels.thresholds(dst, i.input(codebook), codebook.length, padded);
    return i.f32(dst, Math.max(padded, codebook.length - 1));
  });
}

/** Two float32 that are near, far, of opposite signs, subnormal, huge, equal. */
function pair(): [number, number] {
  const a = random.float();
  switch (random.below(6)) {
    case 0: // neighbours, or nearly
      return [a, floatAt(Math.min(placeOf(3.4028234663852886e38), placeOf(a) + 1 + random.below(4)))];
    case 1: // exponents more than 29 apart
      return [a, Math.fround(a * 2 ** (random.below(120) - 60))];
    case 2: // opposite
      return [a, -a];
    case 3: // nearly opposite
      return [a, -floatAt(Math.min(placeOf(3.4028234663852886e38), placeOf(a) + random.below(3)))];
    case 4:
      return [a, a];
    default:
      return [a, random.float()];
  }
}

test("40,000 pairs: the largest float32 that is not nearer to the upper value", () => {
  let exactTies = 0;
  for (let n = 0; n < 40; n++) {
    // 500 codebooks of two values in one call each would be slow to start: one codebook of pairs with its own threshold
    const pairs = Array.from({ length: 1000 }, pair).map(([a, b]) => {
      const [low, high] = Number.isFinite(b) ? [Math.min(a, b) + 0, Math.max(a, b) + 0] : [a, a];
      return [low, high] as const;
    });
    const flat = Float32Array.from(pairs.flat());
    // every second threshold is that of a pair
    const got = onEncoders((i) => {
      const dst = i.output(flat.length * 4);
      i.kernels.thresholds(dst, i.input(flat), flat.length, flat.length);
      const all = i.f32(dst, flat.length);
      return Float32Array.from(pairs, (_, p) => all[2 * p] as number);
    });
    const want = Float32Array.from(pairs, ([a, b]) => (a === b ? Number.POSITIVE_INFINITY : threshold(a, b)));
    pairs.forEach(([a, b], p) => {
      if (!Object.is(got[p], want[p])) throw new Error(`threshold of ${a} and ${b} is ${got[p]}, want ${want[p]}`);
      if (a + b === 2 * (want[p] as number)) exactTies++;
    });
  }
  expect(exactTies).toBeGreaterThan(1000);
});

test("neighbours around every power of two and at the ends of the range", () => {
  const edges = [3.4028234663852886e38, 0, -(2 ** -149)];
  for (let e = -149; e < 128; e++) edges.push(2 ** e, -(2 ** e));
  for (const edge of edges) {
    const places = [-2, -1, 0, 1, 2].map((d) => placeOf(edge) + d).filter((p) => Number.isFinite(floatAt(p)));
    for (const p of places) {
      for (const q of places) {
        if (p >= q) continue;
        const [a, b] = [floatAt(p) + 0, floatAt(q) + 0];
        if (a === b) continue;
        const got = kernelThresholds(Float32Array.of(a, b), 1)[0] as number;
        if (!Object.is(got, threshold(a, b)))
          throw new Error(`threshold of ${a} and ${b} is ${got}, want ${threshold(a, b)}`);
      }
    }
  }
});

test("whole codebooks, padding, and the codes that follow are the nearest", () => {
  for (let n = 0; n < 150; n++) {
    const k = 1 + random.below(20);
    const values = Float32Array.from(tidy([...(n % 2 === 0 ? random.floats(k) : random.normals(k))], k).codebook);
    const padded = random.pick([0, k - 1, k, 32, 256]);
    const got = kernelThresholds(values, padded);
    sameBits(got, thresholds(values, padded));
    for (let x = 0; x < 40; x++) {
      const t = got[random.below(Math.max(1, got.length))] ?? 0;
      const w = Number.isFinite(t) && x % 2 === 0 ? floatAt(placeOf(t) + random.below(3) - 1) : random.float();
      if (!Number.isFinite(w)) continue;
      const code = got.filter((limit) => limit < w).length;
      expect(code, `${w} in ${values.join()}`).toBe(nearestCode(w, values));
    }
  }
});
