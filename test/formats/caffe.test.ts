// The Caffe reader, dense and skeleton writers: three generations of layers, every spelling of a blob, hostile files.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WlqError } from "../../src/error.ts";
import type { CaffeModel } from "../../src/formats/caffe.ts";
import { caffe } from "../../src/formats/caffe.ts";
import { CAFFE_LIMITS } from "../../src/formats/caffe-net.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { byteSource } from "../../src/io/source.ts";
import {
  diff,
  doubles,
  floats,
  layer,
  legacy,
  net,
  raw,
  shape,
  unpackedDoubles,
  unpackedFloats,
  V1_TYPE,
  v0Layer,
  v1Layer,
} from "./caffe-fixture.ts";
import {
  bytesOf, collect, concat, f32, graph, len, model, node, TYPE, text, toHalf, v, value, varint, weights,
} from "./onnx-fixture.ts"; // biome-ignore format: long lists

const open = (bytes: Uint8Array, skeleton = false): Promise<CaffeModel> =>
  caffe().open(byteSource(bytes), { skeleton });

async function payloadOf(m: CaffeModel, name: string): Promise<Uint8Array> {
  const entry = m.tensors.find((t) => t.name === name)!;
  return (await entry.read(0, entry.byteLength)).slice();
}

async function allPayloads(m: CaffeModel): Promise<Map<string, Uint8Array>> {
  const out = new Map<string, Uint8Array>();
  for (const { name } of m.tensors) out.set(name, await payloadOf(m, name));
  return out;
}

const listing = (m: CaffeModel): unknown => m.tensors.map(({ read: _, place: __, ...rest }) => rest);
const names = (m: CaffeModel): string[] => m.tensors.map((t) => t.name);
const dense = async (m: CaffeModel, payloads: ReadonlyMap<string, Uint8Array>): Promise<Uint8Array> =>
  collect((await m.dense(payloads)).main);

/** toEqual takes seconds for megabytes. */
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

async function failure(promise: Promise<unknown>): Promise<WlqError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(WlqError);
  return error as WlqError;
}

const W = weights(24);
const D = Float64Array.from(W, (x) => x / 3);
const H = toHalf(W);
const bias = floats(weights(4, 9));

/** A net with everything: the blob in question between others, unknown fields on every level. */
function around(...blob: readonly Uint8Array[]): Uint8Array {
  return net(
    "around",
    len(8, len(1, varint(1), varint(6))),
    text(77, "unknown to the net"),
    layer("data", "Input", [], len(143, len(1, len(1, varint(1))))),
    layer(
      "fc",
      "InnerProduct",
      [concat(v(99, 5), ...blob, text(98, "unknown to the blob")), concat(shape(4), bias)],
      v(97, 1),
    ),
    layer("out", "Softmax", []),
  );
}

