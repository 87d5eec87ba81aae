// Rounds: what is clustered, what freezes first, what losses do, grids, MLQ, pruning, and what is refused.
import { describe, expect, test } from "vitest";
import {
  createSlq,
  maskF32,
  presets,
  type RoundReport,
  resumeSlq,
  type SlqOptions,
  WlqError,
} from "../../src/slq/index.ts";
import { sameBits } from "../kernels/instances.ts";
import { Random } from "../kernels/random.ts";
import { optimal } from "../reference/optimal.ts";
import { costOf, inqValue, leastCost } from "../reference/powers.ts";
import { train } from "./training.ts";

const normals = (seed: number, count: number, scale = 1): Float32Array =>
  new Random(seed).normals(count).map((x) => x * scale);
const errorOf = (report: RoundReport): number =>
  report.layers[0]?.clusters.reduce((sum, { error }) => sum + error, 0) as number;
const frozenNow = (report: RoundReport, layer = 0): number[] =>
  report.layers[layer]?.clusters.filter(({ frozen }) => frozen === "now").map(({ value }) => value) as number[];

describe("clusters", () => {
  test("each round is the optimum over the free weights, frozen values kept", async () => {
    for (const [levels, pinZero] of [
      [5, true],
      [9, false],
      [16, true],
    ] as const) {
      const weights = normals(levels, 400);
      const slq = await createSlq({ w: weights }, { levels, pinZero });
      let pins: number[] = pinZero ? [0] : [];
      while (!slq.done) {
        const free = [...weights].filter((_, i) => slq.masks.w?.[i] === 1);
        const want = optimal(free, undefined, levels, pins).cost;
        const report = await slq.next();
        // centroids are rounded to float32
        expect(errorOf(report)).toBeLessThanOrEqual(want * (1 + 1e-5) + 1e-12);
        const kept = report.layers[0]?.clusters
          .filter(({ frozen }) => frozen !== "free")
          .map(({ value }) => value) as number[];
        for (const pin of pins) expect([...(slq.codebooks.w as Float32Array)]).toContain(pin);
        pins = [...new Set(pinZero ? [0, ...kept] : kept)].sort((a, b) => a - b);
        train(slq, slq.round);
      }
    }
  });

  test("a trained weight that comes to a frozen value freezes there", async () => {
    const weights = normals(3, 1000);
    const slq = await createSlq({ w: weights }, { levels: 9 });
    const { layers } = await slq.next();
    const frozen = layers[0]?.clusters.filter((c) => c.frozen === "now").map((c) => c.value) as number[];
    const i = slq.masks.w?.indexOf(1) as number;
    weights[i] = (frozen.at(-1) as number) + 1e-4;
    await slq.next();
    expect(weights[i]).toBe(frozen.at(-1));
    expect(slq.masks.w?.[i]).toBe(0);
  });

  test("few distinct values are met exactly", async () => {
    const weights = Float32Array.from({ length: 500 }, (_, i) => [0.5, -0.25, 0, 3][i % 4] as number);
    const before = weights.slice();
    const slq = await createSlq({ w: weights }, { levels: 17 });
    while (!slq.done) expect((await slq.next()).layers[0]?.sqnrDb ?? null).toBeNull();
    sameBits(weights, before);
  });

  test("symmetric codebooks", async () => {
    for (const levels of [2, 3, 5, 8, 17]) {
      const weights = normals(levels, 3000);
      const slq = await createSlq({ w: weights }, { levels, symmetric: true });
      while (!slq.done) {
        await slq.next();
        train(slq, slq.round);
        const codebook = [...(slq.codebooks.w as Float32Array)];
        expect(codebook.map((x) => (x === 0 ? 0 : -x)).reverse()).toEqual(codebook);
        expect(codebook.includes(0)).toBe(levels % 2 === 1);
      }
    }
  });
});

