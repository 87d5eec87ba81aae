// Compensation: against the inverse-Hessian form, against all codes there are, and through a model that runs.
import * as ort from "onnxruntime-web";
import { beforeAll, describe, expect, test } from "vitest";
import { calibrate } from "../../src/adapters/onnxruntime.ts";
import { compensate } from "../../src/calibrate/compensate.ts";
import { calibration, createObserver, initCalibrate } from "../../src/calibrate/index.ts";
import { shrinkageOf } from "../../src/calibrate/shrinkage.ts";
import { type LayerStatistics, StatisticsFile } from "../../src/calibrate/statistics.ts";
import type { Coding } from "../../src/codebook.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { compress, decompress, quantize } from "../../src/index.ts";
import { calibrateScope } from "../../src/wasm/calibrate.ts";
import { attr, f32, graph, model, node, TYPE, value } from "../formats/onnx-fixture.ts";
import { sameBits, wasmBytes } from "../kernels/instances.ts";
import { Random } from "../kernels/random.ts";
import { memorySink } from "../memory-sink.ts";
import { errorOf, gptq, leastError, nearest } from "../reference/compensate.ts";

ort.env.wasm.numThreads = 1;
const OPTIONS = {
  damping: 0.01,
  independent: 0,
  sweeps: 4,
  rate: 0,
  fit: true,
  pins: [],
  shiftable: false,
  format: 0,
} as const;
const random = new Random(21);

/** Statistics of inputs that depend on each other, and the damped second moment. */
async function layerOf(outputs: number, columns: number, rows: number): Promise<[LayerStatistics, number[][]]> {
  const mix = random.normals(columns * columns);
  const raw = random.normals(rows * columns);
  const inputs = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      let sum = 0.5;
      for (let k = 0; k < columns; k++) sum += (raw[r * columns + k] as number) * (mix[k * columns + c] as number);
      inputs[r * columns + c] = sum;
    }
  }
  const observer = await createObserver({ w: { shape: [outputs, columns] } });
  observer.observe("w", { data: inputs, shape: [rows, columns] });
  const out = memorySink();
  await observer.save(out.sink);
  const statistics = await (await StatisticsFile.open(out.bytes())).read("w");
  const { covariance, mean } = statistics as Required<LayerStatistics>;
  const h = Array.from({ length: columns }, () => new Array<number>(columns).fill(0));
  let at = 0;
  let trace = 0;
  for (let i = 0; i < columns; i++) {
    for (let j = i; j < columns; j++) {
      h[i]![j] = (covariance[at++] as number) + (mean[i] as number) * (mean[j] as number);
      h[j]![i] = h[i]![j]!;
    }
    trace += statistics.square[i] as number;
  }
  for (let i = 0; i < columns; i++) h[i]![i]! += (OPTIONS.damping * trace) / columns;
  return [statistics, h];
}

async function codingOf(weights: Float32Array, shape: number[], levels: number): Promise<Coding> {
  const { codebook, granularity, axis, groupSize } = await quantize({ data: weights, shape }, { levels });
  return { codebook, granularity, axis, groupSize, levels, shape };
}

const builds = ["simd", "scalar"] as const;

