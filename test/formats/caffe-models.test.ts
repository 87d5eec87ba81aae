// Real caffemodels: restored to the byte, compressed and restored, and loaded by OpenCV's importer, which still reads QR codes.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { QrImage } from "../../experiments/qr/images.ts";
import { drawImages, IMAGE_DEFAULTS } from "../../experiments/qr/images.ts";
import type { QrModels } from "../../experiments/qr/reader.ts";
import { openReader, qrModels } from "../../experiments/qr/reader.ts";
import type { CompressOptions } from "../../src/compress.ts";
import { compress } from "../../src/compress.ts";
import { decompress } from "../../src/decompress.ts";
import { caffe } from "../../src/formats/caffe.ts";
import type { TensorEntry } from "../../src/formats/format.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { inspect, verify } from "../../src/inspect.ts";
import { byteSource } from "../../src/io/source.ts";
import { memorySink } from "../memory-sink.ts";
import { collect as collectSegments } from "./onnx-fixture.ts";

// ONNX first, as in the command line: it must not take these files for its own.
const formats = [onnx(), caffe()];
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

let models: QrModels;
let images: QrImage[];
beforeAll(async () => {
  models = await qrModels();
  // Clean enough that the reader with the float model reads all of them.
  images = drawImages({ ...IMAGE_DEFAULTS, count: 8, noise: [0, 12], contrast: [150, 220], blur: [0, 0.4] });
});

async function compressed(source: Uint8Array, options: CompressOptions) {
  const out = memorySink();
  const report = await compress(source, out.sink, { formats, ...options });
  return { report, bytes: out.bytes() };
}

describe.each(["detector", "superResolution"] as const)("%s", (which) => {
  test("lists its blobs, gives itself back, whole or from a skeleton", async () => {
    const bytes = models[which];
    const m = await caffe().open(byteSource(bytes), {});
    const weights = m.tensors.filter((t) => t.weight);
    const count = (list: readonly TensorEntry[]): number => list.reduce((sum, t) => sum + t.byteLength / 4, 0);
    expect([m.tensors.length, weights.length, count(m.tensors), count(weights)]).toEqual(
      which === "detector" ? [170, 80, 235_658, 231_128] : [21, 10, 5_301, 5_076],
    );
    const payloads = new Map<string, Uint8Array>();
    for (const t of m.tensors) payloads.set(t.name, await t.read(0, t.byteLength));
    expect(same(await collectSegments((await m.dense(new Map())).main), bytes)).toBe(true);
    expect(same(await collectSegments((await m.dense(payloads)).main), bytes)).toBe(true);
    const skeleton = await collectSegments(await m.skeleton(new Set(payloads.keys())));
    expect(skeleton.length).toBeLessThan(bytes.length - 4 * count(m.tensors));
    const bare = await caffe().open(byteSource(skeleton), { skeleton: true });
    expect(same(await collectSegments((await bare.dense(payloads)).main), bytes)).toBe(true);
  });

  test("compress, inspect, verify, decompress: the same file as --to dense", async () => {
    const bytes = models[which];
    const options = { levels: 16, minSize: 512 };
    const { report, bytes: container } = await compressed(bytes, options);
    expect(report.format).toBe("caffe");
    expect(report.sqnrDb).toBeGreaterThan(18);
    const inspection = await inspect(container, { formats });
    expect(inspection).toMatchObject({ format: "caffe", compressed: true });
    expect(await verify(container, bytes, { formats })).toMatchObject({ ok: true, problems: [] });

    const restored = memorySink();
    await decompress(container, restored.sink, { formats });
    const { bytes: dense } = await compressed(bytes, { ...options, to: "dense" });
    expect(dense.length).toBe(bytes.length);
    expect(same(restored.bytes(), dense)).toBe(true);

    // only weights have changed
    const [before, after] = await Promise.all([bytes, dense].map((b) => caffe().open(byteSource(b), {})));
    const changed = [];
    for (const [i, t] of before!.tensors.entries()) {
      const u = after!.tensors[i]!;
      expect([u.name, u.shape, u.dtype]).toEqual([t.name, t.shape, t.dtype]);
      if (!same(await t.read(0, t.byteLength), await u.read(0, u.byteLength))) changed.push(t);
    }
    expect(changed.length).toBe(report.tensors.filter((t) => t.levels !== undefined).length);
    expect(changed.every((t) => t.weight)).toBe(true);
  });

  test("--to onnx is refused", async () => {
    const sink = memorySink();
    await expect(compress(models[which], sink.sink, { formats, to: "onnx" })).rejects.toMatchObject({
      code: "unsupported",
    });
    expect(sink.state()).toBe("aborted");
  });
});