describe("partition", () => {
  test("magnitude: zero first, then the largest, positive before negative", async () => {
    const slq = await createSlq({ w: normals(5, 5000) }, { levels: 9, schedule: { clusters: [1, 3, 9] } });
    expect(frozenNow(await slq.next())).toEqual([0]);
    const second = frozenNow(await slq.next());
    const sizes = [...(slq.codebooks.w as Float32Array)].map(Math.abs).sort((a, b) => b - a);
    expect(second.map(Math.abs).sort((a, b) => b - a)).toEqual(sizes.slice(0, 2));
  });

  test("error: the clusters with the largest squared error first", async () => {
    const slq = await createSlq(
      { w: normals(6, 5000) },
      { levels: 9, partition: "error", schedule: { clusters: [4, 9] } },
    );
    const report = await slq.next();
    const errors = report.layers[0]?.clusters.map(({ error }) => error).sort((a, b) => b - a) as number[];
    const taken = report.layers[0]?.clusters
      .filter(({ frozen }) => frozen === "now")
      .map(({ error }) => error) as number[];
    expect(taken.sort((a, b) => b - a)).toEqual(errors.slice(0, 4));
  });

  test("loss: each cluster alone is in place during its trial, what hurts most freezes first, all is put back", async () => {
    const weights = normals(7, 2000);
    const before = weights.slice();
    const slq = await createSlq({ w: weights }, { levels: 5, schedule: { clusters: [2, 5] } });
    const [probe] = await slq.probe();
    const seen: (number | null)[] = [];
    const harm = new Map<number, number>();
    const report = await slq.next({
      evaluate: async (trial) => {
        seen.push(trial?.values[0] ?? null);
        await Promise.resolve();
        for (const [i, w] of weights.entries()) {
          const value = probe?.codebook[probe.codes[i] as number];
          if (trial && value === trial.values[0]) expect(w).toBe(value);
          else expect(w).toBe(before[i]);
        }
        const loss = trial ? Math.abs((trial.values[0] as number) - 0.7) : 0.25;
        if (trial) harm.set(trial.values[0] as number, loss);
        return loss;
      },
    });
    expect(seen[0]).toBeNull();
    expect(seen).toHaveLength(6);
    expect(report.evaluations).toBe(6);
    expect(report.baseline).toBe(0.25);
    expect(report.partition).toBe("loss");
    const worst = [...harm]
      .sort((a, b) => b[1] - a[1])
      .slice(0, 2)
      .map(([value]) => value);
    expect(frozenNow(report).sort()).toEqual(worst.sort());
    expect(report.layers[0]?.clusters.every(({ value, loss }) => loss === harm.get(value))).toBe(true);
    for (const [i, mask] of (slq.masks.w as Uint8Array).entries()) if (mask) expect(weights[i]).toBe(before[i]);
    // the last round has no choice: nothing is measured
    expect((await slq.next({ evaluate: () => 1 })).evaluations).toBe(0);
    const kept = (await resumeSlqHistory(slq.save())).at(0);
    expect(kept?.losses?.w?.map(([, loss]) => loss)).toEqual(report.layers[0]?.clusters.map(({ loss }) => loss));
  });

  test("losses measured elsewhere choose the same", async () => {
    const options: SlqOptions = { levels: 9, schedule: { clusters: [3, 9] } };
    const evaluate = (trial: { values: readonly number[] } | null): number =>
      trial ? Math.sin(99 * (trial.values[0] as number)) : 0;
    const here = await createSlq({ w: normals(8, 900) }, options);
    const there = await createSlq({ w: normals(8, 900) }, options);
    const [probe] = await there.probe();
    const losses = Array.from(probe?.codebook ?? [], (x) => evaluate({ values: [x] }));
    const a = await here.next({ evaluate });
    const b = await there.next({ losses: { w: losses } });
    expect(b.layers).toEqual(a.layers);
    sameBits(there.weights.w as Float32Array, here.weights.w as Float32Array);
  });

  test("evaluations are bounded: the clusters with the largest error are measured, the others come after", async () => {
    const slq = await createSlq(
      { w: normals(9, 4000) },
      { levels: 17, evaluations: 4, schedule: { clusters: [3, 17] } },
    );
    const report = await slq.next({ evaluate: () => 1 });
    expect(report.evaluations).toBe(4);
    const clusters = report.layers[0]?.clusters ?? [];
    const measured = clusters.filter(({ loss }) => loss !== undefined);
    expect(measured).toHaveLength(3);
    expect(measured.every(({ frozen }) => frozen === "now")).toBe(true);
    const least = Math.min(...measured.map(({ error }) => error));
    expect(clusters.filter(({ loss }) => loss === undefined).every(({ error }) => error <= least)).toBe(true);
  });

  test("across: clusters of all layers together, as many as the schedules say in all", async () => {
    const layers = { calm: normals(10, 3000), touchy: normals(11, 3000) };
    const slq = await createSlq(layers, { levels: 9, across: true, schedule: { clusters: [4, 9] } });
    const report = await slq.next({ evaluate: (trial) => (trial?.layer === "touchy" ? 2 : 1) });
    expect([frozenNow(report, 0).length, frozenNow(report, 1).length]).toEqual([0, 8]);
    await expect(createSlq(layers, { across: true, partition: "magnitude" })).rejects.toThrow("across");
    await expect((await createSlq(layers, { across: true })).next()).rejects.toThrow("across");
  });

  test("an evaluation that fails leaves everything as it was", async () => {
    const weights = normals(12, 1500);
    const slq = await createSlq({ w: weights }, { levels: 9 });
    await slq.next();
    train(slq, 1);
    const before = slq.save();
    let calls = 0;
    const evaluate = (): number => {
      if (++calls === 4) throw new Error("out of memory");
      return calls;
    };
    await expect(slq.next({ evaluate })).rejects.toThrow("out of memory");
    sameBits(slq.save(), before);
    await expect(slq.next({ evaluate: () => "1" as never })).rejects.toThrow(TypeError);
    sameBits(slq.save(), before);
    expect((await slq.next({ evaluate: () => Number.NaN })).baseline).toBe(Number.POSITIVE_INFINITY);
    expect(() => slq.save()).not.toThrow();
  });

  test("one call at a time; loss needs something to measure", async () => {
    const slq = await createSlq({ w: normals(13, 100) });
    const first = slq.next({ evaluate: async () => 1 });
    await expect(slq.next()).rejects.toThrow("still running");
    await first;
    await expect((await createSlq({ w: normals(13, 100) }, { partition: "loss" })).next()).rejects.toThrow("evaluate");
  });
});

