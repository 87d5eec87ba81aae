// npm run demo: a real text recognizer is compressed with the command line and reads the same lines before and after.
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { compareTexts } from "./agreement.ts";
import { compressFile, runCli } from "./command.ts";
import { measureDecode } from "./decode-speed.ts";
import { CALIBRATION_LINES, drawLines } from "./lines.ts";
import { MODEL_PATH, readAlphabet } from "./model.ts";
import { linesPage } from "./page.ts";
import { prepareLines, readLines } from "./recognize.ts";
import { writeSamples } from "./samples.ts";
import type { Bench, Setting, Trial } from "./sweep.ts";
import { SETTINGS, settingFlags, settingName, smallestKeeping, tryModel } from "./sweep.ts";
import { fileTable, percent, sweepTable, textTable } from "./tables.ts";
import { formatBytes } from "./text-table.ts";

/** The setting whose texts and files are shown in full: without calibration this model loses its reading below it. */
const SHOWN: Setting = { sharing: "scaled", levels: 64, method: "optimal" };
const KEEP_SHARE = 0.95;

const [cliPath = "dist/cli.js"] = process.argv.slice(2);
const outDir = resolve("out/demo");

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

async function main(): Promise<void> {
  const start = performance.now();
  await rm(outDir, { recursive: true, force: true });
  await mkdir(outDir, { recursive: true });

  const lines = drawLines();
  const inputs = prepareLines(lines);
  const alphabet = await readAlphabet();
  const truth = lines.map((line) => line.text);
  progress(`reading ${lines.length} lines with the float model`);
  const float = await readLines(await readFile(MODEL_PATH), inputs, alphabet);
  const floatTexts = float.readings.map((reading) => reading.text);

  progress(`calibrating on ${CALIBRATION_LINES.count} other lines`);
  const [samples, statistics] = [join(outDir, "samples.safetensors"), join(outDir, "statistics.safetensors")];
  await writeSamples(samples, "x", prepareLines(drawLines(CALIBRATION_LINES)));
  const calibrating = performance.now();
  await runCli(cliPath, ["calibrate", MODEL_PATH, samples, statistics]);
  const calibrateSeconds = (performance.now() - calibrating) / 1000;
  const bench: Bench = { cliPath, outDir, inputs, statistics, alphabet, reference: float.readings };

  progress(`compressing, ${settingName(SHOWN)}`);
  const shown = await tryModel(bench, SHOWN);
  const containerPath = join(outDir, `${settingName(SHOWN)}.wlq.safetensors`);
  const container = await compressFile(cliPath, [MODEL_PATH, containerPath, ...settingFlags(SHOWN)]);
  const decodeGBps = await measureDecode(containerPath, join(dirname(cliPath), "decoder.js"));

  const { size } = await stat(MODEL_PATH);
  const floatAccuracy = compareTexts(truth, floatTexts);
  const shownAccuracy = compareTexts(truth, shown.texts);
  print(
    `PP-OCRv4 text recognition, ${formatBytes(size)} of float32, before and after: ${settingFlags(SHOWN).join(" ")}\n`,
  );
  print(textTable(truth, floatTexts, shown.texts));
  print(
    `\nCharacters read right: ${percent(floatAccuracy.characters)} before, ${percent(shownAccuracy.characters)} after.` +
      ` ${shown.agreement.lines} of ${lines.length} texts are the same.\n`,
  );
  print(fileTable(shown.report, container, decodeGBps));

  const trials: Trial[] = [shown];
  for (const [index, setting] of SETTINGS.entries()) {
    progress(`sweep ${index + 1}/${SETTINGS.length}: ${settingName(setting)}`);
    if (settingName(setting) !== settingName(SHOWN)) trials.push(await tryModel(bench, setting));
  }
  print("\nEvery setting against the float model, sizes are those of the ONNX file that stock onnxruntime-web runs:\n");
  print(sweepTable(trials));
  print(`
scaled: one codebook a tensor and a factor per channel. lloyd: started from quantiles, which wastes its values on the
many small weights and never reaches the few large ones. * one layer that does more harm than any other keeps 256
levels (--tensor). calibrated: codes chosen by what the layers see on ${CALIBRATION_LINES.count} lines that are not among these (wlq calibrate,
${calibrateSeconds.toFixed(0)} s; then --calibration). Leading and trailing spaces do not count.`);

  const best = smallestKeeping(trials, KEEP_SHARE);
  const pagePath = join(outDir, "lines.html");
  await writeFile(pagePath, linesPage("PP-OCRv4, float and compressed", lines, floatTexts, (best ?? shown).texts));
  const seconds = (performance.now() - start) / 1000;
  const result = {
    model: relative(process.cwd(), MODEL_PATH),
    bytes: size,
    lines: truth,
    float: { texts: floatTexts, accuracy: floatAccuracy, loadSeconds: float.loadSeconds, runSeconds: float.runSeconds },
    shown: { flags: settingFlags(SHOWN), onnx: shown.report, container, decodeGBps, accuracy: shownAccuracy },
    calibration: { lines: CALIBRATION_LINES.count, seconds: calibrateSeconds },
    trials,
    smallest: best && {
      setting: best.setting,
      ratio: size / best.report.bytesOut,
      keptCharacters: best.agreement.characters,
    },
    seconds,
  };
  await writeFile(join(outDir, "result.json"), `${JSON.stringify(result, null, 2)}\n`);
  print(`\n${closing(best, size)}`);
  print(
    `${relative(process.cwd(), pagePath)} shows every line, result.json beside it has all figures (${seconds.toFixed(0)} s).`,
  );
}

function closing(best: Trial | undefined, size: number): string {
  if (best === undefined) return `No setting keeps ${percent(KEEP_SHARE)} of the characters.`;
  const flags = settingFlags(best.setting).join(" ") + (best.setting.calibrated ? ", calibrated" : "");
  return (
    `The smallest that keeps at least ${percent(KEEP_SHARE)} of the characters: ${flags}\n` +
    `${formatBytes(size)} -> ${formatBytes(best.report.bytesOut)}, ${(size / best.report.bytesOut).toFixed(2)}x, ` +
    `${percent(best.agreement.characters)} of the characters kept.`
  );
}

await main();
