// Text recognition without training, the experiment's quick form: what 16 levels keep of it, with and without calibration.
import { expect, test } from "vitest";
import { affineModel } from "../../experiments/calibrate/affine.ts";
import { bytesOf, openSubject, statisticsOf } from "../../experiments/calibrate/model.ts";
import { quantized, quantizedNames, restBytes } from "../../experiments/calibrate/quantized.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { byteSource } from "../../src/io/source.ts";

test("16 levels a layer: dead by the weights alone and as int4, alive with 16 calibration lines", {
  timeout: 600_000,
}, async () => {
  const subject = await openSubject(6);
  const statistics = await statisticsOf(subject.bytes, 16);
  const calibrated = await quantized(subject.bytes, statistics, [], { sharing: "layer", levels: 16, known: "all" });
  const { seen, all } = await subject.keptBy(calibrated.dense);
  console.log(`calibrated: ${seen.characters} and ${all.characters} of the characters, ${calibrated.bytes} bytes`);
  expect(seen.characters).toBeGreaterThan(0.95);
  expect(all.characters).toBeGreaterThan(0.9);
  for (const { name, output } of calibrated.report.tensors) {
    if (output) expect(output.sqnrDb, name).toBeGreaterThanOrEqual(output.nearestDb as number);
  }

  const model = await onnx().open(byteSource(subject.bytes), {});
  const names = quantizedNames(calibrated.report);
  const int4 = await affineModel(model, names, new Set(), { bits: 4, per: "channel" });
  expect(int4.bytes + restBytes(calibrated.report)).toBeGreaterThan(0.95 * calibrated.bytes);
  expect((await subject.keptBy(await bytesOf(int4.segments))).all.characters).toBeLessThan(0.5);
});
