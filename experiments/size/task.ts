// Task: what text recognition and speech detection keep at equal bytes, ours beside int8 and int4 affine with brotli.
import { basename } from "node:path";
import { MODEL_PATH } from "../../examples/ocr/model.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { compress, decompress, plan } from "../../src/index.ts";
import { byteSource } from "../../src/io/source.ts";
import { AFFINE, affineModel } from "../calibrate/affine.ts";
import { bytesOf, collected, openSubject } from "../calibrate/model.ts";
import { quantizedNames, restBytes } from "../calibrate/quantized.ts";
import { openVoice, VOICE_MODEL } from "./voice.ts";

const LINES = 90;
const CLIPS = 4;
const SECONDS = 12;

/** A share that agrees, 0 to 1, and how far answers are off: KL divergence, or difference of probabilities. */
export interface Kept {
  readonly same: number;
  readonly off: number;
}

/** One way to store the model, and ours in as many bytes, by both weightings of errors. */
export interface TaskRow {
  readonly name: string;
  readonly bytes: number;
  readonly kept: Kept;
  readonly relative: { readonly bytes: number; readonly kept: Kept };
  readonly absolute: { readonly bytes: number; readonly kept: Kept };
}

export interface TaskResult {
  readonly task: string;
  readonly model: string;
  /** What was read or heard, in words. */
  readonly inputs: string;
  readonly measures: readonly [same: string, off: string];
  readonly rows: readonly TaskRow[];
}

/** Both tasks with all ways; `packed` is what a compressor makes of codes. */
export async function measureTasks(packed: (codes: Uint8Array) => number): Promise<TaskResult[]> {
  const subject = await openSubject(LINES);
  const voice = await openVoice(CLIPS, SECONDS);
  const read = async (model: Uint8Array): Promise<Kept> => {
    const { characters, meanKl } = (await subject.keptBy(model)).all;
    return { same: characters, off: meanKl };
  };
  const hear = async (model: Uint8Array): Promise<Kept> => {
    const { same, difference } = await voice.keptBy(model);
    return { same, off: difference };
  };
  return [
    {
      task: "text recognition",
      model: basename(MODEL_PATH),
      inputs: `${2 * LINES} lines; characters read as the float model reads them, and the mean Kullback-Leibler divergence of a step's answer from the float model's`,
      measures: ["characters", "KL"],
      rows: await rowsOf(subject.bytes, packed, read),
    },
    {
      task: "speech detection",
      model: basename(VOICE_MODEL),
      inputs: `${voice.frames} frames of synthetic vowels and pauses; frames on the float model's side of one half, and the mean difference of the probability of speech`,
      measures: ["frames", "difference"],
      rows: await rowsOf(voice.model, packed, hear),
    },
  ];
}

async function rowsOf(
  model: Uint8Array<ArrayBuffer>,
  packed: (codes: Uint8Array) => number,
  keptBy: (model: Uint8Array) => Promise<Kept>,
): Promise<TaskRow[]> {
  const formats = [onnx()];
  const all = await compress(model.buffer, collected().sink, { formats, scale: "channel" });
  const names = quantizedNames(all);
  const opened = await onnx().open(byteSource(model), {});
  const rows: TaskRow[] = [];
  for (const setting of AFFINE) {
    const { segments, codes, tableBytes } = await affineModel(opened, names, new Set(), setting);
    const bytes = restBytes(all) + tableBytes + packed(Buffer.concat(codes));
    const kept = await keptBy(await bytesOf(segments));
    const ours = async (weighting: "relative" | "absolute"): Promise<TaskRow["relative"]> => {
      // a little less where 256 values fall short of what the bytes allow
      const how = { method: "ecsq", scale: "channel", formats, weighting } as const;
      const found = await plan(model.buffer, { bytes }, how).catch(() =>
        plan(model.buffer, { bytes: Math.floor(0.99 * bytes) }, how),
      );
      const container = collected();
      const { bytesOut } = await compress(model.buffer, container.sink, { formats, plan: found });
      const dense = collected();
      await decompress(container.bytes().buffer, dense.sink, { formats });
      return { bytes: bytesOut, kept: await keptBy(dense.bytes()) };
    };
    const name = `int${setting.bits} per ${setting.per === "block" ? "block of 32" : setting.per}, brotli`;
    const row = { name, bytes, kept, relative: await ours("relative"), absolute: await ours("absolute") };
    rows.push(row);
    console.log(name, bytes, kept, row.relative, row.absolute);
  }
  return rows;
}

/** Tables for the page. */
export function taskTables(tasks: readonly TaskResult[]): string[] {
  const percent = ({ same }: Kept): string => `${(100 * same).toFixed(1)} %`;
  const kB = (bytes: number): string => `${(bytes / 1000).toFixed(0)} kB`;
  const lines = [
    "## What models do at equal bytes",
    "",
    "Whole files, without calibration on either side. Ours is a plan for the same bytes with a scale a channel, entropy-coded,",
    'with `weighting: "relative"`, where errors count beside the weights of their own tensor, and, in the last two columns,',
    'with `"absolute"`, where squared errors count alike: that has more decibels over all weights, and tensors of small',
    "weights pay for it. [Calibration](calibrate.md), which sees inputs, does better than both.",
  ];
  for (const { task, model, inputs, measures, rows } of tasks) {
    const [same, off] = measures;
    lines.push("", `### ${task}`, "", `${model}; ${inputs}.`, "");
    lines.push(`| stored as | size | ${same} | ${off} | ours: size | ${same} | ${off} | absolute: ${same} | ${off} |`);
    lines.push(`| ${Array(9).fill("---").join(" | ")} |`);
    for (const { name, bytes, kept, relative, absolute } of rows) {
      const cells = [name, kB(bytes), percent(kept), kept.off.toFixed(4)];
      cells.push(kB(relative.bytes), percent(relative.kept), relative.kept.off.toFixed(4));
      cells.push(percent(absolute.kept), absolute.kept.off.toFixed(4));
      lines.push(`| ${cells.join(" | ")} |`);
    }
  }
  return lines;
}
