// The settings that are tried one after the other, and what each keeps of the float model's readings.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Tensor } from "onnxruntime-web";
import type { Agreement } from "./agreement.ts";
import { agreement } from "./agreement.ts";
import type { CompressReport } from "./command.ts";
import { compressFile } from "./command.ts";
import type { Alphabet } from "./ctc.ts";
import { MODEL_PATH } from "./model.ts";
import type { Reading } from "./recognize.ts";
import { readLines } from "./recognize.ts";

/** One way to compress: which weights share a codebook or a scale, how many values, how they are found. */
export interface Setting {
  /** `tensor`, `channel`: a codebook each; `scaled`: one codebook a tensor behind a factor per channel. */
  readonly sharing: "tensor" | "channel" | "scaled";
  readonly levels: number;
  readonly method: "optimal" | "uniform" | "lloyd";
  /** A `--tensor` rule for a layer that needs more. */
  readonly rule?: string;
  /** Whether codes are chosen by what layers see on lines that are not read afterwards. */
  readonly calibrated?: boolean;
}

/** A setting and what came of it. */
export interface Trial {
  readonly setting: Setting;
  readonly report: CompressReport;
  readonly agreement: Agreement;
  /** What the compressed model read. */
  readonly texts: readonly string[];
}

// 35 levels take the ONNX bytes of 32: six codes fill an int32 either way.
const LEVELS = [256, 64, 35, 16];
const SHARINGS = ["tensor", "channel", "scaled"] as const;

/** Quantized alone, this layer does more harm than any other: it gets 256 levels for 57,600 of 2.7 million weights. */
const MIXED: Setting = { sharing: "scaled", levels: 35, method: "optimal", rule: "conv2d_118=levels:256" };

/** Few levels by the weights alone and by calibration. 16 levels without it are among the others. */
const CALIBRATED: readonly Setting[] = [
  { sharing: "scaled", levels: 16, method: "optimal", calibrated: true },
  { sharing: "scaled", levels: 8, method: "optimal" },
  { sharing: "scaled", levels: 8, method: "optimal", calibrated: true },
];

/** Optimal clustering everywhere; the two peers where the difference shows. */
export const SETTINGS: readonly Setting[] = SHARINGS.flatMap((sharing): Setting[] => [
  // 256 values a channel would nearly weigh what the weights do
  ...LEVELS.filter((levels) => sharing !== "channel" || levels < 256).map(
    (levels): Setting => ({ sharing, levels, method: "optimal" }),
  ),
  ...peerLevels(sharing).flatMap((levels): Setting[] => [
    { sharing, levels, method: "uniform" },
    { sharing, levels, method: "lloyd" },
  ]),
]).concat(MIXED, CALIBRATED);

function peerLevels(sharing: Setting["sharing"]): readonly number[] {
  return sharing === "tensor" ? [256, 64] : [16];
}

/** The flags of `wlq compress` for a setting, but for the file that a calibrated one takes. */
export function settingFlags({ sharing, levels, method, rule }: Setting): string[] {
  const flags = ["--levels", String(levels), "--method", method];
  // Quantiles of the weights as first centroids: what many scripts do, and bad where a few weights are far out.
  if (method === "lloyd") flags.push("--start", "quantile");
  flags.push("--granularity", sharing === "channel" ? "channel" : "tensor");
  if (sharing === "scaled") flags.push("--scale", "channel");
  if (rule !== undefined) flags.push("--tensor", rule);
  return flags;
}

/** A setting as a file name. */
export function settingName({ sharing, levels, method, rule, calibrated }: Setting): string {
  return `${sharing}-${levels}-${method}${rule === undefined ? "" : "-mixed"}${calibrated ? "-calibrated" : ""}`;
}

/** Everything that all trials share. */
export interface Bench {
  readonly cliPath: string;
  readonly outDir: string;
  readonly inputs: readonly Tensor[];
  /** What `wlq calibrate` wrote. */
  readonly statistics: string;
  readonly alphabet: Alphabet;
  /** The float model's readings. */
  readonly reference: readonly Reading[];
}

/** Compresses the model to an ONNX file that stock onnxruntime-web runs, and reads all lines with it. */
export async function tryModel(bench: Bench, setting: Setting): Promise<Trial> {
  const path = join(bench.outDir, `${settingName(setting)}.onnx`);
  const known = setting.calibrated ? ["--calibration", bench.statistics] : [];
  const flags = [...settingFlags(setting), ...known];
  const report = await compressFile(bench.cliPath, [MODEL_PATH, path, "--to", "onnx", ...flags]);
  const { readings } = await readLines(await readFile(path), bench.inputs, bench.alphabet);
  const texts = readings.map((reading) => reading.text);
  return { setting, report, agreement: agreement(bench.reference, readings), texts };
}

/** The trial with the smallest file that keeps at least `share` of the characters. */
export function smallestKeeping(trials: readonly Trial[], share: number): Trial | undefined {
  return trials
    .filter((trial) => trial.agreement.characters >= share)
    .reduce<Trial | undefined>(
      (best, trial) => (best && best.report.bytesOut <= trial.report.bytesOut ? best : trial),
      undefined,
    );
}
