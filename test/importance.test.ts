// Importance in compress: a file of importances gives what quantize gives with the same array, tensor by tensor.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CompressOptions, compress, init, type QuantizeOptions, quantizeSync, type Report } from "../src/index.ts";
import { wlq } from "./cli-process.ts";
import { bytesOf, type FixtureTensor, safetensorsFile } from "./formats/safetensors-fixture.ts";
import { checkSafetensors } from "./formats/safetensors-rules.ts";
import { Random } from "./kernels/random.ts";
import { memorySink } from "./memory-sink.ts";

beforeAll(() => init());

const random = new Random(21);
const f32 = (name: string, shape: readonly number[], data: Float32Array): FixtureTensor => ({
  name,
  dtype: "F32",
  shape,
  bytes: bytesOf(data),
});
const positive = (count: number): Float32Array => Float32Array.from({ length: count }, () => random.unit() ** 4 * 9);

async function run(model: Uint8Array, options: CompressOptions): Promise<{ report: Report; file: Uint8Array }> {
  const { sink, bytes } = memorySink();
  const report = await compress(model, sink, { entropy: "none", ...options });
  return { report, file: bytes() };
}

/** Codebook, codes and weighted error of `w` in the container are those of `quantize`. */
async function sameAsQuantize(
  data: Float32Array,
  shape: readonly number[],
  file: FixtureTensor,
  importance: Float32Array,
  options: Omit<QuantizeOptions, "importance">,
): Promise<void> {
  const model = safetensorsFile([f32("w", shape, data)]);
  const { report, file: out } = await run(model, { ...options, include: /w/, importance: safetensorsFile([file]) });
  const q = quantizeSync({ data, shape }, { ...options, importance });
  const parts = checkSafetensors(out).tensors;
  expect(parts.get("w.codebook")?.bytes).toEqual(bytesOf(q.codebook));
  expect(parts.get("w.codes")?.bytes.subarray(0, q.codes.length)).toEqual(q.codes);
  const [tensor] = report.tensors;
  expect(tensor?.stats?.weighted).toEqual(q.stats.weighted);
  expect(report.weightedSqnrDb).toBe(q.stats.weighted?.sqnrDb);
  let error = 0;
  let signal = 0;
  for (let i = 0; i < data.length; i++) signal += (importance[i] as number) * (data[i] as number) ** 2;
  const codes = Uint8Array.from(data, (_, i) => (q.codes[(i * q.bits) >> 3] as number) >> ((i * q.bits) & 7));
  const row = shape.slice(1).reduce((a, b) => a * b, 1);
  if (q.bits === 4 && options.granularity === "channel" && (options.axis ?? 0) === 0) {
    for (let i = 0; i < data.length; i++) {
      const c = q.codebook[Math.floor(i / row) * q.levels + ((codes[i] as number) & 15)] as number;
      error += (importance[i] as number) * ((data[i] as number) - c) ** 2;
    }
    expect(q.stats.weighted?.error).toBeCloseTo(error, 6);
  }
  expect(q.stats.weighted?.signal).toBeCloseTo(signal, 3);
}

