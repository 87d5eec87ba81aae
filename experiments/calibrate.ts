// npm run experiment:calibrate: text recognition in 16 and 8 levels without training, against int8 and int4.
// --calibrated-again: what calibration has no part in keeps its figures; --cost-again: cost alone.
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
import { measureCost, measureGflops } from "./calibrate/cost.ts";
import { bytesOf, openSubject, statisticsOf } from "./calibrate/model.ts";
import { pageOf } from "./calibrate/page.ts";
import { plotOf } from "./calibrate/plot.ts";
import { type Quantized, quantized, quantizedNames, restBytes } from "./calibrate/quantized.ts";
import { affineText, percent, type Results, type Row, settingText, verdictsOf } from "./calibrate/results.ts";
import { NOISE, SETTINGS } from "./calibrate/settings.ts";

const LINES = 90;
const CALIBRATION_COUNT = 40;
const RESULTS = "docs/results";

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

async function depthwiseOf(model: Uint8Array): Promise<string[]> {
  const layers = (await onnx().open(byteSource(model), {})).layers();
  const large = layers.filter(({ shape }) => shape.reduce((a, b) => a * b, 1) >= COMPRESS_DEFAULTS.minSize);
  return large.filter(isDepthwise).map(({ weight }) => weight);
}

async function main(): Promise<void> {
  if (process.argv.includes("--cost-again")) return costAgain();
  progress("cost, in processes of their own");
  const spent = await measureCost(CALIBRATION_COUNT);
  const gflops = await measureGflops();
  progress(`reading ${2 * LINES} lines with the float model`);
  const subject = await openSubject(LINES);
  const { bytes: model } = subject;
  const statistics = await statisticsOf(model, CALIBRATION_COUNT);
  const noisy = await statisticsOf(model, CALIBRATION_COUNT, NOISE);
  const before = process.argv.includes("--calibrated-again") ? await resultsBefore() : undefined;
  const depthwise = await depthwiseOf(model);
  const rows: Row[] = [];
  let first: Quantized | undefined;
  for (const setting of SETTINGS) {
    progress(settingText(setting));
    const name = settingText(setting);
    const made = await quantized(
      model,
      setting.known === "noise" || setting.known === "bits" ? noisy : statistics,
      depthwise,
      setting,
    );
    const plain = setting.known === "nothing" || setting.known === "squares";
    const known = plain ? before?.rows.find((row) => row.name === name) : undefined;
    rows.push({ name, setting, bytes: made.bytes, kept: known?.kept ?? (await subject.keptBy(made.dense)) });
    if (setting.known === "noise") first ??= made;
  }
  const { report } = first as Quantized;
  const opened = await onnx().open(byteSource(model), {});
  for (const setting of AFFINE) {
    progress(affineText(setting));
    const name = affineText(setting);
    const { segments, ...own } = await affineModel(opened, quantizedNames(report), new Set(depthwise), setting);
    const known = before?.rows.find((row) => row.name === name);
    const kept = known?.kept ?? (await subject.keptBy(await bytesOf(segments)));
    rows.push({ name, affine: setting, bytes: own.entropyBytes + restBytes(report), kept });
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

async function resultsBefore(): Promise<Results> {
  return JSON.parse(await readFile(join(RESULTS, "calibrate.json"), "utf8")) as Results;
}

/** Cost alone, on a quiet machine; the rest stays as it was measured. */
async function costAgain(): Promise<void> {
  const before = await resultsBefore();
  const [spent, gflops] = [await measureCost(CALIBRATION_COUNT), await measureGflops()];
  await write({ ...before, cost: spent, gflops, verdicts: verdictsOf(before.rows, spent, gflops) });
}

function summary({ rows, verdicts }: Results): string {
  const right = (heading: string) => ({ heading, align: "right" }) as const;
  return [
    formatTable(
      [{ heading: "setting", align: "left" }, ...["MB", "characters", "KL", "lines"].map(right)],
      rows.map(({ name, bytes, kept: { all } }) => [
        name,
        (bytes / 1e6).toFixed(2),
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