describe.each(builds)("%s", (build) => {
  beforeAll(() => initCalibrate({ calibrate: wasmBytes(`calibrate.${build}`) }));

  test("nearest-plane rounding gives the codes of the inverse-Hessian form", async () => {
    for (const [outputs, columns, levels] of [
      [3, 2, 4],
      [9, 12, 3],
      [8, 33, 16],
      [5, 70, 8],
    ] as const) {
      const [statistics, h] = await layerOf(outputs, columns, 3 * columns);
      const weights = random.normals(outputs * columns);
      const coding = await codingOf(weights, [outputs, columns], levels);
      const got = compensate(calibrateScope(), statistics, weights, coding, { ...OPTIONS, turns: 0 });
      for (let o = 0; o < outputs; o++) {
        const want = gptq(h, [...weights.subarray(o * columns, (o + 1) * columns)], coding.codebook);
        expect([...got.codes.subarray(o * columns, (o + 1) * columns)]).toEqual(want);
      }
      expect(got.output.sqnrDb).toBeGreaterThanOrEqual(got.output.nearestDb as number);
    }
  });

  test("small layers: never worse than each weight's nearest value, seldom far from the best codes there are", async () => {
    const excess: number[] = [];
    for (let trial = 0; trial < 60; trial++) {
      const columns = 2 + (trial % 5);
      const levels = columns > 4 ? 3 : 4;
      const [statistics, h] = await layerOf(1, columns, 40);
      const weights = random.normals(columns);
      const coding = await codingOf(random.normals(200), [200], levels);
      const plain = { ...coding, shape: [1, columns] };
      const got = compensate(calibrateScope(), statistics, weights, plain, { ...OPTIONS, fit: false, turns: 4 });
      const cost = (codes: ArrayLike<number>): number =>
        errorOf(
          h,
          Array.from(weights, (w, c) => w - (coding.codebook[codes[c] as number] as number)),
        );
      const best = leastError(h, [...weights], coding.codebook);
      const own = cost(got.codes);
      expect(own).toBeGreaterThanOrEqual(best * (1 - 1e-9));
      // the damping counts here and not there
      expect(own).toBeLessThanOrEqual(cost(Array.from(weights, (w) => nearest(w, coding.codebook))) * 1.02);
      excess.push(own / best);
    }
    excess.sort((a, b) => a - b);
    expect(excess[30]).toBeLessThan(1.05);
    expect(excess[50]).toBeLessThan(2);
  });
});

test("few samples say little: shrinkage is the estimator's formula, and codes hold on inputs that were not seen", async () => {
  const columns = 24;
  const outputs = 40;
  const covarianceOf = async (rows: readonly Float32Array[]): Promise<LayerStatistics> => {
    const observer = await createObserver({ w: { shape: [outputs, columns] } });
    for (const data of rows) observer.observe("w", { data, shape: [1, columns] });
    const out = memorySink();
    await observer.save(out.sink);
    return (await StatisticsFile.open(out.bytes())).read("w");
  };
  const mix = random.normals(columns * columns);
  const draw = (): Float32Array => {
    const raw = random.normals(columns);
    return Float32Array.from({ length: columns }, (_, c) =>
      raw.reduce((sum, x, k) => sum + x * (mix[k * columns + c] as number), 0),
    );
  };
  const few = await covarianceOf(Array.from({ length: 16 }, draw));
  const many = await covarianceOf(Array.from({ length: 4000 }, draw));

  const s = Array.from({ length: columns }, () => new Array<number>(columns).fill(0));
  let at = 0;
  for (let i = 0; i < columns; i++) for (let j = i; j < columns; j++) s[i]![j] = s[j]![i] = few.covariance![at++]!;
  const squares = s.flat().reduce((sum, x) => sum + x * x, 0);
  const trace = s.reduce((sum, row, i) => sum + row[i]!, 0);
  const p = columns;
  const rho = ((1 - 2 / p) * squares + trace ** 2) / ((16 + 1 - 2 / p) * (squares - trace ** 2 / p));
  expect(shrinkageOf(few.covariance!, columns, 16)).toBeCloseTo(rho / (1 - rho), 9);
  expect(rho).toBeGreaterThan(0.1);
  expect(shrinkageOf(many.covariance!, columns, 4000)).toBeLessThan(0.01);
  // a multiple of the unit matrix, and nothing
  expect(shrinkageOf(Float32Array.of(2, 0, 2), 2, 5)).toBe(0);
  expect(shrinkageOf(new Float32Array(3), 2, 5)).toBe(0);

  const weights = random.normals(outputs * columns);
  const coding = await codingOf(weights, [outputs, columns], 8);
  const errorOn = ({ covariance }: LayerStatistics, independent: number): number => {
    const got = compensate(calibrateScope(), few, weights, coding, {
      ...OPTIONS,
      shiftable: true,
      independent,
      turns: 2,
    });
    expect(got.output.sqnrDb).toBeGreaterThanOrEqual(got.output.nearestDb as number);
    let sum = 0;
    for (let o = 0; o < outputs; o++) {
      let next = 0;
      const e = Array.from({ length: columns }, (_, c) => {
        const code = got.codes[o * columns + c] as number;
        return (weights[o * columns + c] as number) - (got.codebook[code] as number);
      });
      for (let i = 0; i < columns; i++) {
        for (let j = i; j < columns; j++) sum += (i === j ? 1 : 2) * covariance![next++]! * e[i]! * e[j]!;
      }
    }
    return sum;
  };
  expect(errorOn(many, 1)).toBeLessThan(0.9 * errorOn(many, 0));
});

