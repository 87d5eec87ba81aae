// What rounds promise, whatever the options: frozen stays frozen, the end is quantized, a state goes on where it was.
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { createSlq, resumeSlq, type Slq, type SlqLayers, type SlqOptions } from "../../src/slq/index.ts";
import { sameBits, wasmBytes } from "../kernels/instances.ts";
import { Random } from "../kernels/random.ts";
import { firstChange, train } from "./training.ts";

interface Run {
  readonly options: SlqOptions;
  readonly seed: number;
  readonly counts: readonly number[];
  readonly shape: "normal" | "sparse" | "few values" | "one value" | "zeros";
  readonly measured: boolean;
}

const ascending = (most: number): fc.Arbitrary<number[]> =>
  fc
    .uniqueArray(fc.integer({ min: 1, max: most - 1 }), { maxLength: 3 })
    .map((list) => [...list].sort((a, b) => a - b).concat(most));

const shares = fc.uniqueArray(fc.integer({ min: 1, max: 19 }), { maxLength: 4 }).map((list) =>
  [...list]
    .sort((a, b) => a - b)
    .map((x) => x / 20)
    .concat(1),
);

const byLevels = (levels: number): fc.Arbitrary<SlqOptions> =>
  fc.record(
    {
      levels: fc.constant(levels),
      grid: levels % 2 === 1 ? fc.constantFrom("free", "pow2", "inq") : fc.constant("free"),
      pinZero: fc.boolean(),
      partition: fc.constantFrom("magnitude", "error"),
      schedule: fc.oneof(
        ascending(levels).map((clusters) => ({ clusters })),
        shares.map((fractions) => ({ fractions })),
      ),
      prune: fc.record({ sparsity: fc.constantFrom(0.3, 0.9, 1), schedule: shares }),
    } as const,
    { requiredKeys: ["levels"] },
  );

const states: fc.Arbitrary<SlqOptions> = fc.record({
  levels: fc.constantFrom(3, 5),
  symmetric: fc.boolean(),
  pinZero: fc.boolean(),
  schedule: fc.constantFrom({ states: "loss" } as const, { states: "depth-first" } as const),
});

const symmetric: fc.Arbitrary<SlqOptions> = fc.record({
  levels: fc.integer({ min: 2, max: 17 }),
  symmetric: fc.constant(true),
});

const runs: fc.Arbitrary<Run> = fc.record({
  options: fc.oneof({ arbitrary: fc.integer({ min: 2, max: 40 }).chain(byLevels), weight: 4 }, states, symmetric),
  seed: fc.nat(),
  counts: fc.array(fc.constantFrom(1, 2, 15, 16, 17, 100, 333, 2100), { minLength: 1, maxLength: 3 }),
  shape: fc.constantFrom("normal", "normal", "sparse", "few values", "one value", "zeros"),
  measured: fc.boolean(),
});

function layersOf({ seed, counts, shape }: Run): Record<string, Float32Array> {
  const random = new Random(seed);
  const draw = {
    normal: () => random.normal(),
    sparse: () => (random.below(10) < 6 ? 0 : random.normal()),
    "few values": () => random.below(5) - 2,
    "one value": () => 0.37,
    zeros: () => 0,
  }[shape];
  return Object.fromEntries(counts.map((count, l) => [`layer${l}`, Float32Array.from({ length: count }, draw)]));
}

function copyOf(layers: Record<string, Float32Array>): Record<string, Float32Array> {
  return Object.fromEntries(Object.entries(layers).map(([name, weights]) => [name, weights.slice()]));
}

/** A loss that depends on every weight. */
function lossOf(slq: Slq): number {
  let loss = 0;
  for (const weights of Object.values(slq.weights))
    for (const [i, x] of weights.entries()) loss += x * x * (1 + (i % 7));
  return loss;
}

async function next(slq: Slq, { measured, options }: Run): Promise<void> {
  const evaluate = measured && options.partition === undefined ? () => lossOf(slq) : undefined;
  await slq.next({ evaluate });
}

