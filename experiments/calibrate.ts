// npm run experiment:calibrate: text recognition in 16 and 8 levels without training, against int8 and int4.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { MODEL_PATH } from "../examples/ocr/model.ts";
import { formatTable } from "../examples/ocr/text-table.ts";
import { isDepthwise } from "../src/formats/layer.ts";
import { onnx } from "../src/formats/onnx.ts";
import { byteSource } from "../src/io/source.ts";
import { COMPRESS_DEFAULTS } from "../src/select.ts";
import { AFFINE, affineModel } from "./calibrate/affine.ts";
import { type Cost, cpuSeconds, measureCost, measureGflops } from "./calibrate/cost.ts";
import { bytesOf, openSubject, statisticsOf } from "./calibrate/model.ts";
import { pageOf } from "./calibrate/page.ts";
import { plotOf } from "./calibrate/plot.ts";
import { type Quantized, quantized, quantizedNames, restBytes } from "./calibrate/quantized.ts";
import { affineText, percent, type Results, type Row, settingText, verdictsOf } from "./calibrate/results.ts";
import { SETTINGS } from "./calibrate/settings.ts";

const LINES = 90;
const CALIBRATION_COUNT = 40;
const RESULTS = "docs/results";

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

/** One core, one process: what `measureCost` runs. */
async function cost(): Promise<void> {
  const bytes = new Uint8Array(await readFile(MODEL_PATH));
  const start = cpuSeconds();
  const statistics = await statisticsOf(bytes, CALIBRATION_COUNT);
  const captured = cpuSeconds();
  await quantized(bytes, statistics, await depthwiseOf(bytes), { sharing: "layer", levels: 16, known: "all" });
  const measured: Cost = {
    captureSeconds: captured - start,
    quantizeSeconds: cpuSeconds() - captured,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
  print(JSON.stringify(measured));
}

async function depthwiseOf(model: Uint8Array): Promise<string[]> {
  const layers = (await onnx().open(byteSource(model), {})).layers();
  const large = layers.filter(({ shape }) => shape.reduce((a, b) => a * b, 1) >= COMPRESS_DEFAULTS.minSize);
  return large.filter(isDepthwise).map(({ weight }) => weight);
}

async function main(): Promise<void> {
  if (process.argv.includes("--cost")) return cost();
  if (process.argv.includes("--cost-again")) return costAgain();
  progress("cost, in a process of its own");
  const spent = await measureCost();
  const gflops = await measureGflops();
  progress(`reading ${2 * LINES} lines with the float model`);
  const subject = await openSubject(LINES);
  const { bytes: model } = subject;
  const statistics = await statisticsOf(model, CALIBRATION_COUNT);
  const depthwise = await depthwiseOf(model);
  const rows: Row[] = [];
  let first: Quantized | undefined;
  for (const setting of SETTINGS) {
    progress(settingText(setting));
    const made = await quantized(model, statistics, depthwise, setting);
    const { bytes, entropyBytes } = made;
    rows.push({ name: settingText(setting), setting, bytes, entropyBytes, kept: await subject.keptBy(made.dense) });
    if (setting.known === "all") first ??= made;
  }
  const { report } = first as Quantized;
  const opened = await onnx().open(byteSource(model), {});
  for (const setting of AFFINE) {
    progress(affineText(setting));
    const { segments, ...own } = await affineModel(opened, quantizedNames(report), new Set(depthwise), setting);
    const rest = restBytes(report);
    const kept = await subject.keptBy(await bytesOf(segments));
    const sizes = { bytes: own.bytes + rest, entropyBytes: own.entropyBytes + rest };
    rows.push({ name: affineText(setting), affine: setting, ...sizes, kept });
  }
  const results: Results = {
    model: basename(MODEL_PATH),
    floatBytes: model.length,
    calibrationLines: CALIBRATION_COUNT,
    lines: LINES,
    floatAccuracy: subject.accuracy,
    rows,
    layers: report.tensors.flatMap(({ name, shape, output }) =>
      output ? [{ weight: name, shape, sqnrDb: output.sqnrDb, nearestDb: output.nearestDb }] : [],
    ),
    cost: spent,
    gflops,
    verdicts: verdictsOf(rows, spent, gflops),
  };
  await write(results);
}

async function write(results: Results): Promise<void> {
  print(summary(results));
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, "calibrate.json"), `${JSON.stringify(results, null, 1)}\n`);
  await writeFile(join(RESULTS, "calibrate.svg"), plotOf(results.rows));
  await writeFile(join(RESULTS, "calibrate.md"), pageOf(results));
}

/** Cost alone, on a quiet machine; the rest stays as it was measured. */
async function costAgain(): Promise<void> {
  const before = JSON.parse(await readFile(join(RESULTS, "calibrate.json"), "utf8")) as Results;
  const [spent, gflops] = [await measureCost(), await measureGflops()];
  await write({ ...before, cost: spent, gflops, verdicts: verdictsOf(before.rows, spent, gflops) });
}

function summary({ rows, verdicts }: Results): string {
  const right = (heading: string) => ({ heading, align: "right" }) as const;
  return [
    formatTable(
      [{ heading: "setting", align: "left" }, ...["MB", "entropy", "characters", "KL", "lines"].map(right)],
      rows.map(({ name, bytes, entropyBytes, kept: { all } }) => [
        name,
        (bytes / 1e6).toFixed(2),
        (entropyBytes / 1e6).toFixed(2),
        percent(all.characters),
        all.meanKl.toFixed(3),
        `${all.lines}/${all.countLines}`,
      ]),
    ),
    "",
    ...verdicts.map(({ what, goal, measured, held }) => `${held ? "held  " : "MISSED"} ${what}: ${measured}, ${goal}`),
  ].join("\n");
}

await main();
