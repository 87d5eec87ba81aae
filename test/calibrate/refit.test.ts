// Rounds without training: least squares against an exact solution, losses against plain sums, and the whole way in files.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { createObserver, createRefit } from "../../src/calibrate/index.ts";
import { createSlq } from "../../src/slq/index.ts";
import { wlq } from "../cli-process.ts";
import { bytesOf, safetensorsFile } from "../formats/safetensors-fixture.ts";
import { Random } from "../kernels/random.ts";
import { memorySink } from "../memory-sink.ts";

const folder = mkdtempSync(join(tmpdir(), "wlq-refit-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Inputs that depend on each other, about a mean that is not zero. */
function inputsOf(random: Random, rows: number, columns: number): Float32Array {
  const mix = random.normals(columns * columns);
  const raw = random.normals(rows * columns);
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    let sum = 0.4;
    for (let k = 0; k < columns; k++) {
      sum += (raw[Math.floor(i / columns) * columns + k] as number) * (mix[k * columns + (i % columns)] as number);
    }
    return sum;
  });
}

type Layers = Readonly<Record<string, { shape: number[]; layout?: "outer" | "inner"; inputs: Float32Array }>>;

async function statisticsOf(layers: Layers): Promise<Uint8Array> {
  const observer = await createObserver(
    Object.fromEntries(Object.entries(layers).map(([name, { inputs: _, ...layer }]) => [name, layer])),
  );
  for (const [name, { shape, layout, inputs }] of Object.entries(layers)) {
    const columns = (layout === "inner" ? shape[0] : shape[1]) as number;
    observer.observe(name, { data: inputs, shape: [inputs.length / columns, columns] });
  }
  const { sink, bytes } = memorySink();
  await observer.save(sink);
  return bytes();
}

/** Mean square of the inputs' products, row by row. */
function moment(inputs: Float32Array, columns: number): number[][] {
  const rows = inputs.length / columns;
  return Array.from({ length: columns }, (_, a) =>
    Array.from({ length: columns }, (__, b) => {
      let sum = 0;
      for (let r = 0; r < rows; r++) sum += (inputs[r * columns + a] as number) * (inputs[r * columns + b] as number);
      return sum / rows;
    }),
  );
}

/** x of `a x = b` by elimination with pivots. */
function solved(a: number[][], b: number[]): number[] {
  const m = a.map((row, i) => [...row, b[i] as number]);
  const n = m.length;
  for (let c = 0; c < n; c++) {
    let best = c;
    for (let r = c; r < n; r++) if (Math.abs(m[r]![c]!) > Math.abs(m[best]![c]!)) best = r;
    [m[c], m[best]] = [m[best]!, m[c]!];
    for (let r = 0; r < n; r++) {
      if (r === c) continue;
      const by = m[r]![c]! / m[c]![c]!;
      for (let k = c; k <= n; k++) m[r]![k]! -= by * m[c]![k]!;
    }
  }
  return m.map((row, i) => row[n]! / row[i]!);
}

test("free weights are those of an exact solution, whatever is frozen", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 500 }),
      fc.integer({ min: 2, max: 6 }),
      fc.integer({ min: 1, max: 11 }),
      fc.boolean(),
      async (seed, columns, outputs, inner) => {
        const random = new Random(seed);
        const inputs = inputsOf(random, 8 * columns, columns);
        const shape = inner ? [columns, outputs] : [outputs, columns];
        const statistics = await statisticsOf({ w: { shape, layout: inner ? "inner" : "outer", inputs } });
        const before = random.normals(columns * outputs);
        const now = Float32Array.from(before, (w) => Math.round(2 * w) / 2);
        const mask = Uint8Array.from(before, () => (random.unit() < 0.5 ? 1 : 0));
        // weights and masks are all that a refit asks for
        const rounds = { round: 0, weights: { w: before.slice() }, masks: { w: mask }, probe: async () => [] };
        const damping = 0.05;
        const { refit } = await createRefit(statistics, rounds, { damping });
        rounds.weights.w.set(now);
        const frozen = now.slice();
        await refit();
        const at = (o: number, c: number): number => (inner ? c * outputs + o : o * columns + c);
        const h = moment(inputs, columns);
        const trace = h.reduce((sum, row, i) => sum + row[i]!, 0);
        for (let o = 0; o < outputs; o++) {
          const all = Array.from({ length: columns }, (_, c) => c);
          const free = all.filter((c) => mask[at(o, c)]);
          for (const c of all) if (!mask[at(o, c)]) expect(rounds.weights.w[at(o, c)]).toBe(frozen[at(o, c)]);
          const error = all.map((c) => before[at(o, c)]! - rounds.weights.w[at(o, c)]!);
          const lambda = await dampingOf(statistics, damping);
          expect(lambda).toBeGreaterThan((0.99 * damping * trace) / columns);
          const matrix = free.map((i) => free.map((j) => h[i]![j]! + (i === j ? lambda : 0)));
          const right = free.map((i) => -all.reduce((s, j) => s + (mask[at(o, j)] ? 0 : h[i]![j]! * error[j]!), 0));
          const want = solved(matrix, right);
          free.forEach((c, k) => expect(Math.abs(error[c]! - want[k]!)).toBeLessThan(2e-5 * (1 + Math.abs(want[k]!))));
        }
      },
    ),
    { numRuns: 40 },
  );
});