describe("whatever the options", () => {
  test("frozen weights keep their bits, masks only lose weights, the end is quantized", async () => {
    await fc.assert(
      fc.asyncProperty(runs, async (run) => {
        const slq = await createSlq(layersOf(run) as SlqLayers, run.options);
        let frozen = -1;
        while (!slq.done) {
          const before = copyOf(slq.weights);
          const masks = Object.fromEntries(Object.entries(slq.masks).map(([name, mask]) => [name, mask.slice()]));
          await next(slq, run);
          for (const [name, weights] of Object.entries(slq.weights)) {
            expect(firstChange(before[name] as Float32Array, weights, masks[name] as Uint8Array)).toBe(-1);
            const mask = slq.masks[name] as Uint8Array;
            expect(mask.every((m, i) => m <= (masks[name]?.[i] as number))).toBe(true);
            // free weights are not touched by a round
            expect(
              firstChange(
                before[name] as Float32Array,
                weights,
                mask.map((m) => 1 - m),
              ),
            ).toBe(-1);
          }
          expect(slq.check()).toBeUndefined();
          const now = slq.history.at(-1)?.frozen as number;
          expect(now).toBeGreaterThanOrEqual(frozen);
          frozen = now;
          train(slq, run.seed + slq.round);
        }
        for (const [name, weights] of Object.entries(slq.weights)) {
          const levels = slq.plan.layers.find((layer) => layer.name === name)?.levels as number;
          const codebook = new Set(slq.codebooks[name]);
          expect(codebook.size).toBeLessThanOrEqual(levels);
          expect(weights.every((w) => codebook.has(w))).toBe(true);
          expect(slq.masks[name]?.every((m) => m === 0)).toBe(true);
        }
        await expect(slq.next()).rejects.toThrow(RangeError);
      }),
      { numRuns: 250, seed: 1 },
    );
  });

  test("stopped, saved and resumed after every round: the same bytes in the end", async () => {
    await fc.assert(
      fc.asyncProperty(runs, async (run) => {
        const whole = await createSlq(layersOf(run) as SlqLayers, run.options);
        let parts = await createSlq(layersOf(run) as SlqLayers, run.options);
        sameBits(parts.save(), whole.save(), "state before the first round");
        while (!whole.done) {
          await next(whole, run);
          train(whole, run.seed + whole.round);
          parts = await resumeSlq(parts.save());
          await next(parts, run);
          parts = await resumeSlq(parts.save(), copyOf(parts.weights) as SlqLayers);
          train(parts, run.seed + parts.round);
          sameBits(parts.save(), whole.save(), `state after round ${whole.round}`);
        }
      }),
      { numRuns: 120, seed: 2 },
    );
  });
});

type Entry = typeof import("../../src/slq/index.ts");

async function entry(build: "simd" | "scalar"): Promise<Entry> {
  vi.resetModules();
  const copy: Entry = await import("../../src/slq/index.ts");
  await copy.initSlq({ encode: wasmBytes(`encode.${build}`), slq: wasmBytes(`slq.${build}`) });
  return copy;
}

test("SIMD and scalar builds give the same states", async () => {
  const [simd, scalar] = [await entry("simd"), await entry("scalar")];
  const random = new Random(3);
  const weights = random.normals(150_000);
  for (const options of [
    { levels: 17 },
    { levels: 9, grid: "pow2", schedule: { fractions: [0.3, 1] } },
    { levels: 5, symmetric: true },
    { levels: 65, prune: { sparsity: 0.8 }, partition: "error" },
    { ...simd.presets.reference },
    { ...simd.presets.mlq },
  ] as SlqOptions[]) {
    const slqs = [];
    for (const { createSlq: create } of [simd, scalar]) {
      const slq = await create({ a: weights.slice(), b: weights.slice(0, 999) }, options);
      while (!slq.done) {
        await slq.next();
        train(slq, slq.round);
      }
      slqs.push(slq.save());
    }
    sameBits(slqs[0] as Uint8Array, slqs[1] as Uint8Array, JSON.stringify(options));
  }
});