describe("the same as quantize with the same array", () => {
  test.each<[string, readonly number[], Omit<QuantizeOptions, "importance">]>([
    ["a codebook a row", [24, 300], { levels: 16, granularity: "channel" }],
    ["a codebook a column", [300, 24], { levels: 16, granularity: "channel", axis: 1 }],
    ["a codebook a long row", [3, 40_000], { levels: 16, granularity: "channel" }],
    ["a codebook a group", [70, 33], { levels: 5, granularity: "group", groupSize: 100 }],
    ["one codebook", [40, 1000], { levels: 16, granularity: "tensor" }],
    ["a scale a channel", [40, 1000], { levels: 17, scale: "channel" }],
    ["equal steps", [40, 100], { levels: 16, granularity: "tensor", method: "uniform" }],
  ])("%s", async (_, shape, options) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const importance = positive(count);
    await sameAsQuantize(random.normals(count), shape, f32("w", shape, importance), importance, options);
  });

  test.each<[string, readonly number[], readonly number[]]>([
    ["a vector along a linear layer's input", [32, 96], [96]],
    ["along an ONNX MatMul's input", [96, 32], [96, 1]],
    ["a convolution's input channels", [16, 12, 3, 3], [12, 1, 1]],
    ["a 1x1 convolution's", [16, 120, 1, 1], [120, 1, 1]],
    ["a factor an output channel and position", [16, 12, 3, 3], [16, 1, 3, 3]],
    ["one number", [16, 12], [1]],
    ["a scalar", [16, 12], []],
    ["more than a read", [3, 50_000], [1, 50_000]],
    ["long runs", [3, 50_000], [3, 1]],
  ])("broadcast: %s", async (_, shape, small) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const values = positive(small.reduce((a, b) => a * b, 1));
    const lead = shape.length - small.length;
    const importance = Float32Array.from({ length: count }, (__, e) => {
      let place = 0;
      let stride = 1;
      let rest = e;
      for (let d = shape.length - 1; d >= 0; d--) {
        const at = rest % (shape[d] as number);
        rest = Math.floor(rest / (shape[d] as number));
        const dim = d >= lead ? (small[d - lead] as number) : 1;
        if (dim > 1) place += at * stride;
        stride *= dim;
      }
      return values[place] as number;
    });
    const data = random.normals(count);
    const options = { levels: 16, granularity: "channel" } as const;
    await sameAsQuantize(data, shape, f32("w", small, values), importance, options);
  });

  test("float16, bfloat16 and float64 importance", async () => {
    const shape = [16, 64];
    const data = random.normals(1024);
    // values that all of these dtypes have
    const importance = Float32Array.from(data, () => random.below(128) / 16);
    const bits = new Uint32Array(importance.buffer);
    const half = Uint16Array.from(importance, (h) => {
      if (h === 0) return 0;
      const e = Math.floor(Math.log2(h));
      return ((e + 15) << 10) | Math.round((h / 2 ** e - 1) * 1024);
    });
    const files: [string, ArrayBufferView][] = [
      ["F16", half],
      ["BF16", Uint16Array.from(bits, (b) => b >>> 16)],
      ["F64", Float64Array.from(importance)],
    ];
    for (const [dtype, view] of files) {
      const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      const options = { levels: 16, granularity: "channel" } as const;
      await sameAsQuantize(data, shape, { name: "w", dtype, shape, bytes }, importance, options);
    }
  });
});

