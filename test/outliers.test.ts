// Outliers: a share of weights is stored exactly, and the rest is quantized as if they were not there.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseContainer } from "../src/container/coding.ts";
import { openContainer } from "../src/container/reader.ts";
import { readSafetensors } from "../src/container/safetensors.ts";
import { open } from "../src/decoder.ts";
import { onnx } from "../src/formats/onnx.ts";
import {
  type CompressOptions,
  compress,
  compressStream,
  decompress,
  decompressStream,
  inspect,
  plan,
  quantize,
  type Report,
  tensorStream,
  verify,
  WlqError,
} from "../src/index.ts";
import { byteSource } from "../src/io/source.ts";
import { decodeBinary, decodeScope } from "../src/wasm/decode.ts";
import { load } from "../src/wasm/kernel.ts";
import { bytesOf, safetensorsFile } from "./formats/safetensors-fixture.ts";
import { sameBits } from "./kernels/instances.ts";
import { Random } from "./kernels/random.ts";
import { memorySink } from "./memory-sink.ts";
import { bf16Bits, bf16Value, f16Bits, f16Value } from "./reference/half.ts";
import { outlierOrder } from "./reference/outliers.ts";

const ALL = /./;

async function compressed(
  source: Uint8Array,
  options: CompressOptions,
): Promise<{ bytes: Uint8Array; report: Report }> {
  const out = memorySink();
  const report = await compress(source, out.sink, { include: ALL, ...options });
  return { bytes: out.bytes(), report };
}

async function decoded(container: Uint8Array): Promise<Float32Array> {
  return (await (await open(container)).tensor("w")).data as Float32Array;
}

/** Weights with heavy tails. */
function tailed(seed: number, count: number): Float32Array {
  return new Random(seed).normals(count).map((x, i) => (i % 37 === 5 ? x * 8 : x));
}

/** A file of one tensor, and the float32 values that are in it. */
function oneTensor(
  weights: Float32Array,
  shape: readonly number[],
  dtype = "F32",
): { file: Uint8Array; values: Float32Array } {
  const half = dtype === "F16" ? ([f16Bits, f16Value] as const) : ([bf16Bits, bf16Value] as const);
  if (dtype === "F32" || dtype === "F64") {
    const bytes = bytesOf(dtype === "F32" ? weights : Float64Array.from(weights));
    return { file: safetensorsFile([{ name: "w", dtype, shape, bytes }]), values: weights };
  }
  const bits = Uint16Array.from(weights, half[0]);
  const file = safetensorsFile([{ name: "w", dtype, shape, bytes: bytesOf(bits) }]);
  return { file, values: Float32Array.from(bits, half[1]) };
}

const HOW: readonly CompressOptions[] = [
  { levels: 5, scale: "none" },
  { levels: 16, granularity: "channel" },
  { levels: 16, scale: "channel", axis: 1 },
  { levels: 7, granularity: "channel", axis: 1, entropy: "none" },
  { levels: 4, scale: "group", groupSize: 50, pinZero: true },
  { levels: 8, scale: "none", method: "lloyd" },
  { levels: 8, scale: "none", method: "uniform" },
  { method: "ecsq", targetBits: 4, scale: "none" },
  { method: "ecsq", lambda: 0.01, granularity: "channel" },
];

test("the largest are kept bit for bit, in every dtype and coding; the rest is as if they were not there", async () => {
  const shape = [60, 70];
  for (const dtype of ["F32", "F16", "BF16", "F64"]) {
    for (const how of HOW) {
      const { file, values } = oneTensor(tailed(3, 4200), shape, dtype);
      const { bytes, report } = await compressed(file, { ...how, outliers: 0.02 });
      const chosen = outlierOrder(values).slice(0, 84);
      const { count = 0, byteLength = 0 } = report.tensors[0]?.outliers ?? {};
      expect([count, byteLength % 8]).toEqual([84, 0]);
      const data = await decoded(bytes);
      for (const i of chosen) expect(data[i]).toBe(values[i]);
      // without them: they are 0 and count nothing
      const rest = values.slice();
      const importance = new Float32Array(4200).fill(1);
      for (const i of chosen) importance[i] = rest[i] = 0;
      const { targetBits } = how;
      const without = await compressed(oneTensor(rest, shape, dtype).file, {
        ...how,
        ...(targetBits ? { targetBits: targetBits - (byteLength * 8) / 4200 } : {}),
        importance: oneTensor(importance, shape).file,
      });
      const want = await decoded(without.bytes);
      for (const i of chosen) want[i] = values[i] as number;
      sameBits(data, want);
      const whole = await verify(bytes, file);
      expect(whole.ok).toBe(true);
      expect(whole.sqnrDb).toBeCloseTo(report.sqnrDb as number, 9);
      const dense = memorySink();
      await compress(file, dense.sink, { ...how, outliers: 0.02, include: ALL, to: "dense" });
      const restored = memorySink();
      await decompress(bytes, restored.sink);
      sameBits(dense.bytes(), restored.bytes());
    }
  }
});

