// safetensors through compress, decompress and decoder: rules kept, other tensors untouched, values of the dtype, same bytes.
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { open } from "../../src/decoder.ts";
import {
  type CompressOptions,
  compress,
  decompress,
  inspect,
  quantize,
  type Report,
  type Source,
  verify,
  WlqError,
} from "../../src/index.ts";
import { Random } from "../kernels/random.ts";
import { type MemorySink, memorySink } from "../memory-sink.ts";
import { bf16Bits, bf16Value, f16Bits, f16Value } from "../reference/half.ts";
import { bytesOf, type FixtureTensor, safetensorsFile } from "./safetensors-fixture.ts";
import { checkSafetensors, type RuleFile } from "./safetensors-rules.ts";

const random = new Random(20_240_601);

/** Weights of about normal distribution as bytes of a float dtype. */
function weightBytes(dtype: string, count: number): Uint8Array {
  const values = random.normals(count).map((x) => x * 0.05);
  if (dtype === "F64") return bytesOf(Float64Array.from(values, (x) => x + 1e-11));
  if (dtype === "F16") return bytesOf(Uint16Array.from(values, f16Bits));
  if (dtype === "BF16") return bytesOf(Uint16Array.from(values, bf16Bits));
  return bytesOf(values);
}

const FLOATS = ["F64", "F32", "F16", "BF16"];
const weight = (name: string, dtype: string, shape: number[]): FixtureTensor => ({
  name,
  dtype,
  shape,
  bytes: weightBytes(
    dtype,
    shape.reduce((a, b) => a * b, 1),
  ),
});
const other = (name: string, dtype: string, shape: number[], bytes: number): FixtureTensor => ({
  name,
  dtype,
  shape,
  bytes: random.bytes(bytes),
});

const everyFloat = (): FixtureTensor[] =>
  FLOATS.flatMap((dtype) => [
    weight(`${dtype}.weight`, dtype, [24, 96]),
    weight(`${dtype}.conv`, dtype, [8, 33, 3, 3]),
  ]);
const biases = FLOATS.map((dtype) => weight(`${dtype}.bias`, dtype, [96]));

const FIXTURES: Record<string, { tensors: FixtureTensor[]; metadata?: Record<string, string> }> = {
  floats: { tensors: [...everyFloat(), ...biases], metadata: { format: "pt" } },
  "every other dtype": {
    tensors: [
      ...everyFloat(),
      ...["C64", "I64", "U64"].map((dtype) => other(dtype, dtype, [2, 3], 48)),
      ...["I32", "U32"].map((dtype) => other(dtype, dtype, [2, 3], 24)),
      ...["I16", "U16"].map((dtype) => other(dtype, dtype, [2, 3], 12)),
      ...["I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"].map((dtype) => other(dtype, dtype, [2, 3], 6)),
      other("F4", "F4", [2, 3], 3),
      other("F6_E2M3", "F6_E2M3", [2, 4], 6),
      other("F6_E3M2", "F6_E3M2", [4], 3),
      other("from the future", "Q5_K", [5, 5], 11),
    ],
    metadata: { format: "pt", note: 'quotes " and \\ and 权重', ["__proto__"]: "here too", "10": "ten", "9": "nine" },
  },
  "odd sizes": {
    tensors: [
      weight("w", "F32", [65, 33]),
      weight("scalar", "F32", []),
      other("none", "F32", [0], 0),
      weight("half scalar", "F16", []),
      other("none either", "F16", [0, 5], 0),
      weight("three", "BF16", [3]),
      weight("five", "F16", [5]),
      weight("odd", "F16", [43, 49]),
      weight("last", "BF16", [47, 45]),
      other("seven", "BOOL", [7], 7),
      other("nor here", "U8", [3, 0, 2], 0),
      other("one", "U8", [1], 1),
      other("five bytes", "I8", [5], 5),
    ],
  },
  names: {
    tensors: [
      ...[
        "__proto__",
        "constructor",
        "2",
        "1",
        "a",
        "a.codes",
        "a.codebook",
        "a.scales",
        "a.codes~1",
        "a.codes.codes",
        "",
      ].map((name) => weight(name, "F32", [48, 48])),
      ...["权重/ü", "😀", 'a "quoted"\\\n\t name', " ", "wlq.tensors", "toString"].map((name) =>
        weight(name, "F16", [48, 48]),
      ),
      other("a.codes~2", "U8", [5], 5),
      other("a.scales~1", "U8", [6], 6),
    ],
    metadata: { format: "pt" },
  },
  "nothing to quantize": { tensors: [other("a", "I32", [9], 36), other("b", "BOOL", [5], 5)] },
  "no tensors": { tensors: [], metadata: { format: "tf" } },
  "one empty tensor": { tensors: [other("a", "F32", [0, 7], 0)] },
};