describe("a blob's payload", () => {
  const spellings: [string, Uint8Array, string, number[], Uint8Array][] = [
    ["data, packed", concat(floats(W), shape(4, 6)), "F32", [4, 6], bytesOf(W)],
    ["data, unpacked", concat(shape(4, 6), unpackedFloats(W)), "F32", [4, 6], bytesOf(W)],
    ["data, packed in two pieces", concat(floats(W.slice(0, 7)), shape(4, 6), floats(W.slice(7))), "F32", [4, 6], bytesOf(W)],
    ["data, both ways", concat(unpackedFloats(W.slice(0, 7)), floats(W.slice(7, 11)), v(99, 1), unpackedFloats(W.slice(11)), shape(4, 6)), "F32", [4, 6], bytesOf(W)],
    ["data, a tag longer than it need be", concat(shape(4, 6), ...[...W].map((x) => concat(Uint8Array.of(0xad, 0x80, 0), bytesOf(Float32Array.of(x))))), "F32", [4, 6], bytesOf(W)],
    ["data and diff", concat(floats(W), diff(W.map((x) => -x)), shape(4, 6)), "F32", [4, 6], bytesOf(W)],
    ["double_data, packed", concat(shape(4, 6), doubles(D)), "F64", [4, 6], bytesOf(D)],
    ["double_data, unpacked", concat(shape(4, 6), unpackedDoubles(D)), "F64", [4, 6], bytesOf(D)],
    ["raw_data, float16", concat(shape(4, 6), raw(2, H)), "F16", [4, 6], bytesOf(H)],
    ["raw_data, float", concat(shape(4, 6), raw(1, W)), "F32", [4, 6], bytesOf(W)],
    ["raw_data, double", concat(shape(4, 6), raw(0, D)), "F64", [4, 6], bytesOf(D)],
    ["raw_data twice: the last counts", concat(shape(4, 6), raw(1, W.map((x) => -x)), raw(1, W)), "F32", [4, 6], bytesOf(W)],
    ["four numbers for a shape", concat(legacy(1, 1, 4, 6), floats(W)), "F32", [1, 1, 4, 6], bytesOf(W)],
    ["four numbers and a shape: they win", concat(floats(W), shape(24), legacy(1, 1, 4, 6)), "F32", [1, 1, 4, 6], bytesOf(W)],
    ["a shape unpacked", concat(floats(W), len(7, v(1, 4), v(1, 6))), "F32", [4, 6], bytesOf(W)],
    ["a shape in two parts", concat(floats(W), shape(4), shape(6)), "F32", [4, 6], bytesOf(W)],
    ["a scalar without a shape", floats(W.slice(0, 1)), "F32", [], bytesOf(W.slice(0, 1))],
    ["no elements", concat(shape(0, 6), floats(new Float32Array(0))), "F32", [0, 6], new Uint8Array(0)],
  ]; // biome-ignore format: a table

  test.each(spellings)("%s is read, in ranges, replaced, and restored", async (_, blob, dtype, dims, expected) => {
    const bytes = around(blob);
    const m = await open(bytes);
    expect(m.tensors[0]).toMatchObject({ name: "fc.weight", dtype, shape: dims, byteLength: expected.length });
    expect(names(m)).toEqual(["fc.weight", "fc.bias"]);
    expect(await payloadOf(m, "fc.weight")).toEqual(expected);
    for (let start = 0; start <= expected.length; start++) {
      for (const size of [1, 5, 33]) {
        const end = Math.min(start + size, expected.length);
        expect((await m.tensors[0]!.read(start, end)).slice()).toEqual(expected.slice(start, end));
      }
    }
    await expect(m.tensors[0]!.read(0, expected.length + 1)).rejects.toThrow(RangeError);
    await expect(m.tensors[0]!.read(2, 1)).rejects.toThrow(RangeError);

    // nothing replaced: the same file
    expect(await dense(m, new Map())).toEqual(bytes);

    // replaced: read back, and nothing else changed
    const other = expected.map((byte) => byte ^ 0x11);
    const changed = await open(await dense(m, new Map([["fc.weight", other]])));
    expect(listing(changed)).toEqual(listing(m));
    expect(await payloadOf(changed, "fc.weight")).toEqual(other);
    expect(await payloadOf(changed, "fc.bias")).toEqual(await payloadOf(m, "fc.bias"));

    // left out, listed again, put back: what a replacement by the same payload gives
    const skeleton = await collect(await m.skeleton(new Set(["fc.weight"])));
    if (expected.length > 8) expect(skeleton.length).toBeLessThanOrEqual(bytes.length - expected.length);
    const bare = await open(skeleton, true);
    expect(listing(bare)).toEqual(listing(m));
    if (expected.length > 0) {
      expect(await failure(open(skeleton))).toMatchObject({ code: "malformed", tensor: "fc.weight" });
      expect(await failure(bare.tensors[0]!.read(0, 1))).toMatchObject({ code: "not-found", tensor: "fc.weight" });
      expect(await failure(bare.dense(new Map()))).toMatchObject({ code: "not-found", tensor: "fc.weight" });
    }
    const same = new Map([["fc.weight", expected]]);
    expect(await dense(bare, same)).toEqual(await dense(m, same));
  });

  test("a packed payload is replaced in its place: the file keeps its size and all other bytes", async () => {
    const blob = concat(floats(W), diff(W), shape(4, 6));
    const bytes = around(blob);
    const m = await open(bytes);
    expect(await dense(m, await allPayloads(m))).toEqual(bytes);
    const other = bytesOf(W).map((byte) => byte ^ 0x22);
    const out = await dense(m, new Map([["fc.weight", other]]));
    const at = Buffer.from(bytes).indexOf(bytesOf(W));
    const expected = bytes.slice();
    expected.set(other, at);
    expect(out).toEqual(expected);
  });

  test("lengths that grow over a varint's size are put right on every level", async () => {
    const values = weights(40);
    const bytes = net(
      "n",
      layer(
        "c",
        "Convolution",
        [concat(shape(2, 20), ...[...values].map((x) => floats(Float32Array.of(x))))],
        text(90, "tail"),
      ),
    );
    const m = await open(bytes);
    const out = await dense(m, new Map([["c.weight", bytesOf(values)]]));
    expect(out.length).toBeLessThan(bytes.length);
    expect(await payloadOf(await open(out), "c.weight")).toEqual(bytesOf(values));
    expect(Buffer.from(out).includes("tail")).toBe(true);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["one too few", concat(shape(4, 6), floats(W.slice(1))), /takes 96 bytes, data has 92/],
    ["half an element", concat(shape(4, 6), len(5, bytesOf(W).slice(0, 95)), len(5, Uint8Array.of(1))), /data has 96/],
    ["none at all", shape(4, 6), /24 elements, the blob no data/],
    ["an empty field", concat(shape(4, 6), floats(new Float32Array(0))), /takes 96 bytes, data has 0/],
    ["two kinds", concat(shape(4, 6), floats(W), doubles(D)), /both data and double_data/],
    ["a negative dimension", concat(shape(), len(7, v(1, -4), v(1, -6)), floats(W)), /-4/],
    ["a negative number", concat(legacy(-1, -1, 4, 6), floats(W)), /-1/],
    ["too many elements", concat(shape(2 ** 40, 2 ** 40), floats(W)), /1099511627776/],
    ["no shape", floats(W), /takes 4 bytes, data has 96/],
  ])("%s is malformed", async (_, blob, message) => {
    expect(await failure(open(around(blob)))).toMatchObject({
      code: "malformed",
      tensor: "fc.weight",
      message: expect.stringMatching(message),
    });
  });

  test("what has no dtype here is not listed and stays: integers, empty blobs", async () => {
    const blobs = [concat(shape(6), raw(3, Int32Array.from({ length: 6 }))), new Uint8Array(0), concat(shape(4), bias)];
    const bytes = net("n", layer("x", "Quant", blobs));
    const m = await open(bytes);
    expect(names(m)).toEqual(["x.blob2"]);
    expect(await dense(m, await allPayloads(m))).toEqual(bytes);
  });
});

