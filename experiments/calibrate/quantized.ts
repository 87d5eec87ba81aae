// Quantized: the model by one setting, as a file that runs and as bytes counted in both ways.
import { calibration } from "../../src/calibrate/index.ts";
import { bitsForLevels } from "../../src/codebook.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { compress, decompress, type Report } from "../../src/index.ts";
import { collected } from "./model.ts";
import { depthwiseRule, type Setting, SHARING } from "./settings.ts";

export interface Quantized {
  readonly dense: Uint8Array<ArrayBuffer>;
  readonly report: Report;
  readonly bytes: number;
  readonly entropyBytes: number;
}

/** The names that a quantized model has quantized. */
export function quantizedNames({ tensors }: Report): Set<string> {
  return new Set(tensors.flatMap(({ name, kept }) => (kept === undefined ? [name] : [])));
}

/** Bytes of a container beside what its quantized tensors take. */
export function restBytes({ bytesOut, tensors }: Report): number {
  return tensors.reduce((sum, t) => (t.kept === undefined ? sum - t.bytesOut : sum), bytesOut);
}

// A frequency a code, in 16 bits: what an entropy coder needs to know.
const TABLE_BYTES = 2;

/** Bytes of a container if its codes were coded at their order-0 entropy. */
export function entropyBytes({ bytesOut, tensors }: Report): number {
  let bytes = bytesOut;
  for (const { stats, levels = 0 } of tensors) {
    if (!stats) continue;
    const packed = Math.ceil((stats.count * bitsForLevels(levels)) / 8);
    bytes += Math.min(0, (stats.count * stats.entropyBits) / 8 + TABLE_BYTES * levels - packed);
  }
  return bytes;
}

export async function quantized(
  model: Uint8Array<ArrayBuffer>,
  statistics: ArrayBuffer,
  depthwise: readonly string[],
  { sharing, levels, known }: Setting,
): Promise<Quantized> {
  const options = {
    formats: [onnx()],
    levels,
    entropy: "none" as const,
    ...SHARING[sharing],
    tensors: [depthwiseRule(depthwise)],
    ...(known === "squares" ? { importance: statistics } : {}),
    ...(known === "all" ? { calibration: calibration(statistics) } : {}),
  };
  const container = collected();
  const report = await compress(model.buffer, container.sink, options);
  const dense = collected();
  await decompress(container.bytes().buffer, dense.sink, { formats: [onnx()] });
  return { dense: dense.bytes(), report, bytes: report.bytesOut, entropyBytes: entropyBytes(report) };
}