async function resumeSlqHistory(bytes: Uint8Array): Promise<Awaited<ReturnType<typeof resumeSlq>>["history"]> {
  return (await resumeSlq(bytes)).history;
}

describe("schedules", () => {
  test("the seed's pace for any number of levels", async () => {
    const clusters = async (levels: number): Promise<readonly number[]> => {
      const [layer] = (await createSlq({ w: normals(1, 10) }, { levels })).plan.layers;
      return layer?.schedule && "clusters" in layer.schedule ? layer.schedule.clusters : [];
    };
    expect(await clusters(17)).toEqual([5, 9, 13, 15, 17]);
    expect(await clusters(9)).toEqual([3, 5, 7, 8, 9]);
    expect(await clusters(5)).toEqual([1, 3, 4, 5]);
    expect(await clusters(3)).toEqual([1, 2, 3]);
    expect(await clusters(2)).toEqual([1, 2]);
    for (let levels = 2; levels <= 256; levels++) {
      const list = await clusters(levels);
      expect(list.at(-1)).toBe(levels);
    }
  });

  test("bits are 2^(bits - 1) + 1 levels here", async () => {
    const levels = async (options: SlqOptions): Promise<number | undefined> =>
      (await createSlq({ w: normals(1, 10) }, options)).plan.layers[0]?.levels;
    expect(await levels({ bits: 5 })).toBe(17);
    expect(await levels({ bits: 2 })).toBe(3);
    expect(await levels({ bits: 8 })).toBe(129);
    expect(await levels({})).toBe(17);
    await expect(levels({ bits: 4, levels: 17 })).rejects.toThrow("9 levels");
  });

  test("layers of their own: rules, shapes, left out", async () => {
    const layers = {
      conv: { data: normals(1, 24), shape: [2, 3, 4] },
      bias: { data: normals(2, 8), shape: [8] },
      fc: { data: normals(3, 64), shape: [8, 8] },
      head: { data: normals(4, 64), shape: [8, 8] },
      loose: normals(5, 9),
    };
    const kept = { bias: layers.bias.data.slice(), head: layers.head.data.slice() };
    const slq = await createSlq(layers, {
      levels: 5,
      exclude: /^head/g,
      layers: [
        { match: /^fc$/, levels: 9, schedule: { fractions: [0.5, 1] } },
        { match: /^conv/, bits: 3 },
      ],
    });
    expect(slq.plan.layers.map(({ name, levels }) => [name, levels])).toEqual([
      ["conv", 5],
      ["fc", 9],
      ["loose", 5],
    ]);
    expect(Object.keys(slq.masks)).toEqual(["conv", "fc", "loose"]);
    expect(slq.rounds).toBe(4);
    while (!slq.done) await slq.next();
    sameBits(layers.bias.data, kept.bias);
    sameBits(layers.head.data, kept.head);
    expect(new Set(layers.fc.data).size).toBeLessThanOrEqual(9);
    const only = await createSlq(layers, { include: /bias/ });
    expect(only.plan.layers.map(({ name }) => name)).toEqual(["bias"]);
  });

  test("fractions by magnitude: weight by weight, the largest first, at least so many", async () => {
    const weights = normals(6, 10_000);
    const slq = await createSlq({ w: weights }, { levels: 9, schedule: { fractions: [0.5, 0.75, 1] } });
    for (const fraction of [0.5, 0.75, 1]) {
      const before = weights.slice();
      const free = [...(slq.masks.w as Uint8Array).entries()].flatMap(([i, m]) =>
        m ? [Math.abs(before[i] as number)] : [],
      );
      const report = await slq.next();
      expect(report.frozen).toBe(10_000 * fraction);
      const limit = free.sort((a, b) => b - a)[report.frozen - (10_000 - free.length) - 1] as number;
      for (const [i, m] of (slq.masks.w as Uint8Array).entries())
        if (m) expect(Math.abs(before[i] as number)).toBeLessThan(limit);
      train(slq, slq.round);
    }
  });

  test("fractions by error: whole clusters until the share is reached", async () => {
    const slq = await createSlq(
      { w: normals(6, 10_000) },
      { levels: 17, partition: "error", schedule: { fractions: [0.4, 1] } },
    );
    const report = await slq.next();
    expect(report.frozen).toBeGreaterThanOrEqual(4000);
    expect(report.frozen).toBeLessThan(6500);
    expect(report.layers[0]?.clusters.every(({ frozen, count }) => frozen === "free" || count > 0)).toBe(true);
  });
});

