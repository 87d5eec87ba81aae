// Quantized: the model by one setting, as a file that runs, and the bytes of its container.
import { calibration } from "../../src/calibrate/index.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { compress, decompress, type Report } from "../../src/index.ts";
import { collected } from "./model.ts";
import { depthwiseRule, rateOf, type Setting, SHARING } from "./settings.ts";

export interface Quantized {
  readonly dense: Uint8Array<ArrayBuffer>;
  readonly report: Report;
  readonly bytes: number;
}

/** The names that a quantized model has quantized. */
export function quantizedNames({ tensors }: Report): Set<string> {
  return new Set(tensors.flatMap(({ name, kept }) => (kept === undefined ? [name] : [])));
}

/** Bytes of a container beside what its quantized tensors take. */
export function restBytes({ bytesOut, tensors }: Report): number {
  return tensors.reduce((sum, t) => (t.kept === undefined ? sum - t.bytesOut : sum), bytesOut);
}

export async function quantized(
  model: Uint8Array<ArrayBuffer>,
  statistics: ArrayBuffer,
  depthwise: readonly string[],
  setting: Setting,
): Promise<Quantized> {
  const { sharing, levels, known } = setting;
  const options = {
    formats: [onnx()],
    levels,
    ...SHARING[sharing],
    tensors: [depthwiseRule(depthwise)],
    ...(known === "squares" ? { importance: statistics } : {}),
    ...(known === "all" || known === "noise" || known === "bits"
      ? { calibration: calibration(statistics, { rate: rateOf(setting) }) }
      : {}),
  };
  const container = collected();
  const report = await compress(model.buffer, container.sink, options);
  const dense = collected();
  await decompress(container.bytes().buffer, dense.sink, { formats: [onnx()] });
  return { dense: dense.bytes(), report, bytes: report.bytesOut };
}
