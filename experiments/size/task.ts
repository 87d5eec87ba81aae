// Task: what text recognition, speech and note detection keep at equal bytes, ours beside int8 and int4 affine with brotli.
import { basename } from "node:path";
import { MODEL_PATH } from "../../examples/ocr/model.ts";
import type { Format } from "../../src/formats/format.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { safetensors } from "../../src/formats/safetensors.ts";
import { compress, decompress, plan } from "../../src/index.ts";
import { byteSource } from "../../src/io/source.ts";
import { AFFINE, affineModel } from "../calibrate/affine.ts";
import { bytesOf, collected, openSubject } from "../calibrate/model.ts";
import { quantizedNames, restBytes } from "../calibrate/quantized.ts";
import { fileOf, weightsOf } from "../pitch/container.ts";
import { openGraph } from "../pitch/graph.ts";
import { musicClips } from "../pitch/music.ts";
import { distance, hear, readModel } from "../pitch/subject.ts";
import { openVoice, VOICE_MODEL } from "./voice.ts";

const LINES = 90;
const CLIPS = 4;
const SECONDS = 12;
const MUSIC = 6;

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

/** A task with its model, not yet measured. */
interface Task extends Omit<TaskResult, "rows"> {
  readonly format: Format;
  readonly file: Uint8Array<ArrayBuffer>;
  /** What a model file with other weights keeps of what the float one does. */
  keptBy(file: Uint8Array): Promise<Kept>;
}

async function textRecognition(): Promise<Task> {
  const { bytes, keptBy } = await openSubject(LINES);
  return {
    task: "text recognition",
    model: basename(MODEL_PATH),
    inputs: `${2 * LINES} lines; characters read as the float model reads them, and the mean Kullback-Leibler divergence of a step's answer from the float model's`,
    measures: ["characters", "KL"],
    format: onnx(),
    file: bytes,
    async keptBy(file) {
      const { characters, meanKl } = (await keptBy(file)).all;
      return { same: characters, off: meanKl };
    },
  };
}

async function speechDetection(): Promise<Task> {
  const { model, frames, keptBy } = await openVoice(CLIPS, SECONDS);
  return {
    task: "speech detection",
    model: basename(VOICE_MODEL),
    inputs: `${frames} frames of synthetic vowels and pauses; frames on the float model's side of one half, and the mean difference of the probability of speech`,
    measures: ["frames", "difference"],
    format: onnx(),
    file: model,
    async keptBy(file) {
      const { same, difference } = await keptBy(file);
      return { same, off: difference };
    },
  };
}

async function noteDetection(): Promise<Task> {
  const artifacts = await readModel();
  const { weights, withWeights } = openGraph(artifacts);
  const clips = [...musicClips("seen", MUSIC, 2), ...musicClips("unseen", MUSIC, 3)];
  const float = await hear(artifacts, clips);
  return {
    task: "note detection",
    model: "basic-pitch, its distinct weights as safetensors",
    inputs: `${clips.length} clips of 2 s of synthesized music; notes by frame and key that both models hear (F1), and the mean difference of the probabilities of notes and their beginnings`,
    measures: ["notes", "difference"],
    format: safetensors(),
    file: fileOf(weights),
    async keptBy(file) {
      const { notes, error } = distance(float, await hear(withWeights(await weightsOf(file)), clips));
      return { same: notes, off: error };
    },
  };
}

/** All tasks, or those that `measured` has no result of, with all ways; `packed` is what a compressor makes of codes. */
export async function measureTasks(
  packed: (codes: Uint8Array) => number,
  measured: readonly TaskResult[],
): Promise<TaskResult[]> {
  const results: TaskResult[] = [];
  for (const [name, open] of Object.entries(TASKS)) {
    const known = measured.find(({ task }) => task === name);
    if (known) {
      results.push(known);
      continue;
    }
    const { format, file, keptBy, ...about } = await open();
    results.push({ ...about, rows: await rowsOf(file, format, packed, keptBy) });
  }
  return results;
}

const TASKS: Readonly<Record<string, () => Promise<Task>>> = {
  "text recognition": textRecognition,
  "speech detection": speechDetection,
  "note detection": noteDetection,
};

async function rowsOf(
  model: Uint8Array<ArrayBuffer>,
  format: Format,
  packed: (codes: Uint8Array) => number,
  keptBy: Task["keptBy"],
): Promise<TaskRow[]> {
  const formats = [format];
  const all = await compress(model.buffer, collected().sink, { formats, scale: "channel" });
  const names = quantizedNames(all);
  const opened = await format.open(byteSource(model), {});
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

/** What explains a table. */
const REMARKS: Readonly<Record<string, string>> = {
  "note detection":
    "More than half of the weights are computed filters, and a logarithm follows them: errors in quiet outputs count as much as in loud ones. That is not what squared errors of weights measure, and int8 does better here. [Calibrated, with the filters left as they are](pitch.md), it does not.",
};

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
    const remark = REMARKS[task];
    if (remark) lines.push("", remark);
  }
  return lines;
}