describe("grids", () => {
  test("powers of two: no window is better, frozen ones kept", async () => {
    const random = new Random(20);
    for (let n = 0; n < 60; n++) {
      const levels = random.pick([3, 5, 9, 17]);
      const weights = normals(n, 1 + random.below(300), 2 ** (random.below(20) - 12)).map((x) => (n % 3 ? x : x ** 3));
      const slq = await createSlq({ w: weights }, { ...presets.eslq, levels });
      let held: number[] = [];
      while (!slq.done) {
        const free = [...weights].filter((_, i) => slq.masks.w?.[i] === 1);
        const want = leastCost(free, levels, held);
        const report = await slq.next();
        const codebook = [...(slq.codebooks.w as Float32Array)];
        expect(costOf(free, codebook)).toBeLessThanOrEqual(want * (1 + 1e-9));
        expect(codebook).toHaveLength(levels);
        expect(codebook.every((x) => x === 0 || Number.isInteger(Math.log2(Math.abs(x))))).toBe(true);
        held = report.layers[0]?.clusters
          .filter(({ frozen }) => frozen !== "free")
          .map(({ value }) => value) as number[];
        train(slq, n, 1e-3);
      }
    }
  });

  test("wasted powers are told", async () => {
    const slq = await createSlq({ w: normals(21, 5000) }, { ...presets.eslq, levels: 65 });
    const { warnings, layers } = await slq.next();
    expect(warnings[0]).toMatch(/have no weights.*14 dB/);
    expect(layers[0]?.sqnrDb).toBeGreaterThan(13.5);
    expect(layers[0]?.sqnrDb).toBeLessThan(14.6);
  });

  test("INQ: its exponents, its rule weight by weight, its portions", async () => {
    const random = new Random(22);
    for (const levels of [3, 5, 17]) {
      const weights = normals(levels, 2000, 0.3);
      // magnitudes in the middle of two powers go to the larger one
      for (let i = 0; i < 200; i++)
        weights[i] = random.pick([1, -1]) * random.pick([0.75, 0.375, 0.1875, 0.09375, 2 ** -6, 2 ** -9]);
      const largest = Math.max(...weights.map(Math.abs));
      const n1 = Math.floor(Math.log2((4 * largest) / 3));
      const n2 = n1 + 1 - (levels - 1) / 2;
      const slq = await createSlq({ w: weights }, { ...presets.inq, levels });
      const first = slq.rounds;
      expect(first).toBe(4);
      for (const share of [0.5, 0.75, 0.875, 1]) {
        const before = weights.slice();
        const masks = (slq.masks.w as Uint8Array).slice();
        const report = await slq.next();
        expect(report.frozen).toBeGreaterThanOrEqual(share * 2000);
        expect(report.frozen).toBeLessThanOrEqual(share * 2000 + 60);
        for (const [i, m] of (slq.masks.w as Uint8Array).entries()) {
          if (m === 0 && masks[i] === 1) expect(weights[i]).toBe(inqValue(before[i] as number, n1, n2));
        }
        train(slq, slq.round, 0.01);
      }
    }
  });
});

