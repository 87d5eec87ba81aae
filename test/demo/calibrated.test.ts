// The demo's calibrated settings, in small: the command line calibrates on a few lines, and other lines stay readable.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../../examples/ocr/command.ts";
import { CALIBRATION_LINES, drawLines, LINE_DEFAULTS } from "../../examples/ocr/lines.ts";
import { MODEL_PATH, readAlphabet } from "../../examples/ocr/model.ts";
import { prepareLines, readLines } from "../../examples/ocr/recognize.ts";
import { writeSamples } from "../../examples/ocr/samples.ts";
import { SETTINGS, type Setting, tryModel } from "../../examples/ocr/sweep.ts";
import { readSafetensors } from "../../src/container/safetensors.ts";
import { byteSource } from "../../src/io/source.ts";

const CLI = "dist/cli.js";
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wlq-demo-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("samples are written as they are", async () => {
  const inputs = prepareLines(drawLines({ ...CALIBRATION_LINES, count: 3 }));
  const path = join(folder, "three.safetensors");
  await writeSamples(path, "x", inputs);
  const bytes = await readFile(path);
  const { tensors } = await readSafetensors(byteSource(bytes));
  expect([...tensors.keys()]).toEqual(["0/x", "1/x", "2/x"]);
  for (const [run, { data, dims }] of inputs.entries()) {
    const { shape, offset, byteLength } = tensors.get(`${run}/x`)!;
    expect(shape).toEqual(dims);
    expect(offset % 8).toBe(0);
    const own = bytes.subarray(offset, offset + byteLength);
    expect(own.equals(new Uint8Array((data as Float32Array).buffer))).toBe(true);
  }
});

test("no line is calibrated on and read", () => {
  const texts = new Set(drawLines(CALIBRATION_LINES).map(({ text }) => text));
  expect(drawLines(LINE_DEFAULTS).filter(({ text }) => texts.has(text))).toEqual([]);
});

test("16 levels: 12 lines of calibration keep others readable, with the file's size", {
  timeout: 300_000,
}, async () => {
  const samples = join(folder, "samples.safetensors");
  const statistics = join(folder, "statistics.safetensors");
  await writeSamples(samples, "x", prepareLines(drawLines({ ...CALIBRATION_LINES, count: 12 })));
  await runCli(CLI, ["calibrate", MODEL_PATH, samples, statistics]);
  const alphabet = await readAlphabet();
  const inputs = prepareLines(drawLines({ ...LINE_DEFAULTS, count: 10 }));
  const { readings } = await readLines(await readFile(MODEL_PATH), inputs, alphabet);
  const bench = { cliPath: CLI, outDir: folder, inputs, statistics, alphabet, reference: readings };
  const of = (calibrated: boolean): Setting =>
    SETTINGS.find((one) => one.levels === 16 && one.sharing === "scaled" && (one.calibrated ?? false) === calibrated)!;
  const plain = await tryModel(bench, of(false));
  const calibrated = await tryModel(bench, of(true));
  console.log(`characters kept: ${plain.agreement.characters}, calibrated ${calibrated.agreement.characters}`);
  expect(plain.agreement.characters).toBeLessThan(0.7);
  expect(calibrated.agreement.characters).toBeGreaterThan(0.9);
  // biases that put mean outputs right
  expect(calibrated.report.bytesOut / plain.report.bytesOut).toBeLessThan(1.04);
});