describe("layers", () => {
  const blob = (...dims: number[]): Uint8Array =>
    concat(shape(...dims), floats(weights(dims.reduce((a, b) => a * b, 1))));
  const old = (...dims: [number, number, number, number]): Uint8Array =>
    concat(legacy(...dims), floats(weights(dims.reduce((a, b) => a * b, 1))));
  const transposed = v(6, 1);

  test.each<[string, Uint8Array, [string, boolean, number][]]>([
    ["Convolution", layer("c", "Convolution", [blob(8, 3, 3, 3), blob(8)]), [["c.weight", true, 0], ["c.bias", false, 0]]],
    ["of a single value", layer("c", "Convolution", [blob(1, 1, 1, 1)]), [["c.weight", false, 0]]],
    ["with a third blob", layer("c", "Convolution", [blob(8, 3), blob(8), blob(2, 2)]), [["c.weight", true, 0], ["c.bias", false, 0], ["c.blob2", false, 0]]],
    ["of a fork", layer("c", "DepthwiseConvolution", [blob(8, 1, 3, 3)]), [["c.weight", true, 0]]],
    ["Deconvolution", layer("d", "Deconvolution", [blob(8, 4, 3, 3)]), [["d.weight", true, 1]]],
    ["Deconvolution, a channel a group", layer("d", "Deconvolution", [blob(8, 1, 4, 4)]), [["d.weight", true, 0]]],
    ["InnerProduct", layer("f", "InnerProduct", [blob(5, 7), blob(5)], len(117, v(1, 5))), [["f.weight", true, 0], ["f.bias", false, 0]]],
    ["InnerProduct, transposed", layer("f", "InnerProduct", [blob(7, 5)], len(117, v(1, 5), transposed)), [["f.weight", true, 1]]],
    ["InnerProduct, legacy", layer("f", "InnerProduct", [old(1, 1, 5, 7), old(1, 1, 1, 5)]), [["f.weight", true, 2], ["f.bias", false, 0]]],
    ["Embed", layer("e", "Embed", [blob(9, 4)]), [["e.weight", true, 0]]],
    ["LSTM", layer("l", "LSTM", [blob(8, 3), blob(8), blob(8, 2)]), [["l.blob0", true, 0], ["l.blob1", false, 0], ["l.blob2", true, 0]]],
    ["RNN", layer("l", "RNN", [blob(8, 3)]), [["l.blob0", true, 0]]],
    ["BatchNorm", layer("b", "BatchNorm", [blob(8), blob(8), blob(1)]), [["b.blob0", false, 0], ["b.blob1", false, 0], ["b.blob2", false, 0]]],
    ["an unknown matrix", layer("p", "Python", [blob(8, 8)]), [["p.blob0", false, 0]]],
    ["V1 CONVOLUTION", v1Layer("c", V1_TYPE.CONVOLUTION, [old(8, 3, 3, 3), old(1, 1, 1, 8)]), [["c.weight", true, 0], ["c.bias", false, 0]]],
    ["V1 INNER_PRODUCT", v1Layer("f", V1_TYPE.INNER_PRODUCT, [old(1, 1, 5, 7)], len(17, v(1, 5))), [["f.weight", true, 2]]],
    ["V1 INNER_PRODUCT, transposed", v1Layer("f", V1_TYPE.INNER_PRODUCT, [old(1, 1, 7, 5)], len(17, transposed)), [["f.weight", true, 3]]],
    ["V1 DECONVOLUTION", v1Layer("d", V1_TYPE.DECONVOLUTION, [old(8, 4, 3, 3)]), [["d.weight", true, 1]]],
    ["V1 of a number without a name", v1Layer("x", 99, [old(8, 4, 3, 3)]), [["x.blob0", false, 0]]],
    ["V0 conv", v0Layer("c", "conv", [old(8, 3, 3, 3), old(1, 1, 1, 8)]), [["c.weight", true, 0], ["c.bias", false, 0]]],
    ["V0 innerproduct", v0Layer("f", "innerproduct", [old(1, 1, 5, 7)]), [["f.weight", true, 2]]],
    ["names twice", concat(layer("c", "Convolution", [blob(2, 2)]), layer("c", "Convolution", [blob(3, 3)]), layer("c", "Convolution", [blob(4, 4)])), [["c.weight", true, 0], ["c.weight~1", true, 0], ["c.weight~2", true, 0]]],
    ["a name that looks like a second", concat(layer("c.weight~1", "X", []), layer("c", "Convolution", [blob(2, 2), blob(2)]), layer("c", "Convolution", [blob(2, 2)])), [["c.weight", true, 0], ["c.bias", false, 0], ["c.weight~1", true, 0]]],
  ])("%s", async (_, layers, expected) => {
    const bytes = net("n", v1Layer("pool", V1_TYPE.POOLING, []), layers);
    const m = await open(bytes);
    expect(m.tensors.map(({ name, weight, axis }) => [name, weight, axis])).toEqual(expected);
    expect(await dense(m, await allPayloads(m))).toEqual(bytes);
    const all = new Set(names(m));
    const bare = await open(await collect(await m.skeleton(all)), true);
    expect(listing(bare)).toEqual(listing(m));
    expect(await dense(bare, await allPayloads(m))).toEqual(bytes);
  }); // biome-ignore format: a table

  test("a name or a size that does not fit is refused", async () => {
    const m = await open(net("n", layer("c", "Convolution", [blob(2, 2)])));
    expect(await failure(m.dense(new Map([["d", new Uint8Array(16)]])))).toMatchObject({
      code: "not-found",
      tensor: "d",
    });
    expect(await failure(m.dense(new Map([["c.weight", new Uint8Array(15)]])))).toMatchObject({
      code: "malformed",
      tensor: "c.weight",
    });
    expect(await failure(m.skeleton(new Set(["d"])))).toMatchObject({ code: "not-found" });
  });

  test("payloads are read in ranges when they are wanted, and only then", async () => {
    const values = weights(1 << 20);
    const bytes = net("n", layer("c", "Convolution", [concat(shape(1024, 1024), floats(values))], text(90, "behind")));
    const reads: [number, number][] = [];
    const source = byteSource({
      byteLength: bytes.length,
      slice(start: number, end: number) {
        reads.push([start, end]);
        return bytes.slice(start, end).buffer;
      },
    });
    const m = await caffe().open(source, {});
    expect(reads.reduce((sum, [a, b]) => sum + b - a, 0)).toBeLessThan(200_000);
    reads.length = 0;
    await m.tensors[0]!.read(400_000, 400_100);
    expect(reads.map(([a, b]) => b - a)).toEqual([100]);
    const { main } = await m.dense(new Map([["c.weight", bytesOf(values)]]));
    expect(same(await collect(main), bytes)).toBe(true);
    expect(Math.max(...reads.map(([a, b]) => b - a))).toBeLessThanOrEqual(1 << 20);
  });

  test("an unpacked payload of many elements is one record, read by place", async () => {
    const values = weights(100_000);
    const one = new Uint8Array(5 * values.length);
    for (let i = 0; i < values.length; i++) one.set([45, ...bytesOf(values.subarray(i, i + 1))], 5 * i);
    const m = await open(net("n", layer("c", "Convolution", [concat(shape(100, 1000), one)])));
    expect(same(await payloadOf(m, "c.weight"), bytesOf(values))).toBe(true);
    expect((await m.tensors[0]!.read(399_990, 400_000)).slice()).toEqual(bytesOf(values).slice(399_990));
  });
});