describe("MLQ", () => {
  test("outer clusters first, then whole layers, half of the layers left a round, those that hurt most first", async () => {
    const names = ["a", "b", "c", "d", "e"];
    const layers = Object.fromEntries(names.map((name, l) => [name, normals(30 + l, 600)]));
    const slq = await createSlq(layers, presets.mlq);
    expect(slq.rounds).toBe(4);
    const harm: Record<string, number> = { a: 1, b: 5, c: 3, d: 4, e: 2 };
    const evaluate = (trial: { layer: string } | null): number => (trial ? (harm[trial.layer] as number) : 0);
    const first = await slq.next({ evaluate });
    expect(first.layers.map(({ state }) => state)).toEqual([0, 1, 1, 1, 0]);
    expect(first.evaluations).toBe(6);
    expect(first.layers.map(({ loss }) => loss)).toEqual([1, 5, 3, 4, 2]);
    for (const { clusters, state } of first.layers) {
      if (state === 1) expect(clusters.map(({ frozen }) => frozen)).toEqual(["now", "free", "now"]);
    }
    train(slq, 1);
    const second = await slq.next({ evaluate });
    expect(second.layers.map(({ state }) => state)).toEqual([0, 2, 2, 2, 1]);
    train(slq, 2);
    // one layer left: no order to measure
    const third = await slq.next({ evaluate });
    expect(third.evaluations).toBe(0);
    expect(third.layers.map(({ state }) => state)).toEqual([1, 2, 2, 2, 2]);
    expect((await slq.next({ evaluate })).layers.map(({ state }) => state)).toEqual([2, 2, 2, 2, 2]);
    expect(slq.done).toBe(true);
  });

  test("depth-first, and an order as a list", async () => {
    const layers = (): Record<string, Float32Array> => ({ a: normals(40, 300), b: normals(41, 300) });
    const deep = await createSlq(layers(), { ...presets.mlq, levels: 5, schedule: { states: "depth-first" } });
    const states = [];
    while (!deep.done) states.push((await deep.next()).layers.map(({ state }) => state));
    expect(states).toEqual([
      [1, 0],
      [2, 0],
      [2, 1],
      [2, 2],
    ]);
    const list = await createSlq(layers(), { ...presets.mlq, schedule: { states: [["b"], ["a", "b"], ["a"]] } });
    const moves = [];
    while (!list.done) moves.push((await list.next()).layers.map(({ state }) => state));
    expect(moves).toEqual([
      [0, 1],
      [1, 2],
      [2, 2],
    ]);
    await expect(createSlq(layers(), { ...presets.mlq, schedule: { states: [["a"], ["a", "b"]] } })).rejects.toThrow(
      '"b" twice',
    );
    await expect(createSlq(layers(), { ...presets.mlq, schedule: { states: [["c"]] } })).rejects.toThrow('"c"');
  });
});

describe("pruning", () => {
  test("zeros first, to the sparsity, then SLQ with zero frozen", async () => {
    const weights = normals(50, 10_000);
    const slq = await createSlq({ w: weights }, { levels: 9, prune: { sparsity: 0.9, schedule: [0.5, 1] } });
    expect(slq.rounds).toBe(2 + 5);
    for (const share of [0.45, 0.9]) {
      const largest = [...weights].map(Math.abs).sort((a, b) => a - b)[10_000 * share] as number;
      const report = await slq.next();
      expect(report.layers[0]?.did).toBe("prune");
      expect(report.frozen).toBe(10_000 * share);
      for (const [i, m] of (slq.masks.w as Uint8Array).entries()) {
        if (m === 0) expect(weights[i]).toBe(0);
        else expect(Math.abs(weights[i] as number)).toBeGreaterThanOrEqual(largest);
      }
    }
    while (!slq.done) await slq.next();
    expect(weights.filter((w) => w === 0).length).toBeGreaterThanOrEqual(9000);
    expect(new Set(weights).size).toBeLessThanOrEqual(9);
  });

  test("a layer's own sparsity", async () => {
    const slq = await createSlq(
      { a: normals(51, 1000), b: normals(52, 1000) },
      {
        prune: { sparsity: 0.5, schedule: [1] },
        layers: [{ match: /b/, sparsity: 0 }],
      },
    );
    const { layers } = await slq.next();
    expect(layers.map(({ frozen, did }) => [frozen, did])).toEqual([
      [500, "prune"],
      [0, "rest"],
    ]);
  });
});