// tensors whose bytes follow each other in the order given: widths mixed, so that some are not aligned
const MISALIGNED = safetensorsFile([
  other("three", "U8", [3], 3),
  weight("w", "F32", [50, 50]),
  weight("v", "F64", [50, 50]),
]);

const WAYS: Record<string, CompressOptions> = {
  tensor: { granularity: "tensor" },
  "channel, axis 0": { granularity: "channel", axis: 0 },
  "channel, last axis": { granularity: "channel", axis: -1 },
  "channel, axis 1": { granularity: "channel", axis: 1 },
  "groups of 7": { granularity: "group", groupSize: 7 },
  "groups of 64": { granularity: "group", groupSize: 64 },
  "scale a channel, axis 0": { scale: "channel", axis: 0 },
  "scale a channel, last axis": { scale: "channel", axis: -1 },
  "scale a group of 32": { scale: "group", groupSize: 32 },
};

async function compressed(
  source: Source,
  options: CompressOptions,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; report: Report }> {
  const out = memorySink();
  const report = await compress(source, out.sink, options);
  expect(out.state()).toBe("closed");
  expect(report.bytesOut).toBe(out.bytes().length);
  return { bytes: out.bytes(), report };
}

async function decompressed(source: Source): Promise<Uint8Array<ArrayBuffer>> {
  const out = memorySink();
  const report = await decompress(source, out.sink);
  expect(out.state()).toBe("closed");
  expect(report.bytesOut).toBe(out.bytes().length);
  return out.bytes();
}

const payloads = (file: RuleFile): unknown =>
  [...file.tensors]
    .map(([name, { dtype, shape, bytes }]) => [name, dtype, shape, createHash("sha256").update(bytes).digest("hex")])
    .sort();

const same = (a: ArrayBufferView, b: ArrayBufferView): boolean =>
  Buffer.compare(
    new Uint8Array(a.buffer, a.byteOffset, a.byteLength),
    new Uint8Array(b.buffer, b.byteOffset, b.byteLength),
  ) === 0;

/** float32 values of raw bytes. */
function floatsOf(dtype: string, bytes: Uint8Array): Float32Array {
  const { buffer } = bytes.slice();
  if (dtype === "F64") return Float32Array.from(new Float64Array(buffer));
  if (dtype === "F16") return Float32Array.from(new Uint16Array(buffer), f16Value);
  if (dtype === "BF16") return Float32Array.from(new Uint16Array(buffer), bf16Value);
  return new Float32Array(buffer);
}

