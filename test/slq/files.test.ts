// Files: rounds through state files, formats and dtypes kept, what training must not do refused, hostile states refused.
import { describe, expect, test } from "vitest";
import { readSafetensors } from "../../src/container/safetensors.ts";
import { caffe } from "../../src/formats/caffe.ts";
import type { Format } from "../../src/formats/format.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { compress, dequantize, quantize, verify, WlqError } from "../../src/index.ts";
import { byteSource } from "../../src/io/source.ts";
import { openModel } from "../../src/open.ts";
import { finishState, initState, type NextStateOptions, nextState, probeState, statusOf } from "../../src/slq/files.ts";
import { createSlq, type SlqOptions } from "../../src/slq/index.ts";
import { floats, layer, net, shape } from "../formats/caffe-fixture.ts";
import { f32, graph, i64, model, node, TYPE, value } from "../formats/onnx-fixture.ts";
import { bytesOf, type FixtureTensor, safetensorsFile } from "../formats/safetensors-fixture.ts";
import { sameBits } from "../kernels/instances.ts";
import { Random } from "../kernels/random.ts";
import { memorySink } from "../memory-sink.ts";

const normals = (seed: number, count: number): Float32Array => new Random(seed).normals(count);
const FORMATS: readonly Format[] = [onnx(), caffe()];