describe("detect", () => {
  const is = (bytes: Uint8Array): [boolean, boolean] => {
    const head = bytes.subarray(0, 64);
    return [caffe().detect(head, bytes.length), onnx().detect(head, bytes.length)];
  };
  const fc1 = [concat(shape(4, 6), floats(W)), concat(shape(4), bias)];
  const oldBlob = [concat(legacy(1, 1, 4, 6), floats(W))];

  test.each<[string, Uint8Array]>([
    ["name and layer", net("LeNet", layer("data", "Input", []), layer("fc", "InnerProduct", fc1))],
    ["an empty name", net("", layer("fc", "InnerProduct", fc1))],
    ["no name", layer("fc", "InnerProduct", fc1)],
    ["name and V1 layers", net("CaffeNet", v1Layer("fc6", V1_TYPE.INNER_PRODUCT, oldBlob))],
    ["V1 layers without a name", concat(v1Layer("data", 5, []), v1Layer("fc6", V1_TYPE.INNER_PRODUCT, oldBlob))],
    [
      "one short V1 layer and another",
      concat(v1Layer("d", 5, []), v1Layer("e", 5, []), v1Layer("fc6", V1_TYPE.INNER_PRODUCT, oldBlob)),
    ],
    ["V0 layers without a name", v0Layer("fc6", "innerproduct", oldBlob)],
    [
      "input and input_dim",
      concat(text(3, "data"), v(4, 1), v(4, 3), v(4, 8), v(4, 8), layer("fc", "InnerProduct", fc1)),
    ],
    ["input, input_shape, layer", concat(text(3, "data"), len(8, len(1, varint(1))), layer("fc", "InnerProduct", fc1))],
    ["a name longer than the head", net("n".repeat(300), layer("fc", "InnerProduct", fc1))],
    ["a name in Chinese", net("卷积神经网络", layer("fc", "InnerProduct", fc1))],
  ])("%s", async (_, bytes) => {
    expect(is(bytes)).toEqual([true, false]);
    await open(bytes);
  });

  const onnxModel = (...head: Uint8Array[]): Uint8Array =>
    concat(
      ...head,
      len(
        7,
        graph({
          nodes: [node("MatMul", ["x", "w"], ["y"])],
          initializers: [f32("w", [4, 6], W)],
          outputs: [value("y", TYPE.F32, [1])],
        }),
      ),
    );
  test.each<[string, Uint8Array, boolean]>([
    ["ONNX", model({ graph: graph({ nodes: [], outputs: [] }) }), true],
    ["ONNX that begins with its producer", onnxModel(text(2, "pytorch"), text(3, "1.8"), v(1, 8)), true],
    ["ONNX with an empty producer", onnxModel(text(2, ""), text(3, "1.8"), v(1, 8)), true],
    ["ONNX that begins with its graph", onnxModel(), true],
    ["a TensorFlow graph", len(1, text(1, "input"), text(2, "Placeholder")), false],
    ["another protobuf", concat(v(1, 1), len(100, v(1, 1)), v(200, 3)), false],
    ["a name that says more than the file has", concat(varint(10), varint(4000), new Uint8Array(50).fill(65)), false],
    [
      "JSON",
      new TextEncoder().encode('{"modelTopology": {"class_name": "Model", "config": {"name": "model"}}}'),
      false,
    ],
    ["HDF5", Uint8Array.of(0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0, 0, 8, 8, 0), false],
    ["nothing", new Uint8Array(0), false],
    ["zeros", new Uint8Array(100), false],
  ])("%s is none", (_, bytes, isOnnx) => {
    expect(is(bytes)).toEqual([false, isOnnx]);
  });
});