test("any share of any weights: counts, ties by place, no zeros, importance", async () => {
  const few = fc.constantFrom(0, -0, 1, -1, 2, 0.5, -3);
  const arrays = fc.array(few, { minLength: 1, maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(
      arrays,
      fc.double({ min: 0, max: 0.5, noNaN: true }),
      fc.boolean(),
      async (list, outliers, weighted) => {
        const weights = Float32Array.from(list);
        const cost = weights.map((_, i) => (i % 5) / 2);
        const { file } = oneTensor(weights, [list.length]);
        const importance = weighted ? { importance: oneTensor(cost, [list.length]).file } : {};
        const { bytes, report } = await compressed(file, { levels: 2, scale: "none", outliers, ...importance });
        const chosen = outlierOrder(weights, weighted ? cost : undefined).slice(0, Math.round(outliers * list.length));
        expect(report.tensors[0]?.outliers?.count ?? 0).toBe(chosen.length);
        const data = await decoded(bytes);
        for (const i of chosen) expect(data[i]).toBe(weights[i]);
        expect((await inspect(bytes)).tensors[0]?.outliers).toEqual(report.tensors[0]?.outliers);
      },
    ),
    { numRuns: 60 },
  );
});

describe("a tensor of several blocks", () => {
  const count = 262144 * 2 + 70000;
  const weights = tailed(8, count);
  // one block without outliers
  weights.fill(0.001, 262144, 2 * 262144);
  const { file } = oneTensor(weights, [count]);
  const made = compressed(file, { levels: 16, scale: "none", outliers: 0.01 });

  test("is decoded whole, as a stream, and by streams, whatever their chunks", async () => {
    const { bytes, report } = await made;
    const chosen = outlierOrder(weights).slice(0, Math.round(0.01 * count));
    const data = await decoded(bytes);
    expect(chosen.filter((i) => data[i] !== weights[i])).toEqual([]);
    const { body } = await tensorStream(bytes, "w");
    sameBits(new Float32Array(await new Response(body).arrayBuffer()), data);
    const want = memorySink();
    await decompress(bytes, want.sink);
    for (const size of [7777, 1 << 20]) {
      let at = 0;
      const input = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (at >= bytes.length) return controller.close();
          controller.enqueue(bytes.slice(at, at + size));
          at += size;
        },
      });
      const out = memorySink();
      await input.pipeThrough(decompressStream()).pipeTo(out.sink);
      sameBits(out.bytes(), want.bytes());
    }
    // 9.1 bits a place at 1 %: within a tenth of the entropy
    const { byteLength = 0 } = report.tensors[0]?.outliers ?? {};
    expect((byteLength * 8) / chosen.length - 32).toBeLessThan(8.9);
  });

  test("takes what the report says, and less error", async () => {
    const { bytes, report } = await made;
    const plain = await compressed(file, { levels: 16, scale: "none" });
    expect(report.sqnrDb).toBeGreaterThan((plain.report.sqnrDb as number) + 3);
    const { stats, bytesOut } = report.tensors[0] as Report["tensors"][number];
    expect(Math.abs(((stats?.bitsPerWeight ?? 0) * count) / 8 - bytesOut)).toBeLessThan(16);
    sameBits((await compressed(file, { levels: 16, scale: "none", outliers: 0.01 })).bytes, bytes);
  });
});

test("pruned tensors: exact zeros cost what entropy says, with and without outliers", async () => {
  const count = 200_000;
  for (const share of [0.9, 0.95]) {
    const random = new Random(17);
    const chance = random.bytes(count);
    const weights = random.normals(count).map((x, i) => ((chance[i] as number) < share * 256 ? 0 : x));
    const { file } = oneTensor(weights, [count]);
    for (const outliers of [0, 0.005]) {
      const { bytes, report } = await compressed(file, { levels: 16, scale: "none", pinZero: true, outliers });
      const { stats, bytesOut, outliers: kept } = report.tensors[0] as Report["tensors"][number];
      const entropy = ((stats?.entropyBits ?? 0) * count) / 8;
      expect(stats?.entropyBits).toBeLessThan(share === 0.9 ? 0.9 : 0.55);
      expect(bytesOut - (kept?.byteLength ?? 0)).toBeLessThan(entropy * 1.01 + 200);
      const data = await decoded(bytes);
      expect(data.every((x, i) => weights[i] !== 0 || x === 0)).toBe(true);
    }
  }
});

