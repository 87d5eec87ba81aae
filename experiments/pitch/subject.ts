// Subject: basic-pitch, which hears notes, run by TensorFlow.js, and how far a quantized one's probabilities are from the float one's.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { type GraphModel, loadGraphModel } from "@tensorflow/tfjs-converter";
import * as tf from "@tensorflow/tfjs-core";
import { type Clip, HOP, KEYS, LOWEST, RATE, SAMPLES } from "./music.ts";

export const MODEL = "node_modules/@spotify/basic-pitch/model";

/** The model as it is downloaded. */
export async function readModel(): Promise<tf.io.ModelArtifacts> {
  const json = JSON.parse(await readFile(join(MODEL, "model.json"), "utf8"));
  const [{ paths, weights }] = json.weightsManifest;
  const parts: Buffer[] = await Promise.all(paths.map((path: string) => readFile(join(MODEL, path))));
  const { format, signature, modelTopology } = json;
  return {
    format,
    signature,
    modelTopology,
    weightSpecs: weights,
    weightData: new Uint8Array(Buffer.concat(parts)).buffer,
  };
}

let started: Promise<boolean> | undefined;

export async function loadModel(artifacts: tf.io.ModelArtifacts): Promise<GraphModel> {
  // sums of several threads come together in another order
  setThreadsCount(1);
  started ??= tf.setBackend("wasm");
  await started;
  return loadGraphModel(tf.io.fromMemory(artifacts));
}

export const tensorOf = ({ samples }: Clip): tf.Tensor => tf.tensor(samples, [1, SAMPLES, 1]);

/** Probabilities by frame and key, all clips one after the other. */
export interface Heard {
  readonly notes: Float32Array;
  readonly onsets: Float32Array;
}

// as the package reads its model's outputs
const [NOTES, ONSETS] = ["Identity_1", "Identity_2"];

export async function hear(artifacts: tf.io.ModelArtifacts, clips: readonly Clip[]): Promise<Heard> {
  const model = await loadModel(artifacts);
  const parts: Record<"notes" | "onsets", Float32Array[]> = { notes: [], onsets: [] };
  for (const clip of clips) {
    const input = tensorOf(clip);
    const [notes, onsets] = model.execute(input, [NOTES, ONSETS]) as [tf.Tensor, tf.Tensor];
    parts.notes.push((await notes.data()) as Float32Array);
    parts.onsets.push((await onsets.data()) as Float32Array);
    for (const one of [input, notes, onsets]) one.dispose();
  }
  model.dispose();
  const joined = (list: readonly Float32Array[]): Float32Array => Float32Array.from(list.flatMap((part) => [...part]));
  return { notes: joined(parts.notes), onsets: joined(parts.onsets) };
}

// the package's own thresholds
const [NOTE, ONSET] = [0.3, 0.5];

/** Both shares of what two sets have in common: 2 |a and b| / (|a| + |b|). */
function overlap(a: Float32Array | readonly boolean[], b: Float32Array, threshold: number): number {
  let [both, all] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    const [x, y] = [Number(a[i]) >= threshold, (b[i] as number) >= threshold];
    both += x && y ? 2 : 0;
    all += Number(x) + Number(y);
  }
  return all === 0 ? 1 : both / all;
}

export interface Distance {
  /** How far probabilities, of notes and of their beginnings, are from the float model's on average. */
  readonly error: number;
  /** How many of the frames and keys that either takes for a note both do, as an F1 score; and of beginnings of notes. */
  readonly notes: number;
  readonly onsets: number;
}

export function distance(float: Heard, other: Heard): Distance {
  let error = 0;
  for (const of of ["notes", "onsets"] as const) {
    float[of].forEach((p, i) => {
      error += Math.abs(p - (other[of][i] as number));
    });
  }
  return {
    error: error / (float.notes.length + float.onsets.length),
    notes: overlap(float.notes, other.notes, NOTE),
    onsets: overlap(float.onsets, other.onsets, ONSET),
  };
}

/** How well what was heard is what was played, by frame and key. */
export function accuracy({ notes }: Heard, clips: readonly Clip[]): number {
  const frames = notes.length / KEYS / clips.length;
  const played = clips.flatMap(({ notes: list }) => {
    const own = new Array<boolean>(frames * KEYS).fill(false);
    for (const { key, start, end } of list) {
      for (let f = Math.ceil((start * RATE) / HOP); f < Math.min(frames, (end * RATE) / HOP); f++) {
        own[f * KEYS + key - LOWEST] = true;
      }
    }
    return own;
  });
  return overlap(played, notes, NOTE);
}