describe("weights that moved", () => {
  test("check names the first, next and save refuse, snap puts it back", async () => {
    const layers = { a: normals(60, 100_000), b: normals(61, 100_000) };
    const slq = await createSlq(layers, { levels: 17 });
    await slq.next();
    expect(slq.check()).toBeUndefined();
    const at = (slq.masks.b as Uint8Array).lastIndexOf(0);
    const value = layers.b[at] as number;
    layers.b[at] = value + 1;
    expect(slq.check()).toEqual({ layer: "b", index: at, expected: value, actual: Math.fround(value + 1) });
    const refusal = await slq.next().catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(WlqError);
    expect(refusal).toMatchObject({ code: "moved", tensor: "b" });
    expect((refusal as Error).message).toContain(
      `weight ${at} was frozen at ${value} and is ${Math.fround(value + 1)}`,
    );
    expect(() => slq.save()).toThrow("frozen");
    expect(slq.snap()).toBe(1);
    expect(layers.b[at]).toBe(value);
    layers.b[at] = Number.NaN;
    expect((await slq.next({ snap: true })).snapped).toBe(1);
    expect(layers.b[at]).toBe(value);
  });

  test("the sign of a zero counts", async () => {
    const weights = normals(62, 100);
    const slq = await createSlq({ w: weights }, { levels: 3 });
    await slq.next();
    weights[(slq.masks.w as Uint8Array).indexOf(0)] = -0;
    expect(slq.check()?.actual).toBe(-0);
  });
});

describe("what is refused", () => {
  const w = (): { w: Float32Array } => ({ w: normals(70, 64) });

  test("weights that are not finite, with layer and index", async () => {
    for (const options of [
      {},
      presets.eslq,
      presets.inq,
      presets.reference,
      { prune: { sparsity: 0.5 } },
    ] as SlqOptions[]) {
      const layers = w();
      layers.w[41] = Number.POSITIVE_INFINITY;
      const before = layers.w.slice();
      const slq = await createSlq(layers, options);
      const refusal = await slq.next().catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: "non-finite", tensor: "w" });
      expect((refusal as Error).message).toContain("weight 41 is Infinity");
      sameBits(layers.w, before);
      expect(slq.round).toBe(0);
    }
  });

  test.each([
    [{ levels: 1 }, "levels must be an integer from 2 to 256, got 1"],
    [{ levels: 257 }, "got 257"],
    [{ levels: 16, grid: "pow2" }, "odd, got 16"],
    [{ grid: "log" }, "grid must be one of free, pow2, inq, got log"],
    [{ schedule: { clusters: [5, 9] } }, "ascends to the 17 levels, got [5, 9]"],
    [{ schedule: { clusters: [9, 9, 17] } }, "ascends"],
    [{ schedule: { fractions: [0.5, 0.4, 1] } }, "must ascend to 1"],
    [{ schedule: { fractions: [0.5] } }, "must ascend to 1"],
    [{ prune: { sparsity: 1.5 } }, "0 to 1, got 1.5"],
    [{ symmetric: true, grid: "inq" }, "symmetric"],
    [{ evaluations: 0 }, "evaluations"],
    [{ exclude: /w/ }, "none of the 1 layers"],
    [{ levels: 16, reference: {} }, "odd levels"],
    [{ reference: {}, prune: { sparsity: 0.5 } }, "reference"],
    [{ levels: 2, schedule: { states: "loss" } }, "3 levels or more"],
  ] as unknown as [SlqOptions, string][])("%j", async (options, message) => {
    await expect(createSlq(w(), options)).rejects.toThrow(RangeError);
    await expect(createSlq(w(), options)).rejects.toThrow(message);
  });

  test("layers that are no weights", async () => {
    await expect(createSlq({ w: [1, 2] as never })).rejects.toThrow(TypeError);
    await expect(createSlq({ w: { data: normals(1, 5), shape: [2, 3] } })).rejects.toThrow("6 elements, data has 5");
  });
});

test("masks as float32 factors", () => {
  expect(maskF32(Uint8Array.of(1, 0, 1))).toEqual(Float32Array.of(1, 0, 1));
  expect(() => maskF32(Uint8Array.of(1), new Float32Array(2))).toThrow("2 places for a mask of 1");
});