/** Everything that must hold for a model, its container and its dense file. */
async function checkRoundtrip(
  input: Uint8Array<ArrayBuffer>,
  options: CompressOptions,
  aligned = true,
): Promise<Report> {
  const original = checkSafetensors(input, aligned);
  const { bytes: container, report } = await compressed(input, options);
  checkSafetensors(container);
  const dense = (await compressed(input, { ...options, to: "dense" })).bytes;
  const restored = await decompressed(container);
  const [fromDense, fromContainer] = [checkSafetensors(dense, aligned), checkSafetensors(restored)];
  expect(payloads(fromContainer)).toEqual(payloads(fromDense));
  for (const { metadata } of [fromDense, fromContainer])
    expect(Object.entries(metadata)).toEqual(Object.entries(original.metadata));
  // the dense file differs from the input in quantized payloads only
  expect(dense.length).toBe(input.length);
  expect([...fromDense.tensors.keys()]).toEqual([...original.tensors.keys()]);

  const decoder = await open(container);
  expect(decoder.format).toBe("safetensors");
  expect(Object.entries(decoder.metadata)).toEqual(Object.entries(original.metadata));
  expect([...decoder.names].sort()).toEqual([...original.tensors.keys()].sort());
  for (const entry of report.tensors) {
    const { name, stats } = entry;
    const { dtype, shape, bytes } = original.tensors.get(name)!;
    const { data, ...info } = await decoder.tensor(name);
    expect(info).toMatchObject({ name, dtype, shape });
    expect(fromDense.tensors.get(name)).toMatchObject({ dtype, shape });
    const denseBytes = fromDense.tensors.get(name)!.bytes;
    if (!stats) {
      expect(entry.kept).toEqual(expect.any(String));
      expect(same(data, bytes)).toBe(true);
      expect(same(denseBytes, bytes)).toBe(true);
      continue;
    }
    // values of the dtype, and as many of them as promised
    const values = data as Float32Array;
    expect(values).toBeInstanceOf(Float32Array);
    const own = (await decoder.tensor(name, { as: "dtype" })).data;
    expect(same(own, denseBytes)).toBe(true);
    expect(same(values, floatsOf(dtype, denseBytes))).toBe(true);
    const before = floatsOf(dtype, bytes);
    let error = 0;
    for (let i = 0; i < before.length; i++) error += (before[i]! - values[i]!) ** 2;
    expect(Math.abs(error / before.length - stats.mse)).toBeLessThanOrEqual(1e-6 * stats.mse);
    expect(info.levels).toBe(entry.levels);
    expect(new Set(values).size).toBeLessThanOrEqual(
      entry.scale === "none" && entry.granularity === "tensor" ? entry.levels! : Infinity,
    );
  }
  expect(await verify(container, input)).toMatchObject({ ok: true, problems: [] });
  return report;
}

describe.each(Object.entries(FIXTURES))("%s", (_, { tensors, metadata }) => {
  const input = safetensorsFile(tensors, metadata);

  test.each(Object.entries(WAYS))("%s", async (way, options) => {
    await checkRoundtrip(input, { levels: way.length % 2 ? 16 : 23, minSize: 2000, ...options });
  });

  test("defaults", async () => {
    const report = await checkRoundtrip(input, {});
    expect(report.tensors.map((t) => t.name)).toEqual(tensors.map((t) => t.name));
  });

  test("a container is not compressed again", async () => {
    const { bytes } = await compressed(input, {});
    const out = memorySink();
    const error = await failure(compress(bytes, out.sink, {}));
    expect(error).toMatchObject({ code: "already-compressed" });
    expect([out.state(), out.bytes().length]).toEqual(["aborted", 0]);
  });
});

test.each([2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 255, 256])("%i levels", async (levels) => {
  const input = safetensorsFile([...everyFloat(), weight("odd", "F32", [61, 37])]);
  await checkRoundtrip(input, { levels, granularity: "tensor" });
  await checkRoundtrip(input, { levels, scale: "channel" });
  await checkRoundtrip(input, { levels, granularity: "channel", axis: 1 });
});

test("tensors that were not aligned are in the container and after it", async () => {
  await checkRoundtrip(MISALIGNED, { levels: 16 }, false);
});