describe("OpenCV in the QR reader", () => {
  async function count(changed: QrModels, of: readonly QrImage[] = images): Promise<number> {
    const reader = await openReader(changed);
    try {
      return of.filter((image) => reader.read(image).some(({ text }) => text === image.text)).length;
    } finally {
      reader.close();
    }
  }

  test("reads the codes with the float models", async () => {
    expect(await count(models)).toBe(images.length);
  });

  test("loads both dense outputs and reads the codes", async () => {
    const [detector, superResolution] = await Promise.all(
      [models.detector, models.superResolution].map((bytes) =>
        compressed(bytes, { to: "dense", levels: 64, minSize: 256 }),
      ),
    );
    expect(detector!.report.weights).toBeGreaterThan(225_000);
    expect(same(detector!.bytes, models.detector)).toBe(false);
    expect(await count({ ...models, detector: detector!.bytes, superResolution: superResolution!.bytes })).toBe(
      images.length,
    );
  });

  test("reads nothing when the weights are gone: it does use them", async () => {
    const m = await caffe().open(byteSource(models.detector), {});
    const zeros = new Map(m.tensors.filter((t) => t.weight).map((t) => [t.name, new Uint8Array(t.byteLength)]));
    const detector = await collectSegments((await m.dense(zeros)).main);
    // One image, since a detector that sees codes everywhere makes the decoder slow.
    expect(await count({ ...models, detector }, images.slice(0, 1))).toBe(0);
  });
});

const python = ["python3", "/usr/bin/python3"].find((path) => spawnSync(path, ["-c", "import cv2"]).status === 0);
describe.skipIf(python === undefined)("OpenCV in Python", () => {
  const folder = mkdtempSync(join(tmpdir(), "wlq-caffe-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const write = (name: string, bytes: Uint8Array): string => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const load = (...files: string[]): number[] =>
    execFileSync(python!, ["test/interop/caffe_load.py", ...files], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map((line) => Number(line.split(" ").at(-1)));

  test("loads the dense output, and its halves of the float model, which are quantized as F16", async () => {
    const prototxt = write("detector.prototxt", models.prototxt);
    const model = write("detector.caffemodel", models.detector);
    const half = join(folder, "half.caffemodel");
    execFileSync(python!, ["-c", "import cv2, sys; cv2.dnn.shrinkCaffeModel(*sys.argv[1:])", model, half]);
    const dense = (await compressed(models.detector, { to: "dense", levels: 256 })).bytes;
    const halfBytes = readFileSync(half);
    const tensors = (await inspect(halfBytes, { formats })).tensors.filter((t) => t.dtype === "F16");
    expect(tensors.length).toBeGreaterThan(80);
    const denseHalf = (await compressed(halfBytes, { to: "dense", levels: 256 })).bytes;
    const far = load(
      prototxt,
      model,
      write("dense.caffemodel", dense),
      half,
      write("half-dense.caffemodel", denseHalf),
    );
    // measured 0, 0.025, 0.003, 0.025: the convolution that is furthest off
    expect(far).toHaveLength(4);
    expect(far[0]).toBe(0);
    expect(far[1]).toBeLessThan(0.05);
    expect(far[2]).toBeLessThan(0.01);
    expect(far[3]).toBeLessThan(0.05);
  });
});
