// Plans by output error: levels for the size that leave the layers' outputs most, and what of the model they leave alone.
import * as ort from "onnxruntime-web";
import { beforeAll, expect, test } from "vitest";
import { calibrate } from "../../src/adapters/onnxruntime.ts";
import { calibration } from "../../src/calibrate/index.ts";
import { StatisticsFile } from "../../src/calibrate/statistics.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { type CompressOptions, compress, decompress, type PlanOptions, plan, type Report } from "../../src/index.ts";
import { attr, f32, graph, model, node, TYPE, value } from "../formats/onnx-fixture.ts";
import { Random } from "../kernels/random.ts";
import { memorySink } from "../memory-sink.ts";

ort.env.wasm.numThreads = 1;
const random = new Random(77);
const spread = (n: number, by: number): Float32Array => random.normals(n).map((x) => x * by);

/** Large weights that small inputs see, small weights that large inputs see, a depthwise layer, and logits. */
const bytes = model({
  graph: graph({
    inputs: [value("x", TYPE.F32, [1, 16, "w"])],
    outputs: [value("p", TYPE.F32, [1, "w", 40])],
    initializers: [
      f32("c1", [48, 16, 3], spread(48 * 48, 4)),
      f32("d1", [48, 1, 3], spread(48 * 3, 1)),
      f32("c2", [32, 48, 1], spread(32 * 48, 0.02)),
      f32("m1", [32, 32], spread(32 * 32, 0.3)),
      f32("m2", [32, 40], spread(32 * 40, 0.8)),
      f32("b2", [40], spread(40, 1)),
    ],
    nodes: [
      node("Conv", ["x", "c1"], ["p1"], [attr.ints("pads", [1, 1])]),
      node("Conv", ["p1", "d1"], ["p2"], [attr.ints("pads", [1, 1]), attr.int("group", 48)]),
      node("Relu", ["p2"], ["p3"]),
      node("Conv", ["p3", "c2"], ["p4"]),
      node("Transpose", ["p4"], ["p5"], [attr.ints("perm", [0, 2, 1])]),
      node("Tanh", ["p5"], ["p6"]),
      node("MatMul", ["p6", "m1"], ["p7"]),
      node("Tanh", ["p7"], ["p8"]),
      node("MatMul", ["p8", "m2"], ["p9"]),
      node("Add", ["p9", "b2"], ["p10"]),
      node("Softmax", ["p10"], ["p"], [attr.int("axis", -1)]),
    ],
  }),
});
const formats = [onnx()];
const general = { formats, minSize: 1, scale: "channel" } as const;
let statistics: Uint8Array<ArrayBuffer>;

const inputs = (): ort.Tensor => new ort.Tensor("float32", spread(16 * 30, 0.1), [1, 16, 30]);

beforeAll(async () => {
  const { sink, bytes: written } = memorySink();
  await calibrate(
    ort,
    bytes,
    Array.from({ length: 12 }, () => ({ x: inputs() })),
    sink,
  );
  statistics = written();
});

async function compressed(options: CompressOptions): Promise<Report & { readonly file: Uint8Array<ArrayBuffer> }> {
  const { sink, bytes: written } = memorySink();
  return { ...(await compress(bytes, sink, { formats, ...options })), file: written() };
}

const others = Array.from({ length: 20 }, inputs);

async function outputsOf(file: Uint8Array): Promise<Float32Array[]> {
  const session = await ort.InferenceSession.create(file, { logSeverityLevel: 3 });
  const out: Float32Array[] = [];
  for (const x of others) out.push((await session.run({ x })).p?.data as Float32Array);
  return out;
}

/** Mean divergence from the float model's distributions, on inputs that calibration did not see. */
async function divergence({ file }: { readonly file: Uint8Array<ArrayBuffer> }): Promise<number> {
  const { sink, bytes: dense } = memorySink();
  await decompress(file, sink, { formats });
  const [want, got] = [await outputsOf(bytes), await outputsOf(dense())];
  const sum = (a: Float32Array, b: Float32Array): number =>
    a.reduce((kl, p, i) => kl + (p > 0 ? p * Math.log(p / Math.max(b[i] as number, 1e-10)) : 0), 0);
  return want.reduce((all, a, i) => all + sum(a, got[i] as Float32Array), 0) / (others.length * 30);
}

test("statistics know which layer's outputs become probabilities", async () => {
  const file = await StatisticsFile.open(statistics);
  expect([...file.weights].map((name) => [name, file.layer(name)?.logits ?? false])).toEqual([
    ["c1", false],
    ["c2", false],
    ["m1", false],
    ["m2", true],
  ]);
});

test("at the same size, levels by output error leave no more of it than the same levels everywhere, and less than levels by the weights", async () => {
  // a plan by levels tells sizes before anything is coded: codes of one width, a graph that is not deflated
  for (const levels of [8, 16]) {
    const uniform = await compressed({ ...general, levels, entropy: "none", calibration: calibration(statistics) });
    const chosen = await plan(bytes, { bytes: uniform.bytesOut }, { ...general, calibration: calibration(statistics) });
    const planned = await compressed({ plan: chosen, calibration: calibration(statistics) });
    expect(planned.file.length).toBe(chosen.bytes);
    expect(planned.file.length).toBeLessThanOrEqual(uniform.file.length);
    const least = await divergence(planned);
    expect(least).toBeLessThanOrEqual(await divergence(uniform));
    // by weights, the large ones would get the bits
    const blind = await plan(bytes, { bytes: uniform.bytesOut }, general);
    const byWeights = await compressed({ plan: blind, calibration: calibration(statistics) });
    expect(least).toBeLessThan(await divergence(byWeights));
    // what was measured at some levels tells of all: within 3 dB, refinement not counted
    for (const { name, sqnrDb } of chosen.tensors) {
      const output = planned.tensors.find((tensor) => tensor.name === name)?.output;
      if (output) expect(Math.abs((output.sqnrDb as number) - (sqnrDb as number)), name).toBeLessThan(3);
    }
  }
});

test("a weight whose inputs are not known keeps 256 levels, one with a rule those of the rule", async () => {
  const options: PlanOptions = {
    ...general,
    tensors: [{ match: /^m1$/, options: { levels: 5 } }],
    calibration: calibration(statistics),
  };
  const { tensors } = await plan(bytes, { bitsPerWeight: 5 }, options);
  const levels = (name: string): number | undefined => tensors.find((t) => t.name === name)?.options?.levels;
  expect(levels("d1")).toBe(256);
  expect(levels("m1")).toBe(5);
  await expect(plan(bytes, { bitsPerWeight: 5 }, { ...options, importance: statistics })).rejects.toThrow(
    /importance and calibration exclude each other/,
  );
});