test("the extremes of every dtype stay finite, with and without a scale", async () => {
  const top = { F64: 3.4e38, F32: 3.4028234663852886e38, F16: 65504, BF16: 3.3895313892515355e38 };
  const tensors = FLOATS.map((dtype): FixtureTensor => {
    const values = Float64Array.from({ length: 2304 }, (_, i) => {
      const size = top[dtype as keyof typeof top] * (i % 3 === 0 ? 1 : random.unit());
      return i % 2 ? size : -size;
    });
    const bytes =
      dtype === "F64"
        ? bytesOf(values)
        : dtype === "F32"
          ? bytesOf(Float32Array.from(values))
          : bytesOf(
              Uint16Array.from(values, (x) =>
                (dtype === "F16" ? f16Bits : bf16Bits)(Math.fround(x) / (dtype === "BF16" ? 1.01 : 1)),
              ),
            );
    return { name: dtype, dtype, shape: [48, 48], bytes };
  });
  const input = safetensorsFile(tensors);
  for (const options of Object.values(WAYS)) {
    const { bytes } = await compressed(input, { levels: 5, ...options });
    for await (const { name, data } of (await open(bytes)).tensors()) {
      const values = data as Float32Array;
      expect([name, options, values.findIndex((x) => !Number.isFinite(x))]).toEqual([name, options, -1]);
      const own = (await (await open(bytes)).tensor(name, { as: "dtype" })).data;
      expect(floatsOf(name, bytesOf(own)).findIndex((x) => !Number.isFinite(x))).toBe(-1);
    }
  }
});

describe("which tensors", () => {
  const input = safetensorsFile([
    weight("a.w", "F32", [64, 64]),
    weight("b.w", "F32", [64, 64]),
    weight("c.bias", "F32", [64]),
    other("n", "I32", [64], 256),
  ]);
  const shown = (report: Report): unknown =>
    Object.fromEntries(report.tensors.map((t) => [t.name, t.kept ?? `${t.levels} ${t.granularity} ${t.scale}`]));

  test("options by pattern: the last rule wins, over the general ones", async () => {
    const { report } = await compressed(input, {
      levels: 16,
      granularity: "tensor",
      tensors: [
        { match: /w$/, options: { levels: 64 } },
        { match: /^b/, options: { levels: 5, granularity: "channel", axis: 1 } },
      ],
    });
    expect(shown(report)).toEqual({
      "a.w": "64 tensor none",
      "b.w": "5 channel none",
      "c.bias": "not a weight matrix",
      n: "dtype I32",
    });
  });

  test("include takes small ones too, and nothing else; exclude is stronger; minSize", async () => {
    const options = { levels: 16, granularity: "tensor" } as const;
    expect(shown((await compressed(input, { ...options, include: /^c/ })).report)).toEqual({
      "a.w": "not included",
      "b.w": "not included",
      "c.bias": "16 tensor none",
      n: "not included",
    });
    expect(shown((await compressed(input, { ...options, include: /w/, exclude: /a/g })).report)).toMatchObject({
      "a.w": "excluded",
      "b.w": "16 tensor none",
    });
    expect(shown((await compressed(input, { ...options, minSize: 4097 })).report)).toMatchObject({
      "a.w": "fewer than 4097 elements",
    });
  });

  test("naming what cannot be quantized is an error, and so are wrong options, with the tensor's name", async () => {
    expect(await failure(compress(input, memorySink().sink, { include: /n/ }))).toMatchObject({
      code: "unsupported",
      tensor: "n",
    });
    const out = memorySink();
    await expect(
      compress(input, out.sink, { tensors: [{ match: /b/, options: { granularity: "channel", axis: 2 } }] }),
    ).rejects.toThrow(/^tensor "b\.w": axis 2 is outside the shape \[64, 64\]$/);
    expect(out.state()).toBe("aborted");
  });
});

test("names that containers need are refused", async () => {
  for (const name of ["__wlq__.model", "__wlq__.checksums"]) {
    const input = safetensorsFile([weight("w", "F32", [48, 48]), other(name, "U8", [8], 8)]);
    const out = memorySink();
    expect(await failure(compress(input, out.sink))).toMatchObject({ code: "unsupported", tensor: name });
    expect(out.state()).toBe("aborted");
    await compressed(input, { to: "dense" });
  }
});