describe("refused with a word", () => {
  test("by quantize: a lone tensor", async () => {
    const options = (outliers: number): object => ({ levels: 2, outliers });
    await expect(quantize(Float32Array.of(1, 2, 3), options(0.01))).rejects.toThrow(
      new RangeError("outliers 0.01: a lone tensor has no place for them, a model file has"),
    );
    expect((await quantize(Float32Array.of(1, 2, 3), options(0))).levels).toBe(2);
  });

  const { file } = oneTensor(tailed(1, 4096), [64, 64]);
  const outliers = 0.01;

  test("shares that are none, plans, streams, graphs, calibration", async () => {
    for (const wrong of [-1, 0.6, Number.NaN, "1" as unknown as number]) {
      if (Number.isNaN(wrong)) continue;
      await expect(compressed(file, { outliers: wrong })).rejects.toThrow(/outliers must be a share .* from 0 to 0.5/);
    }
    await expect(plan(file, { bytes: 3000 }, { outliers })).rejects.toThrow(RangeError);
    const made = await plan(file, { bytes: 3000 });
    await expect(compressed(file, { include: undefined as never, plan: made, outliers })).rejects.toThrow(/plan/);
    const stream = new Blob([new Uint8Array(file)]).stream().pipeThrough(compressStream({ outliers }));
    await expect(new Response(stream).arrayBuffer()).rejects.toThrow(/outliers.*use compress/);
    const calibration = { open: async () => ({ knows: () => false }) as never };
    await expect(compressed(file, { outliers, calibration })).rejects.toThrow(/no calibration/);
  });

  test("NaN and importance that is not fit, as without outliers", async () => {
    const weights = tailed(1, 4096);
    weights[77] = Number.NaN;
    await expect(compressed(oneTensor(weights, [64, 64]).file, { outliers })).rejects.toMatchObject({
      code: "non-finite",
    });
    const cost = new Float32Array(4096).fill(1);
    cost[9] = -1;
    const importance = oneTensor(cost, [64, 64]).file;
    await expect(compressed(file, { outliers, importance })).rejects.toThrow(/importance 9 is -1/);
  });

  test("onnx", async () => {
    const { readFileSync } = await import("node:fs");
    const { MODEL_PATH } = await import("../examples/ocr/model.ts");
    const out = memorySink();
    const options = { outliers, formats: [onnx()], to: "onnx" } as const;
    await expect(compress(new Uint8Array(readFileSync(MODEL_PATH)), out.sink, options)).rejects.toThrow(/container/);
    expect(out.state()).toBe("aborted");
  });
});

describe("files that lie", () => {
  /** Changes the list of outliers, or the map, and reads without checksums. */
  async function lying(change: (list: Uint8Array, map: Record<string, unknown>) => void): Promise<unknown> {
    const { file } = oneTensor(tailed(2, 300_000), [300_000]);
    const { bytes } = await compressed(file, { levels: 16, scale: "none", outliers: 0.01 });
    await load(decodeBinary);
    const source = byteSource(bytes);
    const header = await readSafetensors(source);
    const part = header.tensors.get("w.outliers");
    if (!part) throw new Error("no outliers");
    const list = bytes.subarray(part.offset, part.offset + part.byteLength);
    const map = JSON.parse(header.metadata["wlq.tensors"] as string);
    change(list, map.w);
    const container = await openContainer(source, decodeScope(), false);
    const sums = header.tensors.get("__wlq__.checksums")?.byteLength as number;
    const changed = { ...header, metadata: { ...header.metadata, "wlq.tensors": JSON.stringify(map) } };
    const tensor = parseContainer(changed, sums / 8).tensors.get("w") as Parameters<typeof container.tiles>[0];
    let weights = 0;
    for await (const { count } of container.tiles(tensor)) weights += count;
    return weights;
  }
  // 3000 float32 values, the low bits, two rows of the table
  const TABLE = 12_000;

  test.each<[string, (list: Uint8Array, map: Record<string, unknown>) => void]>([
    ["low bits", (list) => list.fill(18, TABLE, TABLE + 1)],
    ["low bits that are others", (list) => list.fill(17, TABLE, TABLE + 1)],
    ["a count", (list) => list.fill(255, TABLE + 1, TABLE + 2)],
    ["a count and the next", (list) => list.set([0, 0, 0], TABLE + 1)],
    ["a size", (list) => list.fill(255, TABLE + 4, TABLE + 7)],
    ["no size", (list) => list.fill(0, TABLE + 4, TABLE + 7)],
    ["gaps of nothing", (list) => list.fill(0, TABLE + 13)],
    ["a value", (list) => list.fill(255, 400, 404)],
    ["how many", (_, map) => (map.exact = 2999)],
    ["more than there are", (_, map) => (map.exact = 1e9)],
    ["no number", (_, map) => (map.exact = "3000 ")],
    ["half a number", (_, map) => (map.exact = 2.5)],
    ["an object", (_, map) => (map.exact = {})],
    ["no name", (_, map) => delete map.outliers],
    ["another part", (_, map) => (map.outliers = "w.codes")],
    ["a part that is not there", (_, map) => (map.outliers = "v")],
  ])("%s", async (_, change) => {
    const error = await lying(change).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(WlqError);
    expect(error).toMatchObject({ code: "malformed", message: expect.stringMatching(/"[vw]/) });
  });

  test("any bytes: an error with a code, or weights of the right number", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(40_000), fc.nat(255), fc.nat(40), async (at, value, length) => {
        const result = await lying(
          (list) => void list.fill(value, at % list.length, (at % list.length) + length),
        ).catch((e: unknown) => e);
        if (result !== 300_000) expect(result).toMatchObject({ code: "malformed", tensor: "w" });
      }),
      { numRuns: 25 },
    );
  });
});