/** One tensor, read. */
interface Read {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

async function read(file: Uint8Array): Promise<Map<string, Read>> {
  const source = byteSource(file);
  const { tensors } = await readSafetensors(source);
  const entries = [...tensors.values()].map(async ({ name, dtype, shape: dims, offset, byteLength }) => {
    return [name, { dtype, shape: dims, bytes: (await source.read(offset, offset + byteLength)).slice() }] as const;
  });
  return new Map(await Promise.all(entries));
}

function write(tensors: ReadonlyMap<string, Read>): Uint8Array<ArrayBuffer> {
  return safetensorsFile([...tensors].map(([name, t]): FixtureTensor => ({ name, ...t })));
}

async function init(file: Uint8Array, options: SlqOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
  const out = memorySink();
  await initState(file, out.sink, { ...options, formats: FORMATS });
  expect(out.state()).toBe("closed");
  return out.bytes();
}

async function next(
  state: Uint8Array,
  trained: Uint8Array,
  options: NextStateOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const out = memorySink();
  await nextState(state, trained, out.sink, { ...options, formats: FORMATS });
  expect(out.state()).toBe("closed");
  return out.bytes();
}

async function finish(state: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const out = memorySink();
  await finishState(state, out.sink, { formats: FORMATS });
  return out.bytes();
}

/** Another framework: float32 steps on free weights and on tensors without a mask; gives back what it trained alone. */
async function train(state: Uint8Array, seed: number): Promise<Uint8Array<ArrayBuffer>> {
  const random = new Random(seed);
  const { masks } = await maskNames(state);
  const out = new Map<string, Read>();
  const tensors = await read(state);
  for (const [name, t] of tensors) {
    if ([...masks.values()].includes(name) || name.endsWith(".codebook") || name === "__wlq__.model") continue;
    const bytes = t.bytes.slice();
    const mask = masks.has(name) ? tensors.get(masks.get(name) as string)?.bytes : undefined;
    if (t.dtype === "F32" || t.dtype === "F64") {
      const values = t.dtype === "F32" ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
      values.forEach((x, i) => {
        const step = random.normal() * 0.05;
        values[i] = x + step * (mask?.[i] ?? 1);
      });
    } else if (t.dtype !== "I64") {
      // a bit of the last digit
      const values = new Uint16Array(bytes.buffer);
      values.forEach((x, i) => {
        values[i] = x ^ (random.below(2) * (mask?.[i] ?? 1));
      });
    }
    out.set(name, { ...t, bytes });
  }
  return write(out);
}

async function maskNames(state: Uint8Array): Promise<{ masks: Map<string, string> }> {
  const { metadata } = await readSafetensors(byteSource(state));
  const { layers } = JSON.parse(metadata["wlq.slq"] as string) as { layers: Record<string, { mask: string }> };
  return { masks: new Map(Object.entries(layers).map(([name, { mask }]) => [name, mask])) };
}

const halves = (values: Float32Array): Uint16Array =>
  Uint16Array.from(values, (x) => new Uint32Array(Float32Array.of(x).buffer)[0]! >>> 16);

function smallModel(): Uint8Array<ArrayBuffer> {
  return safetensorsFile(
    [
      { name: "conv.weight", dtype: "F32", shape: [4, 3, 3, 3], bytes: bytesOf(normals(1, 108)) },
      { name: "conv.bias", dtype: "F32", shape: [4], bytes: bytesOf(normals(2, 4)) },
      { name: "fc.weight", dtype: "F32", shape: [30, 20], bytes: bytesOf(normals(3, 600)) },
      { name: "fc.weight.mask", dtype: "F32", shape: [3], bytes: bytesOf(normals(4, 3)) },
      { name: "steps", dtype: "I64", shape: [], bytes: bytesOf(BigInt64Array.of(7n)) },
    ],
    { format: "pt" },
  );
}

/** All rounds with training between; the states on the way. */
async function rounds(file: Uint8Array, options: SlqOptions): Promise<Uint8Array<ArrayBuffer>[]> {
  const states = [await init(file, options)];
  let trained: Uint8Array = states[0] as Uint8Array;
  for (let r = 1; ; r++) {
    const state = await next(states.at(-1) as Uint8Array, trained);
    states.push(state);
    if ((await statusOf(state)).done) return states;
    trained = await train(state, r);
  }
}

describe("a model through its rounds", () => {
  test("safetensors: as the engine does it, everything else trains freely, the end is lossless for compress", async () => {
    const file = smallModel();
    const states = await rounds(file, { levels: 9 });
    const status = await statusOf(states.at(-1) as Uint8Array);
    expect(status.layers.map(({ name, weights, frozen, levels }) => [name, weights, frozen, levels])).toEqual([
      ["conv.weight", 108, 108, 9],
      ["fc.weight", 600, 600, 9],
    ]);
    expect(status.others).toEqual(["steps", "conv.bias", "fc.weight.mask"]);
    // a taken name is left to its owner
    expect((await maskNames(states[0] as Uint8Array)).masks.get("fc.weight")).toBe("fc.weight.mask~1");

    // the same with arrays
    const [conv, fc] = [normals(1, 108), normals(3, 600)];
    const slq = await createSlq({ "conv.weight": conv, "fc.weight": fc }, { levels: 9 });
    for (let r = 1; !slq.done; r++) {
      await slq.next();
      if (slq.done) break;
      const trained = await read(await train(states[r] as Uint8Array, r));
      conv.set(new Float32Array(trained.get("conv.weight")?.bytes.buffer as ArrayBuffer));
      fc.set(new Float32Array(trained.get("fc.weight")?.bytes.buffer as ArrayBuffer));
    }
    const quantized = await finish(states.at(-1) as Uint8Array);
    const tensors = await read(quantized);
    sameBits(new Float32Array(tensors.get("fc.weight")?.bytes.buffer as ArrayBuffer), fc);
    sameBits(new Float32Array(tensors.get("conv.weight")?.bytes.buffer as ArrayBuffer), conv);
    expect([...tensors.keys()].sort()).toEqual([...(await read(file)).keys()].sort());
    expect((await readSafetensors(byteSource(quantized))).metadata).toEqual({ format: "pt" });

    const out = memorySink();
    const report = await compress(quantized, out.sink, { levels: 9, scale: "none", minSize: 0 });
    expect(report.tensors.filter(({ stats }) => stats).map(({ stats }) => stats?.sqnrDb)).toEqual([null, null]);
    expect(await verify(out.bytes(), quantized)).toMatchObject({ ok: true, sqnrDb: null });
    const q = await quantize(fc, { levels: 9 });
    sameBits(await dequantize(q), fc);
  });

  test.each(["F16", "BF16", "F64"])(
    "%s: codebooks are values of the dtype, free weights keep their bytes",
    async (dtype) => {
      const values = normals(5, 800);
      const bytes =
        dtype === "F64"
          ? bytesOf(Float64Array.from(values))
          : dtype === "BF16"
            ? bytesOf(halves(values))
            : bytesOf(Uint16Array.from(values, (x) => 0x3000 + Math.abs(Math.round(x * 1000))));
      const file = safetensorsFile([{ name: "w", dtype, shape: [40, 20], bytes }]);
      const states = await rounds(file, { levels: 5 });
      for (const state of states) expect((await read(state)).get("w")?.dtype).toBe(dtype);
      const first = (await read(states[1] as Uint8Array)).get("w") as Read;
      const mask = (await read(states[1] as Uint8Array)).get("w.mask")?.bytes as Uint8Array;
      const width = bytes.length / 800;
      for (let i = 0; i < 800; i++) {
        if (mask[i])
          expect(first.bytes.subarray(i * width, (i + 1) * width)).toEqual(bytes.slice(i * width, (i + 1) * width));
      }
      const end = (await read(await finish(states.at(-1) as Uint8Array))).get("w") as Read;
      const distinct = new Set(
        Array.from({ length: 800 }, (_, i) => end.bytes.subarray(i * width, (i + 1) * width).join()),
      );
      expect(distinct.size).toBeLessThanOrEqual(5);
      const out = memorySink();
      const report = await compress(await finish(states.at(-1) as Uint8Array), out.sink, {
        levels: 5,
        scale: "none",
        minSize: 0,
      });
      expect(report.sqnrDb).toBeNull();
    },
  );

  test("ONNX: the graph comes along and comes back with the quantized weights", async () => {
    const w = normals(6, 64 * 8);
    const bias = normals(7, 8);
    const file = model({
      graph: graph({
        nodes: [
          node("MatMul", ["x", "w"], ["y"]),
          node("Add", ["y", "b"], ["z"]),
          node("Reshape", ["z", "dims"], ["out"]),
        ],
        initializers: [f32("w", [64, 8], w), f32("b", [8], bias), i64("dims", [-1, 8])],
        inputs: [value("x", TYPE.F32, ["n", 64])],
        outputs: [value("out", TYPE.F32, ["n", 8])],
      }),
    });
    const states = await rounds(file, { levels: 5 });
    expect((await statusOf(states[0] as Uint8Array)).format).toBe("onnx");
    const quantized = await openModel(byteSource(await finish(states.at(-1) as Uint8Array)), FORMATS, {});
    expect(quantized.format).toBe("onnx");
    expect(quantized.tensors.map(({ name }) => name)).toEqual(["w", "b", "dims"]);
    const entry = quantized.tensors.find(({ name }) => name === "w");
    const bytes = (await entry?.read(0, entry.byteLength)) as Uint8Array;
    expect(new Set(new Float32Array(bytes.slice().buffer)).size).toBeLessThanOrEqual(5);
  });

  test("Caffe, and a Caffe file as what training gives", async () => {
    const file = net(
      "small",
      layer("ip", "InnerProduct", [
        new Uint8Array([...shape(10, 20), ...floats(normals(8, 200))]),
        new Uint8Array([...shape(10), ...floats(normals(9, 10))]),
      ]),
    );
    const state = await init(file, { levels: 3, schedule: { clusters: [1, 3] } });
    const second = await next(state, file);
    expect((await statusOf(second)).layers[0]?.frozen).toBeGreaterThan(0);
    const done = await next(second, second);
    const back = await openModel(byteSource(await finish(done)), FORMATS, {});
    expect(back.format).toBe("caffe");
  });

  test("losses measured elsewhere, by the clusters that probe gives", async () => {
    const state = await init(smallModel(), { levels: 5, schedule: { clusters: [2, 5] } });
    const out = memorySink();
    await probeState(state, state, out.sink, { formats: FORMATS });
    const probe = await read(out.bytes());
    expect([...probe.keys()]).toEqual([
      "conv.weight.codebook",
      "fc.weight.codebook",
      "conv.weight.codes",
      "fc.weight.codes",
    ]);
    expect(probe.get("fc.weight.codes")).toMatchObject({ dtype: "U8", shape: [30, 20] });
    const losses = { "fc.weight": [1, 9, 2, 8, 3], "conv.weight": [null, 1, null, 2, null] };
    const second = await next(state, state, { losses });
    const { layers, history } = await statusOf(second);
    expect(layers.find(({ name }) => name === "fc.weight")?.frozenCodes).toEqual([1, 3]);
    expect(layers.find(({ name }) => name === "conv.weight")?.frozenCodes).toEqual([1, 3]);
    expect(history[0]?.losses?.["fc.weight"]?.map(([, loss]) => loss)).toEqual([1, 9, 2, 8, 3]);
  });
});

async function refusal(work: Promise<unknown>): Promise<WlqError> {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(WlqError);
  return error as WlqError;
}

describe("what next refuses", () => {
  test("frozen weights that moved: layer, index and both values; snap puts them back; nothing is written", async () => {
    const state = await next(await init(smallModel()), smallModel());
    const trained = await read(await train(state, 1));
    const mask = (await read(state)).get("fc.weight.mask~1")?.bytes as Uint8Array;
    const weights = new Float32Array(trained.get("fc.weight")?.bytes.buffer as ArrayBuffer);
    const at = mask.indexOf(0);
    const value = weights[at] as number;
    weights[at] = 0.123;
    const out = memorySink();
    const error = await refusal(nextState(state, write(trained), out.sink, {}));
    expect(error).toMatchObject({ code: "moved", tensor: "fc.weight" });
    expect(error.message).toContain(
      `layer "fc.weight": weight ${at} was frozen at ${value} and is ${Math.fround(0.123)}`,
    );
    expect([out.state(), out.bytes().length]).toEqual(["aborted", 0]);
    weights[at] = value;
    const want = await next(state, write(trained));
    weights[at] = 0.123;
    sameBits(await next(state, write(trained), { snap: true }), want);
  });

  test("other names, shapes, dtypes", async () => {
    const state = await init(smallModel());
    const change = async (edit: (tensors: Map<string, Read>) => void): Promise<string> => {
      const tensors = new Map(await read(smallModel()));
      edit(tensors);
      const out = memorySink();
      const error = await refusal(nextState(state, write(tensors), out.sink, {}));
      expect(out.state()).toBe("aborted");
      return error.message;
    };
    expect(await change((t) => t.delete("conv.bias"))).toBe(
      'tensor "conv.bias" is F32 [4] in the state; the trained file has none',
    );
    expect(await change((t) => t.set("fc.weight", { ...(t.get("fc.weight") as Read), shape: [20, 30] }))).toContain(
      "F32 [30, 20] in the state; the trained file has F32 [20, 30]",
    );
    expect(
      await change((t) => t.set("fc.weight", { dtype: "F64", shape: [30, 20], bytes: new Uint8Array(4800) })),
    ).toContain("F64 [30, 20]");
    expect(await change((t) => t.set("more", t.get("conv.bias") as Read))).toContain('"more", the state has none');
  });

  test("a state that is done, one that is not, and what is no state", async () => {
    const states = await rounds(smallModel(), { levels: 3, schedule: { clusters: [3] } });
    const done = states.at(-1) as Uint8Array;
    expect((await refusal(nextState(done, done, memorySink().sink, {}))).message).toContain(
      "all 1 rounds of this state are done",
    );
    expect((await refusal(finishState(states[0] as Uint8Array, memorySink().sink, {}))).message).toContain(
      "round 0 of 1",
    );
    expect((await refusal(statusOf(smallModel()))).message).toContain("no SLQ state");
    const included = init(smallModel(), { include: /steps/ });
    expect((await refusal(included)).message).toContain("dtype is I64");
  });
});

describe("hostile states", () => {
  test("every prefix, every changed byte: an error with a code, or the same meaning", async () => {
    const tiny = safetensorsFile([{ name: "w", dtype: "F32", shape: [4, 8], bytes: bytesOf(normals(10, 32)) }]);
    const state = await next(await init(tiny, { levels: 3 }), tiny);
    for (let length = 0; length < state.length; length++) {
      await refusal(statusOf(state.slice(0, length)));
    }
    await refusal(statusOf(new Uint8Array([...state, 0])));
    const headerEnd = 8 + Number(new DataView(state.buffer).getBigUint64(0, true));
    let accepted = 0;
    for (let at = 0; at < state.length; at++) {
      const damaged = state.slice();
      damaged[at] = (damaged[at] as number) ^ (1 << (at % 8));
      const error = await statusOf(damaged).then(
        () => undefined,
        (e: unknown) => e,
      );
      if (error === undefined) accepted++;
      else expect(error, `byte ${at}: ${String((error as Error).stack)}`).toBeInstanceOf(WlqError);
    }
    // free weights may be anything; so may a few letters of the history
    expect(accepted).toBeLessThan((state.length - headerEnd) * 0.8 + 400);
  });

  test("a plan that was edited has another fingerprint", async () => {
    const state = await init(smallModel(), { levels: 9 });
    const text = new TextDecoder("latin1").decode(state).replace('\\"levels\\":9', '\\"levels\\":8');
    const edited = Uint8Array.from(text, (c) => c.charCodeAt(0));
    expect((await refusal(statusOf(edited))).code).toBe("malformed");
  });
});