/** Bits a code by how often each is there. */
function entropyOf(codes: Uint8Array): number {
  const counts = new Map<number, number>();
  for (const code of codes) counts.set(code, (counts.get(code) ?? 0) + 1);
  return [...counts.values()].reduce((sum, n) => sum + (n / codes.length) * Math.log2(codes.length / n), 0);
}

test("bits that count: fewer of them, the more they count, and never worse than nearest values", async () => {
  await initCalibrate({});
  const [statistics] = await layerOf(24, 60, 400);
  const weights = random.normals(24 * 60);
  const coding = await codingOf(weights, [24, 60], 16);
  const at = (rate: number): { bits: number; sqnrDb: number; nearestDb: number } => {
    const { codes, output } = compensate(calibrateScope(), statistics, weights, coding, { ...OPTIONS, turns: 2, rate });
    return { bits: entropyOf(codes), ...(output as { sqnrDb: number; nearestDb: number }) };
  };
  const [none, one, four] = [at(0), at(1), at(4)];
  expect(one.bits).toBeLessThan(none.bits);
  expect(four.bits).toBeLessThan(one.bits - 0.05);
  for (const { sqnrDb, nearestDb } of [none, one, four]) expect(sqnrDb).toBeGreaterThanOrEqual(nearestDb);
});

const WAYS = [
  [{}, 0],
  [{ granularity: "channel" }, 0],
  [{ scale: "channel" }, 0],
  [{ scale: "channel" }, 1],
] as const;

test("scalar and SIMD give the same bytes, for every way to share values", async () => {
  const [statistics] = await layerOf(13, 45, 200);
  const weights = random.normals(13 * 45);
  const results = [];
  for (const build of builds) {
    await initCalibrate({ calibrate: wasmBytes(`calibrate.${build}`) });
    for (const [ways, rate] of WAYS) {
      const { codebook, granularity, axis, groupSize, scale } = await quantize(
        { data: weights, shape: [13, 45] },
        { levels: 8, ...ways },
      );
      const coding = {
        codebook,
        granularity,
        axis,
        groupSize,
        levels: 8,
        shape: [13, 45],
        ...(scale ? { scale } : {}),
      };
      const got = compensate(calibrateScope(), statistics, weights, coding, {
        ...OPTIONS,
        shiftable: true,
        turns: 2,
        rate,
      });
      expect(got.output.sqnrDb).toBeGreaterThan((got.output.nearestDb as number) + 2);
      results.push([got.codebook, got.codes, got.scale ?? 0, got.shift ?? 0]);
    }
  }
  sameBits(results.slice(4).flat() as Float32Array[], results.slice(0, 4).flat() as Float32Array[]);
});

/** Two convolutions, one with a bias, and a product with an Add behind it and one without. */
const bytes = model({
  graph: graph({
    inputs: [value("x", TYPE.F32, [1, 8, "h", "w"])],
    outputs: [value("y", TYPE.F32, [1, "h", "w", 24])],
    initializers: [
      f32("c1", [24, 8, 3, 3], random.normals(24 * 72)),
      f32("b1", [24], random.normals(24)),
      f32("c2", [16, 24, 1, 1], random.normals(16 * 24)),
      f32("m1", [16, 40], random.normals(16 * 40)),
      f32("b3", [40], random.normals(40)),
      f32("m2", [40, 24], random.normals(40 * 24)),
    ],
    nodes: [
      node("Conv", ["x", "c1", "b1"], ["p"], [attr.ints("pads", [1, 1, 1, 1])]),
      node("Relu", ["p"], ["q"]),
      node("Conv", ["q", "c2"], ["r"]),
      node("Transpose", ["r"], ["s"], [attr.ints("perm", [0, 2, 3, 1])]),
      node("Sigmoid", ["s"], ["t"]),
      node("MatMul", ["t", "m1"], ["u"]),
      node("Add", ["u", "b3"], ["v"]),
      node("Relu", ["v"], ["z"]),
      node("MatMul", ["z", "m2"], ["y"]),
    ],
  }),
});
const images = Array.from({ length: 12 }, () => random.normals(8 * 6 * 6).map((x, i, all) => x + (all[i - 1] ?? 0)));

