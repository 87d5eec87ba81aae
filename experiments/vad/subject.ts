// Subject: Silero VAD, run over clips frame by frame, and how far a quantized one's probabilities are from the float one's.
import * as ort from "onnxruntime-web";
import { Observer } from "../../src/calibrate/observer.ts";
import { saveStatistics } from "../../src/calibrate/statistics.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { byteSource } from "../../src/io/source.ts";
import { loadCalibrate } from "../../src/wasm/calibrate.ts";
import { bytesOf, collected } from "../calibrate/model.ts";
import { layersOf } from "./branch.ts";

const [FRAME, CONTEXT, STATE] = [512, 64, 128];

type Run = Readonly<Record<string, ort.Tensor>>;

/** All clips at once, a frame after the other, as the package of the model runs it; `each` gets feeds and outputs. */
async function run(
  session: ort.InferenceSession,
  clips: readonly Float32Array[],
  each: (feeds: Run, outputs: Run) => void,
): Promise<void> {
  const [probability, next] = session.outputNames as [string, string];
  const frames = Math.floor((clips[0] as Float32Array).length / FRAME);
  let state: ort.Tensor = new ort.Tensor("float32", new Float32Array(2 * clips.length * STATE), [
    2,
    clips.length,
    STATE,
  ]);
  for (let f = 0; f < frames; f++) {
    const input = new Float32Array(clips.length * (CONTEXT + FRAME));
    clips.forEach((clip, c) => {
      const from = f * FRAME - CONTEXT;
      const part = clip.subarray(Math.max(0, from), (f + 1) * FRAME);
      input.set(part, (c + 1) * (CONTEXT + FRAME) - part.length);
    });
    const feeds = { input: new ort.Tensor("float32", input, [clips.length, CONTEXT + FRAME]), state };
    const outputs: Run = await session.run(feeds);
    each(feeds, { ...outputs, probability: outputs[probability] as ort.Tensor });
    state = outputs[next] as ort.Tensor;
  }
}

export const openSession = (model: Uint8Array): Promise<ort.InferenceSession> =>
  ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 3 });

/** Probabilities of speech, frame by frame, all clips of a frame together. */
export async function probabilities(model: Uint8Array, clips: readonly Float32Array[]): Promise<Float32Array> {
  const session = await openSession(model);
  const all: number[] = [];
  await run(
    session,
    clips,
    (_, { probability }) => void all.push(...((probability as ort.Tensor).data as Float32Array)),
  );
  await session.release();
  return Float32Array.from(all);
}

/** A statistics file of what the layers see on the clips. */
export async function statisticsOf(
  model: Uint8Array<ArrayBuffer>,
  clips: readonly Float32Array[],
): Promise<Uint8Array<ArrayBuffer>> {
  await loadCalibrate();
  const layers = await layersOf(model);
  const opened = await onnx().open(byteSource(model), {});
  const names = layers.map(({ input }) => input).filter((name) => !opened.isInput(name));
  const plain = await openSession(model);
  // the state goes on from frame to frame: the model's own outputs are wanted, too, and first
  const session = await openSession(await bytesOf(opened.exposing([...plain.outputNames, ...names])));
  await plain.release();
  const observer = new Observer(layers, () => true);
  await run(session, clips, (feeds, outputs) => {
    for (const { weight, input, columns } of layers) {
      const { data, dims } = (outputs[input] ?? feeds[input]) as ort.Tensor;
      // of the state, the first half: the second is the cell's
      const values = input === "state" ? (data as Float32Array).subarray(0, data.length / 2) : (data as Float32Array);
      const rows = input === "state" || dims.at(-1) !== columns ? [values.length / columns, columns] : dims;
      const conv = layers.find((layer) => layer.weight === weight)?.kind === "conv";
      observer.observe(weight, { data: values, shape: conv ? dims : rows });
    }
  });
  await session.release();
  const { sink, bytes } = collected();
  await saveStatistics(
    layers.map(({ weight }) => observer.statistics(weight)),
    sink,
  );
  return bytes();
}

/** How far probabilities are from the float model's. */
export interface Distance {
  readonly meanError: number;
  /** 95 of 100 frames are nearer. */
  readonly error95: number;
  /** Share of frames that are on the same side of one half. */
  readonly sameSide: number;
}

export function distance(float: Float32Array, other: Float32Array): Distance {
  const errors = float.map((p, i) => Math.abs(p - (other[i] as number))).sort();
  const same = float.reduce((sum, p, i) => sum + (p >= 0.5 === (other[i] as number) >= 0.5 ? 1 : 0), 0);
  return {
    meanError: errors.reduce((a, b) => a + b, 0) / errors.length,
    error95: errors[Math.floor(0.95 * errors.length)] as number,
    sameSide: same / errors.length,
  };
}
