// wlq compare: a float model and what became of it, run on the same inputs.
import { type CompareReport, compareModels } from "../adapters/onnxruntime.ts";
import { decompress } from "../decompress.ts";
import { onnx } from "../formats/onnx.ts";
import { holdsContainer } from "../inspect.ts";
import { byteSource, type Source } from "../io/source.ts";
import { fileSource } from "../node.ts";
import { feedsOf, inputFiles } from "./calibrate.ts";
import { findRuntime } from "./runtime.ts";
import { plain, sqnrText, table } from "./show.ts";

/** Options that the command line gives. */
export interface CompareFlags {
  readonly heldOut?: number | undefined;
  readonly logits: boolean;
  readonly signal: AbortSignal;
  readonly onRun: (runs: number) => void;
}

/** Runs the command; returns the report. `other` may be a container of an ONNX model. */
export async function runCompare(
  model: string,
  other: string,
  inputs: string,
  { heldOut, logits, signal, onRun }: CompareFlags,
): Promise<CompareReport> {
  const ort = await findRuntime();
  const files = await inputFiles(inputs);
  const [right, left] = [await fileSource(model), await fileSource(other)];
  try {
    return await compareModels(ort, right, await runnable(left, signal), () => feedsOf(files, ort), {
      ...(heldOut === undefined ? {} : { heldOut }),
      logits,
      onProgress: ({ runs }) => onRun(runs),
      signal,
    });
  } finally {
    await right.close();
    await left.close();
  }
}

async function runnable(source: Source, signal: AbortSignal): Promise<Source> {
  if (!(await holdsContainer(byteSource(source)))) return source;
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const sink = new WritableStream<Uint8Array>({ write: (chunk) => void chunks.push(chunk.slice()) });
  await decompress(source, sink, { formats: [onnx()], signal });
  return new Blob(chunks).arrayBuffer();
}

/** An output a line, then the number of runs. */
export function compareText({ runs, outputs }: CompareReport): string {
  const rows = outputs.map(({ name, sqnrDb, meanAbsError, maxAbsError, meanKl, sameTop }) => [
    plain(name),
    sqnrText(sqnrDb),
    meanAbsError.toPrecision(3),
    maxAbsError.toPrecision(3),
    meanKl === undefined ? "" : meanKl.toFixed(4),
    sameTop === undefined ? "" : `${(100 * sameTop).toFixed(1)} %`,
  ]);
  const head = ["output", "SQNR", "mean error", "largest", "mean KL", "same top"];
  return `${table(head, rows, 1)}\n${runs} runs`;
}