async function dampingOf(statistics: Uint8Array, share: number): Promise<number> {
  const { StatisticsFile } = await import("../../src/calibrate/statistics.ts");
  const { shrinkageOf } = await import("../../src/calibrate/shrinkage.ts");
  const { covariance, square, layer, samples } = await (await StatisticsFile.open(statistics)).read("w");
  const { columns } = layer;
  let [trace, sum] = [0, 0];
  for (let c = 0, i = 0; c < columns; i += columns - c++) {
    trace += covariance![i]!;
    sum += square[c]!;
  }
  return (share * sum + shrinkageOf(covariance!, columns, samples / 2) * trace) / columns;
}

test("a cluster's loss is what the outputs lose by it", async () => {
  const random = new Random(5);
  const [outputs, columns] = [20, 9];
  const inputs = inputsOf(random, 50, columns);
  const statistics = await statisticsOf({ w: { shape: [outputs, columns], inputs } });
  const w = random.normals(outputs * columns);
  const before = w.slice();
  const slq = await createSlq(
    { w, alone: random.normals(40) },
    { levels: 5, schedule: { clusters: [2, 5] }, partition: "loss" },
  );
  const { losses } = await createRefit(statistics, slq);
  const probe = (await slq.probe()).find(({ layer }) => layer === "w")!;
  const got = await losses();
  const h = moment(inputs, columns);
  const form = (x: (i: number) => number): number => {
    let sum = 0;
    for (let o = 0; o < outputs; o++) {
      for (let a = 0; a < columns; a++) {
        for (let b = 0; b < columns; b++) sum += x(o * columns + a) * h[a]![b]! * x(o * columns + b);
      }
    }
    return sum;
  };
  const power = form((i) => before[i]!);
  probe.codebook.forEach((value, code) => {
    const want = form((i) => (probe.codes[i] === code ? before[i]! - value : 0)) / power;
    expect(got.w![code]! / want).toBeCloseTo(1, 5);
  });
  expect(got.alone).toHaveLength(5);
  expect(w).toEqual(before);
});

test("rounds with a refit leave much less in the outputs than rounds without; what cannot be is refused", async () => {
  const random = new Random(7);
  const [outputs, columns] = [48, 40];
  const inputs = inputsOf(random, 400, columns);
  const statistics = await statisticsOf({ w: { shape: [columns, outputs], layout: "inner", inputs } });
  const start = random.normals(outputs * columns);
  const h = moment(inputs, columns);
  const errorOf = (w: Float32Array): number => {
    let sum = 0;
    for (let o = 0; o < outputs; o++) {
      const e = (c: number): number => start[c * outputs + o]! - w[c * outputs + o]!;
      for (let a = 0; a < columns; a++) for (let b = 0; b < columns; b++) sum += e(a) * h[a]![b]! * e(b);
    }
    return sum;
  };
  const options = { levels: 9, schedule: { clusters: [3, 5, 7, 9] }, partition: "loss" } as const;
  const [plain, fitted] = [start.slice(), start.slice()];
  const without = await createSlq({ w: plain }, { ...options, partition: "magnitude" });
  while (!without.done) await without.next();
  const slq = await createSlq({ w: fitted }, options);
  const { losses, refit } = await createRefit(statistics, slq);
  while (!slq.done) {
    await slq.next({ losses: await losses() });
    await refit();
  }
  console.log(`error in the outputs: ${errorOf(plain)} without, ${errorOf(fitted)} with a refit`);
  expect(new Set(fitted).size).toBeLessThanOrEqual(9);
  expect(errorOf(fitted)).toBeLessThan(0.7 * errorOf(plain));
  await expect(createRefit(statistics, slq)).rejects.toThrow(/before the first round, 4 are done/);
  const other = await createSlq({ w: new Float32Array(12) }, options);
  await expect(createRefit(statistics, other)).rejects.toThrow(/"w" has 12 weights, in the statistics 1920/);
});

test("wlq slq run: all rounds of a state, the same weights as in a script", async () => {
  const random = new Random(9);
  const shape = [30, 40];
  const weights = random.normals(1200);
  const statistics = await statisticsOf({ "fc.weight": { shape, inputs: inputsOf(random, 200, 40) } });
  writeFileSync(join(folder, "stats"), statistics);
  const file = (data: Float32Array): Uint8Array =>
    safetensorsFile([
      { name: "fc.weight", dtype: "F32", shape, bytes: bytesOf(data) },
      { name: "fc.bias", dtype: "F32", shape: [30], bytes: bytesOf(weights.subarray(0, 30)) },
    ]);
  writeFileSync(join(folder, "model"), file(weights));
  const run = async (...args: string[]) => wlq(["slq", ...args], { cwd: folder });
  const init = await run("init", "model", "s0", "--levels", "5", "--schedule", "2,4,5", "--partition", "loss");
  expect(init.code).toBe(0);
  const ran = await run("run", "s0", "s1", "--calibration", "stats");
  expect([ran.code, ran.stderr]).toEqual([0, ""]);
  expect(ran.stdout).toMatch(/fc\.weight +\d+\.\d dB\n(s1: round \d of 3.*\n){3}$/);
  expect((await run("finish", "s1", "out")).code).toBe(0);
  const live = weights.slice();
  const slq = await createSlq(
    { "fc.weight": live },
    { levels: 5, schedule: { clusters: [2, 4, 5] }, partition: "loss" },
  );
  const { losses, refit } = await createRefit(statistics, slq);
  while (!slq.done) {
    await slq.next({ losses: await losses() });
    await refit();
  }
  expect(readFileSync(join(folder, "out")).equals(file(live))).toBe(true);
  expect((await run("run", "s0", "s2")).stderr).toContain("wlq slq run takes --calibration STATS");
  expect((await run("run", "s1", "s2", "--calibration", "stats")).stderr).toContain("are done: finish it");
});