describe("what a file of importances may not be", () => {
  const data = random.normals(4096);
  const model = safetensorsFile([
    f32("a", [64, 64], data),
    f32("b", [64, 64], data),
    f32("bias", [64], data.slice(0, 64)),
  ]);
  const attempt = (...tensors: FixtureTensor[]): Promise<unknown> =>
    run(model, { levels: 4, importance: safetensorsFile(tensors) });
  const spoilt = (at: number, value: number): Float32Array => {
    const h = positive(4096);
    h[at] = value;
    return h;
  };

  test.each<[string, FixtureTensor, object]>([
    [
      "a tensor that the model does not have",
      f32("module.a", [64, 64], positive(4096)),
      { code: "not-found", tensor: "module.a", message: 'importance has the tensor "module.a", the model does not' },
    ],
    [
      "another shape",
      f32("a", [64, 32], positive(2048)),
      {
        code: "malformed",
        tensor: "a",
        message: 'tensor "a": its shape is [64,64], that of its importance [64,32], which does not broadcast',
      },
    ],
    ["more dimensions", f32("a", [1, 64, 64], positive(4096)), { code: "malformed", tensor: "a" }],
    [
      "integers",
      { name: "a", dtype: "I32", shape: [64, 64], bytes: new Uint8Array(16384) },
      { code: "malformed", message: 'tensor "a": its importance is I32, not F64, F32, F16 or BF16' },
    ],
    [
      "a negative value",
      f32("a", [64, 64], spoilt(130, -2)),
      {
        code: "malformed",
        tensor: "a",
        message: 'tensor "a": importance must be finite and not negative; importance 130 is -2',
      },
    ],
    ["NaN", f32("b", [64, 64], spoilt(4095, Number.NaN)), { code: "malformed", tensor: "b" }],
    ["infinity", f32("b", [64], spoilt(0, Number.POSITIVE_INFINITY).slice(0, 64)), { code: "malformed", tensor: "b" }],
  ])("%s", async (_, tensor, error) => {
    await expect(attempt(tensor)).rejects.toMatchObject({ name: "WlqError", ...error });
  });

  test("tensors without importance are named in a warning, others of the model's are no matter", async () => {
    const importance = safetensorsFile([f32("b", [64, 64], positive(4096)), f32("bias", [64], positive(64))]);
    const { report } = await run(model, { levels: 4, importance });
    expect(report.warnings).toEqual(['tensor "a" has no importance: all its weights count the same']);
    const [a, b] = report.tensors;
    expect(a?.stats?.weighted).toBeUndefined();
    expect(b?.stats?.weighted?.sqnrDb).toBe(report.weightedSqnrDb);
    const plain = await run(model, { levels: 4 });
    expect(plain.report.tensors[0]?.stats).toEqual(a?.stats);
    expect("weightedSqnrDb" in plain.report).toBe(false);
  });

  test("importance pays where it was asked to: the weighted error falls, the plain one rises", async () => {
    const importance = data.map((x) => x ** 4);
    const options = { levels: 8, granularity: "tensor" } as const;
    const plain = quantizeSync(data, options).stats.mse;
    const weighted = quantizeSync(data, { ...options, importance }).stats;
    const { codebook, codes } = quantizeSync(data, options);
    let error = 0;
    data.forEach((x, i) => {
      const code = (((codes[(i * 3) >> 3] as number) | ((codes[((i * 3) >> 3) + 1] ?? 0) << 8)) >> ((i * 3) & 7)) & 7;
      error += (importance[i] as number) * (x - (codebook[code] as number)) ** 2;
    });
    expect(weighted.weighted?.error).toBeLessThan(error * 0.8);
    expect(weighted.mse).toBeGreaterThan(plain);
  });
});

describe("wlq compress --importance", () => {
  const cwd = mkdtempSync(join(tmpdir(), "wlq-importance-"));
  afterAll(() => rmSync(cwd, { recursive: true }));
  const data = random.normals(64 * 96);
  writeFileSync(join(cwd, "in"), safetensorsFile([f32("w", [64, 96], data), f32("v", [64, 96], data)]));
  writeFileSync(join(cwd, "squares"), safetensorsFile([f32("w", [96], positive(96))]));
  writeFileSync(join(cwd, "other"), safetensorsFile([f32("x", [96], positive(96))]));
  const compressed = (...args: string[]) => wlq(["compress", "in", "out", "-q", "--levels", "16", ...args], { cwd });

  test("the table and the closing line state the weighted error", async () => {
    const { code, stdout, stderr } = await compressed("--importance", "squares", "--granularity", "channel");
    expect([code, stderr]).toEqual([0, 'wlq: tensor "v" has no importance: all its weights count the same\n']);
    expect(stdout).toMatch(/^tensor .* SQNR +weighted +ratio/);
    expect(stdout).toMatch(/SQNR \d+\.\d dB, weighted \d+\.\d dB\n$/);
  });

  test("a file of another model is refused and nothing is written", async () => {
    rmSync(join(cwd, "out"), { force: true });
    const { code, stderr } = await compressed("--importance", "other");
    expect([code, stderr]).toEqual([3, 'wlq: importance has the tensor "x", the model does not\n']);
    const missing = await compressed("--importance", "nowhere");
    expect([missing.code, missing.stderr]).toEqual([3, "wlq: there is no file nowhere\n"]);
    expect(existsSync(join(cwd, "out"))).toBe(false);
  });
});