async function outputs(file: Uint8Array, list: readonly Float32Array[]): Promise<Float32Array[]> {
  const session = await ort.InferenceSession.create(file, { logSeverityLevel: 3 });
  const out = [];
  for (const data of list) {
    out.push((await session.run({ x: new ort.Tensor("float32", data, [1, 8, 6, 6]) })).y?.data as Float32Array);
  }
  return out;
}

const distance = (a: readonly Float32Array[], b: readonly Float32Array[]): number =>
  a.reduce((sum, part, i) => sum + part.reduce((s, x, j) => s + (x - (b[i]?.[j] as number)) ** 2, 0), 0);

test("a calibrated model is much nearer to the float one, in every form of output", async () => {
  await initCalibrate({});
  const [seen, others] = [images.slice(0, 8), images.slice(8)];
  const feeds = seen.map((data) => ({ x: new ort.Tensor("float32", data, [1, 8, 6, 6]) }));
  const out = memorySink();
  await calibrate(ort, bytes, feeds, out.sink);
  const statistics = out.bytes();
  const general = { formats: [onnx()], levels: 8, scale: "channel", minSize: 1 } as const;
  const run = async (options: object): Promise<[Uint8Array<ArrayBuffer>, Awaited<ReturnType<typeof compress>>]> => {
    const { sink, bytes: written } = memorySink();
    const report = await compress(bytes, sink, { ...general, ...options });
    return [written(), report];
  };
  const [dense, report] = await run({ to: "dense", calibration: calibration(statistics) });
  const [graphFile] = await run({ to: "onnx", calibration: calibration(statistics) });
  const [container] = await run({ calibration: calibration(statistics) });
  const [plain] = await run({ to: "dense" });
  for (const { name, output } of report.tensors) {
    if (/^b/.test(name)) continue;
    expect(output?.sqnrDb, name).toBeGreaterThan(output?.nearestDb as number);
  }
  const restored = memorySink();
  await decompress(container, restored.sink, { formats: [onnx()] });

  const want = await outputs(bytes, others);
  const got = await outputs(dense, others);
  expect(distance(await outputs(restored.bytes(), others), got)).toBe(0);
  expect(distance(await outputs(graphFile, others), got)).toBe(0);
  expect(distance(got, want)).toBeLessThan(0.7 * distance(await outputs(plain, others), want));
  // the same statistics, the same bytes
  expect(Buffer.compare((await run({ calibration: calibration(statistics) }))[0], container)).toBe(0);
  // its importance alone is an ordinary importance file
  const [weighted] = await run({ to: "dense", importance: statistics });
  expect(distance(await outputs(weighted, others), want)).toBeLessThan(distance(await outputs(plain, others), want));
});

test("what contradicts itself is refused", async () => {
  expect(() => calibration(new ArrayBuffer(8), { damping: 2 })).toThrow(/damping must be from 0 to 1, got 2/);
  const run = (options: object): Promise<unknown> =>
    compress(bytes, memorySink().sink, { formats: [onnx()], minSize: 1, ...options });
  expect(() => calibration(new ArrayBuffer(8), { rate: -1 })).toThrow(/rate must be from 0 to 16, got -1/);
  await expect(run({ calibration: calibration(bytes) })).rejects.toMatchObject({ code: expect.any(String) });
  const observer = await createObserver({ c1: { shape: [24, 8, 1, 3] } });
  const out = memorySink();
  await observer.save(out.sink);
  await expect(run({ calibration: calibration(out.bytes()) })).rejects.toThrow(
    /tensor "c1": the statistics are for the shape \[24, 8, 1, 3\], the model \[24, 8, 3, 3\]/,
  );
  const both = { calibration: calibration(out.bytes()), importance: out.bytes() };
  await expect(run(both)).rejects.toThrow(/importance and calibration exclude each other/);
});
