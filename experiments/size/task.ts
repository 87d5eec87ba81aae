// Task: what text recognition keeps at equal bytes, ours beside int8 and int4 affine compressed by brotli.
import { basename } from "node:path";
import type { Agreement } from "../../examples/ocr/agreement.ts";
import { MODEL_PATH } from "../../examples/ocr/model.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { compress, decompress, plan } from "../../src/index.ts";
import { byteSource } from "../../src/io/source.ts";
import { AFFINE, affineModel } from "../calibrate/affine.ts";
import { bytesOf, collected, openSubject } from "../calibrate/model.ts";
import { quantizedNames, restBytes } from "../calibrate/quantized.ts";

const LINES = 90;

/** One way to store the model, and ours in as many bytes. */
export interface TaskRow {
  readonly name: string;
  readonly bytes: number;
  readonly kept: Agreement;
  readonly ours: { readonly bytes: number; readonly kept: Agreement };
}

export interface TaskResult {
  readonly model: string;
  readonly lines: number;
  readonly rows: readonly TaskRow[];
}

/** Reads the same lines with all of them; `packed` is what a compressor makes of codes. */
export async function measureTask(packed: (codes: Uint8Array) => number): Promise<TaskResult> {
  const subject = await openSubject(LINES);
  const { bytes: model } = subject;
  const formats = [onnx()];
  const all = await compress(model.buffer, collected().sink, { formats, scale: "channel" });
  const names = quantizedNames(all);
  const opened = await onnx().open(byteSource(model), {});
  const rows: TaskRow[] = [];
  for (const setting of AFFINE) {
    const { segments, codes, tableBytes } = await affineModel(opened, names, new Set(), setting);
    const bytes = restBytes(all) + tableBytes + packed(Buffer.concat(codes));
    const kept = (await subject.keptBy(await bytesOf(segments))).all;
    const found = await plan(model.buffer, { bytes }, { method: "ecsq", scale: "channel", formats });
    const container = collected();
    const { bytesOut } = await compress(model.buffer, container.sink, { formats, plan: found });
    const dense = collected();
    await decompress(container.bytes().buffer, dense.sink, { formats });
    const ours = { bytes: bytesOut, kept: (await subject.keptBy(dense.bytes())).all };
    const name = `int${setting.bits} per ${setting.per === "block" ? "block of 32" : setting.per}, brotli`;
    rows.push({ name, bytes, kept, ours });
  }
  return { model: basename(MODEL_PATH), lines: 2 * LINES, rows };
}

/** A table for the page. */
export function taskTable({ model, lines, rows }: TaskResult): string[] {
  const percent = ({ characters }: Agreement): string => `${(100 * characters).toFixed(1)} %`;
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`;
  return [
    `## Text recognition at equal bytes`,
    "",
    `${model}, whole file, ${lines} lines; characters read as the float model reads them, and the mean Kullback-Leibler`,
    "divergence of a step's answer from the float model's. No calibration on either side. Ours is a plan for the same bytes",
    "by the error of the weights over all tensors, with a scale a channel: more decibels are not always more characters,",
    "since that error says nothing of what a tensor does. [Calibration](calibrate.md) does.",
    "",
    "| stored as | bytes | characters | KL | ours: bytes | characters | KL |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...rows.map(({ name, bytes, kept, ours }) => {
      const cells = [name, mb(bytes), percent(kept), kept.meanKl.toFixed(3)];
      return `| ${[...cells, mb(ours.bytes), percent(ours.kept), ours.kept.meanKl.toFixed(3)].join(" | ")} |`;
    }),
  ];
}