describe("weights that are not finite", () => {
  const values = random.normals(4096);
  values[1234] = Number.NaN;
  values[4000] = Number.NEGATIVE_INFINITY;
  const input = safetensorsFile([
    weight("good", "F32", [64, 64]),
    { name: "bad", dtype: "F32", shape: [64, 64], bytes: bytesOf(values) },
  ]);

  test.each(Object.entries(WAYS))("pass through with a warning by default: %s", async (_, options) => {
    const report = await checkRoundtrip(input, { levels: 16, ...options });
    expect(report.tensors.map((t) => t.kept)).toEqual([undefined, "has a NaN or infinity"]);
    expect(report.warnings).toEqual([expect.stringMatching(/"bad".*weight (1234|4000) is (NaN|-Infinity)/)]);
  });

  test.each([{ include: /bad/ }, { tensors: [{ match: /b/, options: { levels: 4 } }] }])(
    "named: an error, or kept",
    async (named) => {
      const out = memorySink();
      const error = await failure(compress(input, out.sink, { granularity: "tensor", ...named }));
      expect(error).toMatchObject({
        code: "non-finite",
        tensor: "bad",
        message: expect.stringMatching(/"bad": weight 1234 is NaN.*--non-finite keep/),
      });
      expect([out.state(), out.bytes().length]).toEqual(["aborted", 0]);
      const { report } = await compressed(input, { ...named, nonFinite: "keep" });
      expect(report.tensors[1]).toMatchObject({ kept: "has a NaN or infinity" });
    },
  );

  test("in F16, BF16 and F64", async () => {
    const half = Uint16Array.from(random.normals(2304), f16Bits);
    half[77] = 0x7c01;
    const brain = Uint16Array.from(random.normals(2304), bf16Bits);
    brain[78] = 0xff80;
    const double = Float64Array.from(random.normals(2304));
    double[79] = 1e39; // beyond float32
    const tensors = [
      ["F16", half],
      ["BF16", brain],
      ["F64", double],
    ] as const;
    for (const [dtype, data] of tensors) {
      const file = safetensorsFile([{ name: "w", dtype, shape: [48, 48], bytes: bytesOf(data) }]);
      const error = await failure(compress(file, memorySink().sink, { include: /w/ }));
      expect(error.message).toMatch(
        dtype === "F64" ? /weight 79 is Infinity/ : dtype === "BF16" ? /weight 78 is -Infinity/ : /weight 77 is NaN/,
      );
    }
  });
});

describe("same bytes", () => {
  const input = safetensorsFile([
    weight("a", "F32", [700, 300]),
    weight("b", "F16", [129, 1000]),
    weight("c", "BF16", [90, 90]),
    other("d", "U8", [70_001], 70_001),
  ]);
  const late = (start: number, end: number): Promise<ArrayBuffer> =>
    new Promise((done) => setTimeout(() => done(input.buffer.slice(start, end)), (start + end) % 3));
  const sources: Record<string, () => Source> = {
    "an ArrayBuffer": () => input.buffer.slice(0),
    "bytes at an odd place": () => {
      const moved = new Uint8Array(input.length + 3).subarray(3);
      moved.set(input);
      return moved;
    },
    "a Blob": () => new Blob([input]),
    "exact ranges, at once": () => ({
      byteLength: input.length,
      slice: (start: number, end: number) => input.buffer.slice(start, end),
    }),
    "exact ranges, late": () => ({ byteLength: input.length, slice: late }),
  };

  test.each(["tensor", "channel, axis 1", "scale a group of 32"])(
    "from whatever source, and twice: %s",
    async (way) => {
      for (const to of ["container", "dense"] as const) {
        const options = { levels: 17, to, ...WAYS[way] };
        const { bytes: first } = await compressed(input, options);
        for (const source of Object.values(sources)) {
          const { bytes } = await compressed(source(), options);
          expect(same(bytes, first)).toBe(true);
        }
      }
      const { bytes } = await compressed(input, { levels: 17, ...WAYS[way] });
      const restored = await decompressed(bytes);
      const ranges: Source = {
        byteLength: bytes.length,
        slice: async (start: number, end: number) => bytes.buffer.slice(start, end),
      };
      expect(same(await decompressed(ranges), restored)).toBe(true);
    },
  );

  test("concurrent runs do not meet", async () => {
    const options = Object.values(WAYS).slice(0, 5);
    const alone: Uint8Array[] = [];
    for (const o of options) alone.push((await compressed(input, o)).bytes);
    const together = await Promise.all(options.map((o) => compressed(sources["exact ranges, late"]!(), o)));
    together.forEach(({ bytes }, i) => expect(same(bytes, alone[i]!)).toBe(true));
    const decoder = await open(alone[0]!);
    const parts = await Promise.all([...decoder.names, ...decoder.names].map((name) => decoder.tensor(name)));
    for (const { name, data } of parts) expect(same(data, (await decoder.tensor(name)).data)).toBe(true);
  });
});