describe("hostile files", () => {
  const small = concat(
    net(
      "s",
      layer(
        "a",
        "InnerProduct",
        [
          concat(shape(2, 3), floats(weights(6)), diff(weights(6))),
          concat(legacy(1, 1, 1, 2), unpackedFloats(weights(2))),
        ],
        len(117, v(6, 1)),
      ),
      v1Layer("b", V1_TYPE.CONVOLUTION, [concat(legacy(1, 1, 2, 2), doubles(Float64Array.from(weights(4))))]),
      v0Layer("c", "conv", [concat(shape(2, 2), raw(2, toHalf(weights(4))))]),
    ),
  );

  /** Opens, reads all, writes all; the code where it is refused. Any other error fails the test. */
  async function exercise(bytes: Uint8Array, skeleton = false): Promise<string> {
    try {
      caffe().detect(bytes.subarray(0, 64), bytes.length);
      const m = await open(bytes, skeleton);
      if (skeleton) return "works";
      const payloads = await allPayloads(m);
      await dense(m, payloads);
      const bare = await open(await collect(await m.skeleton(new Set(names(m)))), true);
      expect(listing(bare)).toEqual(listing(m));
      const again = await open(await dense(bare, payloads));
      expect(await allPayloads(again)).toEqual(payloads);
      return "works";
    } catch (error) {
      if (!(error instanceof WlqError)) throw error;
      return error.code;
    }
  }

  test("every prefix works or is refused", async () => {
    expect(await exercise(small)).toBe("works");
    let worked = 0;
    for (let end = 0; end < small.length; end++) {
      const outcome = await exercise(small.slice(0, end));
      expect(outcome).toMatch(/^(works|truncated|malformed)$/);
      if (outcome === "works") worked++;
    }
    // behind the first and behind the second layer
    expect(worked).toBe(2);
  });

  test("every flipped byte works or is refused", async () => {
    for (let i = 0; i < small.length; i++) {
      for (let bit = 0; bit < 9; bit++) {
        const bytes = small.slice();
        bytes[i]! ^= bit < 8 ? 1 << bit : 0xff;
        for (const skeleton of [false, true]) {
          expect(await exercise(bytes, skeleton)).toMatch(/^(works|truncated|malformed|unsupported|limit)$/);
        }
      }
    }
  });

  test("bytes at random, and bytes put over bytes, work or are refused", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 12 }),
        fc.nat(small.length - 1),
        fc.nat(12),
        async (put, at, cut) => {
          const bytes = concat(small.slice(0, at), put, small.slice(Math.min(small.length, at + cut)));
          expect(await exercise(bytes)).toMatch(/^(works|truncated|malformed|unsupported|limit)$/);
          expect(await exercise(put)).toMatch(/^(works|truncated|malformed|unsupported|limit)$/);
        },
      ),
      { numRuns: 3000, seed: 7 },
    );
  });

  test.each<[string, Uint8Array, string]>([
    ["a layer that is longer than the file", concat(varint(802), varint(1000), text(1, "a")), "truncated"],
    ["a blob that is longer than its layer", len(100, concat(varint(58), varint(1000))), "malformed"],
    ["data that is longer than its blob", len(100, len(7, concat(varint(42), varint(1000)))), "malformed"],
    ["lengths beyond 2^53", concat(varint(802), varint(2n ** 62n)), "truncated"],
    ["negative lengths", concat(varint(802), varint(-5)), "malformed"],
    [
      "a shape of many dimensions",
      net("n", layer("c", "X", [concat(shape(...new Array(CAFFE_LIMITS.rank + 1).fill(1)), floats(W.slice(0, 1)))])),
      "limit",
    ],
    ["a group", net("n", len(100, varint(11), text(1, "a"), varint(12))), "unsupported"],
    ["a name that is not UTF-8", net("n", len(100, len(1, Uint8Array.of(0xff, 0xfe)))), "malformed"],
    ["a very long name", net("n", layer("n".repeat(70_000), "X", [])), "limit"],
    ["no layer", net("n"), "malformed"],
    ["nothing", new Uint8Array(0), "malformed"],
  ])("%s", async (_, bytes, code) => {
    expect((await failure(open(bytes))).code).toBe(code);
  });

  test("messages nested 10 000 deep are not entered", async () => {
    let body: Uint8Array = new Uint8Array(0);
    for (let i = 0; i < 10_000; i++) body = len(1, body);
    const m = await open(net("n", len(2, len(20, body)), len(100, len(106, body), len(7, floats(W.slice(0, 1))))));
    expect(names(m)).toEqual([".blob0"]);
  });

  test.each<[string, (n: number) => Uint8Array, number]>([
    ["layers", (n) => repeat(len(100), n), CAFFE_LIMITS.layers],
    ["blobs", (n) => len(100, repeat(len(7), n)), CAFFE_LIMITS.blobs],
    ["pieces", (n) => len(100, len(7, shape(n), repeat(floats(Float32Array.of(1)), n))), CAFFE_LIMITS.pieces],
    [
      "pieces",
      (n) => len(100, len(7, shape(n), repeat(concat(unpackedFloats(Float32Array.of(1)), v(99, 1)), n))),
      CAFFE_LIMITS.pieces,
    ],
  ])("too many %s hit a limit, and soon", async (what, make, limit) => {
    const start = performance.now();
    const error = await failure(open(make(limit + 1)));
    expect(error).toMatchObject({ code: "limit", message: `Caffe: more than ${limit} ${what}` });
    expect(performance.now() - start).toBeLessThan(30_000);
  });

  function repeat(bytes: Uint8Array, count: number): Uint8Array {
    const out = new Uint8Array(bytes.length * count);
    for (let i = 0; i < count; i++) out.set(bytes, i * bytes.length);
    return out;
  }
});
