// Reading lines: a model's bytes and line images go in, texts and output probabilities come out.
import * as ort from "onnxruntime-web";
import type { Alphabet } from "./ctc.ts";
import { bestClasses, decodeCtc } from "./ctc.ts";
import type { TextLine } from "./lines.ts";
import { LINE_HEIGHT } from "./lines.ts";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

/** What a model says about one line. */
export interface Reading {
  readonly text: string;
  /** `steps x classes`, each step a distribution. */
  readonly probabilities: Float32Array;
  readonly countClasses: number;
}

/** All lines read by one model, with the time it took. */
export interface ReadingRun {
  readonly readings: readonly Reading[];
  /** Making the session: parsing, constant folding (where `--to onnx` decodes its weights). */
  readonly loadSeconds: number;
  readonly runSeconds: number;
}

/** The lines as the model's inputs; made once, read by every model. */
export function prepareLines(lines: readonly TextLine[]): ort.Tensor[] {
  return lines.map(({ rgb, width }) => {
    const plane = LINE_HEIGHT * width;
    const input = new Float32Array(3 * plane);
    for (let pixel = 0; pixel < plane; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        // PaddleOCR reads images with OpenCV, so its first plane is blue.
        input[(2 - channel) * plane + pixel] = (rgb[pixel * 3 + channel] as number) / 127.5 - 1;
      }
    }
    return new ort.Tensor("float32", input, [1, 3, LINE_HEIGHT, width]);
  });
}

/** Reads every line with the model in `bytes` (an ONNX file). Lines go one by one: batches measured no faster on one thread. */
export async function readLines(
  bytes: Uint8Array,
  inputs: readonly ort.Tensor[],
  alphabet: Alphabet,
): Promise<ReadingRun> {
  const start = performance.now();
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  const loaded = performance.now();
  try {
    const [inputName] = session.inputNames;
    const [outputName] = session.outputNames;
    if (inputName === undefined || outputName === undefined) throw new Error("the model has no input or no output");
    const readings: Reading[] = [];
    for (const input of inputs) {
      const output = (await session.run({ [inputName]: input }))[outputName];
      if (!(output?.data instanceof Float32Array)) throw new Error(`output ${outputName} is no float32 tensor`);
      const countClasses = output.dims.at(-1) ?? 0;
      if (countClasses !== alphabet.classes.length) {
        throw new Error(`the model has ${countClasses} classes, the alphabet ${alphabet.classes.length}`);
      }
      const text = decodeCtc(bestClasses(output.data, countClasses), alphabet);
      readings.push({ text, probabilities: output.data, countClasses });
    }
    return { readings, loadSeconds: (loaded - start) / 1000, runSeconds: (performance.now() - loaded) / 1000 };
  } finally {
    await session.release();
  }
}