test("large tensors are read in stretches: channels of an inner axis as if in memory", async () => {
  // above 16 MiB, and above 32 MiB of which some channels are kept at a time; two channels of more than 32 MiB each
  const shapes = [
    [[20_000, 450], 1, 0],
    [[1000, 4500], 1, 0],
    [[40, 50, 2200], 1, 0],
    [[8_400_000, 2], 1, 0],
    [[2, 2, 4_300_000], 1, 0],
    [[4_400_000], 0, 9000],
  ] as const;
  for (const [shape, axis, groupSize] of shapes) {
    const count = shape.reduce((a: number, b) => a * b, 1);
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = ((Math.imul(i, 0x9e3779b1) >>> 8) / 2 ** 24 - 0.5) * (1 + (i % 7));
    const input = safetensorsFile([{ name: "w", dtype: "F32", shape, bytes: new Uint8Array(values.buffer) }]);
    const options = groupSize
      ? ({ granularity: "group", groupSize } as const)
      : ({ granularity: "channel", axis } as const);
    const { bytes } = await compressed(input, { levels: 3, include: /w/, entropy: "none", ...options });
    const q = await quantize({ data: values, shape }, { levels: 3, ...options });
    const file = checkSafetensors(bytes);
    expect(same(file.tensors.get("w.codebook")!.bytes, q.codebook)).toBe(true);
    expect(same(file.tensors.get("w.codes")!.bytes.subarray(0, q.codes.length), q.codes)).toBe(true);
  }
});

test("progress counts up to all, and the signal stops it", async () => {
  const input = safetensorsFile([weight("a", "F32", [300, 300]), weight("b", "F16", [300, 300])]);
  for (const to of ["container", "dense"] as const) {
    const steps: number[] = [];
    await compressed(input, { to, onProgress: ({ done, total }) => steps.push(done / total) });
    expect(steps.at(-1)).toBe(1);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
  }
  const stop = new AbortController();
  const out: MemorySink = memorySink();
  const run = compress(input, out.sink, {
    signal: stop.signal,
    onProgress: ({ phase }) => phase === "write" && stop.abort(new Error("enough")),
  });
  expect(await failure(run)).toMatchObject({ code: "aborted", message: "stopped by the caller: enough" });
  expect(out.state()).toBe("aborted");
});

test("inspect tells what is there", async () => {
  const { tensors, metadata } = FIXTURES["odd sizes"]!;
  const input = safetensorsFile(tensors, metadata);
  const plain = await inspect(input);
  expect(plain).toMatchObject({ format: "safetensors", compressed: false, byteLength: input.length });
  expect(plain.tensors.map((t) => t.name)).toEqual(tensors.map((t) => t.name));
  const { bytes } = await compressed(input, { levels: 17, granularity: "channel" });
  const packed = await inspect(bytes);
  expect(packed).toMatchObject({ format: "safetensors", compressed: true });
  expect(packed.tensors.find((t) => t.name === "w")).toMatchObject({
    dtype: "F32",
    shape: [65, 33],
    levels: 17,
    bits: 5,
    granularity: "channel",
    scale: "none",
  });
});

async function failure(promise: Promise<unknown>): Promise<WlqError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(WlqError);
  return error as WlqError;
}
