// wlq/calibrate and wlq/onnxruntime: statistics against plain sums, on layers given by hand and on graphs that run.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-web";
import { afterAll, expect, test } from "vitest";
import { calibrate, type FeedSource } from "../../src/adapters/onnxruntime.ts";
import { createObserver } from "../../src/calibrate/index.ts";
import { StatisticsFile } from "../../src/calibrate/statistics.ts";
import { wlq } from "../cli-process.ts";
import { attr, f32, graph, model, node, TYPE, value } from "../formats/onnx-fixture.ts";
import { Random } from "../kernels/random.ts";
import { memorySink } from "../memory-sink.ts";
import { type Conv, patches } from "../reference/second-moment.ts";

ort.env.wasm.numThreads = 1;
const folder = mkdtempSync(join(tmpdir(), "wlq-calibrate-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Mean, mean square and covariance of rows in plain float64. */
function moments(rows: Float32Array, columns: number): { mean: number[]; square: number[]; covariance: number[] } {
  const n = rows.length / columns;
  const at = (r: number, c: number): number => rows[r * columns + c] as number;
  const average = (of: (r: number) => number): number => {
    let sum = 0;
    for (let r = 0; r < n; r++) sum += of(r);
    return sum / n;
  };
  const each = Array.from({ length: columns }, (_, c) => c);
  const mean = each.map((c) => average((r) => at(r, c)));
  const square = each.map((c) => average((r) => at(r, c) ** 2));
  const covariance = each.flatMap((a) =>
    each.slice(a).map((b) => average((r) => at(r, a) * at(r, b)) - (mean[a] as number) * (mean[b] as number)),
  );
  return { mean, square, covariance };
}

function expectClose(got: Float32Array | undefined, want: readonly number[], what: string): void {
  expect(got?.length, what).toBe(want.length);
  const scale = Math.max(...want.map(Math.abs));
  want.forEach((x, i) => expect(Math.abs((got?.[i] as number) - x), `${what} ${i}`).toBeLessThan(2e-6 * scale));
}

const random = new Random(11);
const CONV: Conv = {
  channels: 3,
  height: 9,
  width: 7,
  kernel: [3, 2],
  strides: [2, 1],
  pads: [1, 0, 2, 1],
  dilations: [1, 2],
};

test("a convolution in groups, a product either way and a lookup", async () => {
  const { channels, height, width, kernel, strides, pads, dilations } = CONV;
  const observer = await createObserver({
    conv: { shape: [4, channels, ...kernel], groups: 2, strides, pads, dilations },
    fc: { shape: [5, 11] },
    matmul: { shape: [11, 5], layout: "inner" },
    embed: { shape: [6, 4], lookup: true },
  });
  const images = random.normals(2 * 2 * channels * height * width);
  const rows = random.normals(300 * 11);
  observer.observe("conv", { data: images, shape: [2, 2 * channels, height, width] });
  for (const name of ["fc", "matmul"]) {
    observer.observe(name, { data: rows.subarray(0, 77), shape: [7, 11] });
    observer.observe(name, { data: rows.subarray(77), shape: [1, 293, 11] });
  }
  observer.observe("embed", { data: BigInt64Array.of(1n, 5n, 1n, -6n), shape: [4] });
  const out = memorySink();
  await observer.save(out.sink);
  const file = await StatisticsFile.open(out.bytes());

  const size = channels * height * width;
  const columns = channels * kernel[0] * kernel[1];
  const parts = [0, 1].map((group) => {
    const seen = [0, 1].map((b) => patches(images.subarray((b * 2 + group) * size, (b * 2 + group + 1) * size), CONV));
    return moments(Float32Array.from(seen.flatMap(({ rows: list }) => [...list])), columns);
  });
  const conv = await file.read("conv");
  for (const key of ["mean", "square", "covariance"] as const) {
    expectClose(conv[key], [...(parts[0]?.[key] ?? []), ...(parts[1]?.[key] ?? [])], `conv ${key}`);
  }
  const want = moments(rows, 11);
  for (const name of ["fc", "matmul"]) {
    const got = await file.read(name);
    expect(got.samples).toBe(300);
    for (const key of ["mean", "square", "covariance"] as const) expectClose(got[key], want[key], `${name} ${key}`);
  }
  expect([...(await file.read("embed")).square]).toEqual([0.25, 0.5, 0, 0, 0, 0.25]);
});

test("a wide layer: rows that wait for each other add up as if they came one run after the other", async () => {
  const columns = 260;
  const runs = [3, 128, 130, 1, 257, 24, 24].map((rows) => random.normals(rows * columns));
  const observer = await createObserver({ fc: { shape: [5, columns] } });
  for (const data of runs) observer.observe("fc", { data, shape: [data.length / columns, columns] });
  const out = memorySink();
  await observer.save(out.sink);
  const got = await (await StatisticsFile.open(out.bytes())).read("fc");
  const want = moments(Float32Array.from(runs.flatMap((data) => [...data])), columns);
  for (const key of ["mean", "square", "covariance"] as const) expectClose(got[key], want[key], key);
});

test("what does not fit is refused by name", async () => {
  await expect(createObserver({ w: { shape: [4] } })).rejects.toThrow(/layer "w": a weight has 2 to 4 dimensions/);
  await expect(createObserver({ w: { shape: [4, 2, 3], groups: 3 } })).rejects.toThrow(/3 groups do not divide 4/);
  const observer = await createObserver({ w: { shape: [4, 3] }, e: { shape: [4, 3], lookup: true } });
  const inputs = { data: new Float32Array(8), shape: [2, 4] };
  expect(() => observer.observe("v", inputs)).toThrow(/no layer with the weight "v"/);
  expect(() => observer.observe("w", inputs)).toThrow(/inputs of "w" have the shape \[2, 4\]/);
  expect(() => observer.observe("e", { data: Int32Array.of(4), shape: [1] })).toThrow(/ask for row 4, it has 4/);
  observer.observe("w", { data: Float32Array.of(1, Number.NaN, 0), shape: [3] });
  await expect(async () => observer.save(memorySink().sink)).rejects.toMatchObject({ code: "non-finite", tensor: "w" });
});

/** x -> Conv -> Relu -> mean over the plane -> MatMul -> y. */
const w1 = random.normals(4 * 6);
const w2 = random.normals(4 * 3);
const bytes = model({
  graph: graph({
    inputs: [value("x", TYPE.F32, [1, 3, "h", "w"])],
    outputs: [value("y", TYPE.F32, [1, 1, 1, 3])],
    initializers: [f32("w1", [4, 3, 1, 2], w1), f32("w2", [4, 3], w2)],
    nodes: [
      node("Conv", ["x", "w1"], ["c"], [attr.ints("strides", [2, 1]), attr.ints("pads", [0, 1, 0, 1])]),
      node("Relu", ["c"], ["r"]),
      node("GlobalAveragePool", ["r"], ["p"]),
      node("Transpose", ["p"], ["t"], [attr.ints("perm", [0, 2, 3, 1])]),
      node("MatMul", ["t", "w2"], ["y"]),
    ],
  }),
});
const shapes = [
  [1, 3, 5, 4],
  [1, 3, 2, 9],
  [1, 3, 7, 7],
];
const images = shapes.map((dims) => random.normals(dims.reduce((a, b) => a * b, 1)));
const feeds = images.map((data, i) => ({ x: new ort.Tensor("float32", data, shapes[i] as number[]) }));

async function statistics(source: FeedSource, memory?: number): Promise<{ file: Uint8Array; passes: number }> {
  const out = memorySink();
  const report = await calibrate(ort, bytes, source, out.sink, memory === undefined ? {} : { memory });
  expect(report.layers.map(({ weight }) => weight)).toEqual(["w1", "w2"]);
  return { file: out.bytes(), passes: report.passes };
}

test("onnxruntime: what the layers of a graph see, in one pass or several", async () => {
  const { file, passes } = await statistics(feeds);
  expect(passes).toBe(1);
  const read = await StatisticsFile.open(file);
  const seen = images.map((image, i) => {
    const [, channels, height, width] = shapes[i] as [number, number, number, number];
    return patches(image, {
      ...{ channels, height, width, kernel: [1, 2], strides: [2, 1], pads: [0, 1, 0, 1], dilations: [1, 1] },
    });
  });
  const want = moments(Float32Array.from(seen.flatMap(({ rows }) => [...rows])), 6);
  const first = await read.read("w1");
  expect(first.samples).toBe(seen.reduce((sum, { positions }) => sum + positions, 0));
  for (const key of ["mean", "square", "covariance"] as const) expectClose(first[key], want[key], key);
  expect((await read.read("w2")).samples).toBe(3);

  const again = await statistics(() => feeds, 1000);
  expect(again.passes).toBe(2);
  expect(Buffer.compare(again.file, file)).toBe(0);
  // inputs that come but once: what does not fit gets mean squares alone
  const once = await StatisticsFile.open((await statistics(feeds.values(), 800)).file);
  expect((await once.read("w1")).covariance).toBeDefined();
  expect((await once.read("w2")).covariance).toBeUndefined();
  expect((await once.read("w2")).square).toEqual((await read.read("w2")).square);
});

test("noise: every run once more, wider by as much as was asked for, and the same each time", async () => {
  const run = async (noise: number, heldOut = 0): Promise<Uint8Array<ArrayBuffer>> => {
    const out = memorySink();
    const report = await calibrate(ort, bytes, feeds, out.sink, { noise, heldOut });
    expect(report.runs).toBe(3);
    return out.bytes();
  };
  const [plain, noisy] = [await run(0), await run(0.5)];
  const [before, after] = await Promise.all(
    [plain, noisy].map(async (file) => (await StatisticsFile.open(file)).read("w1")),
  );
  expect(after?.samples).toBe(2 * (before?.samples as number));
  // half of the samples have 1.25 times the power
  const power = (square: Float32Array = new Float32Array(0)): number => square.reduce((sum, x) => sum + x, 0);
  expect(power(after?.square) / power(before?.square)).toBeCloseTo(1.125, 1);
  expect(Buffer.compare(await run(0.5), noisy)).toBe(0);
  // runs that are held out are not repeated
  const held = await StatisticsFile.open(await run(0.5, 0.4));
  expect((await held.read("w2")).samples).toBe(4);
  await expect(run(-1)).rejects.toThrow(/noise must be from 0 to 10, got -1/);
});

test("no layer, no inputs, a signal", async () => {
  const { sink, state } = memorySink();
  await expect(calibrate(ort, bytes, [], sink)).rejects.toMatchObject({ code: "unsupported" });
  expect(state()).toBe("aborted");
  const nothing = { exclude: /w/ };
  await expect(calibrate(ort, bytes, feeds, memorySink().sink, nothing)).rejects.toMatchObject({ code: "unsupported" });
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(calibrate(ort, bytes, feeds, memorySink().sink, { signal })).rejects.toMatchObject({ code: "aborted" });
});

const numpy = existsSync("/usr/bin/python3");
test.runIf(numpy)("wlq calibrate reads numpy's files, stored and deflated, and gives the same bytes", async () => {
  writeFileSync(join(folder, "model.onnx"), bytes);
  images.forEach((data, i) => writeFileSync(join(folder, `${i}.bin`), data));
  const script = `
import numpy as np
a = {f"{i}/x": np.fromfile(f"{i}.bin", np.float32).reshape(s) for i, s in enumerate(${JSON.stringify(shapes)})}
np.savez("stored.npz", **a)
np.savez_compressed("deflated.npz", **a)
np.savez("wrong.npz", x=a["0/x"].astype(">f4"))`;
  execFileSync("/usr/bin/python3", ["-c", script], { cwd: folder });
  const want = (await statistics(feeds)).file;
  for (const name of ["stored", "deflated"]) {
    const ran = await wlq(["calibrate", "model.onnx", `${name}.npz`, "stats"], { cwd: folder });
    expect([ran.code, ran.stderr]).toEqual([0, ""]);
    expect(ran.stdout).toMatch(/^stats \(.*\): 2 layers, 3 runs/);
    expect(Buffer.compare(readFileSync(join(folder, "stats")), want)).toBe(0);
  }
  const wrong = await wlq(["calibrate", "model.onnx", "wrong.npz", "none"], { cwd: folder });
  expect([wrong.code, wrong.stderr]).toEqual([3, 'wlq: npz: "x.npy" is big-endian\n']);
  expect(existsSync(join(folder, "none"))).toBe(false);
});
