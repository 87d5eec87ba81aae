// Model: PP-OCR recognition with lines to calibrate on and others to read, and what a quantized one keeps.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";
import { type Agreement, agreement, compareTexts } from "../../examples/ocr/agreement.ts";
import type { Alphabet } from "../../examples/ocr/ctc.ts";
import { CALIBRATION_LINES, drawLines, UNSEEN_LINES } from "../../examples/ocr/lines.ts";
import { MODEL_PATH, readAlphabet } from "../../examples/ocr/model.ts";
import { prepareLines, type Reading, readLines } from "../../examples/ocr/recognize.ts";
import { calibrate } from "../../src/adapters/onnxruntime.ts";
import type { Segment } from "../../src/io/segment.ts";
import { segmentsByteLength } from "../../src/io/segment.ts";

/** Lines of the kind that calibration saw, and of others. */
export const HALVES = ["seen", "unseen"] as const;
export type Half = (typeof HALVES)[number];

/** What a model keeps, in each half and in all. */
export type Kept = Readonly<Record<Half | "all", Agreement>>;

export interface Subject {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Share of the characters that the float model reads right. */
  readonly accuracy: Readonly<Record<Half, number>>;
  keptBy(model: Uint8Array): Promise<Kept>;
}

/** The float model and its readings of `count` lines a half. */
export async function openSubject(count: number): Promise<Subject> {
  const bytes = new Uint8Array(await readFile(MODEL_PATH));
  const alphabet: Alphabet = await readAlphabet();
  const lines = {
    seen: drawLines({ ...CALIBRATION_LINES, seed: 1501, count }),
    unseen: drawLines({ ...UNSEEN_LINES, count }),
  };
  const inputs = { seen: prepareLines(lines.seen), unseen: prepareLines(lines.unseen) };
  const read = async (model: Uint8Array): Promise<Record<Half, readonly Reading[]>> => ({
    seen: (await readLines(model, inputs.seen, alphabet)).readings,
    unseen: (await readLines(model, inputs.unseen, alphabet)).readings,
  });
  const float = await read(bytes);
  const right = (half: Half): number =>
    compareTexts(
      lines[half].map(({ text }) => text),
      float[half].map(({ text }) => text),
    ).characters;
  return {
    bytes,
    accuracy: { seen: right("seen"), unseen: right("unseen") },
    async keptBy(model) {
      const other = await read(model);
      return {
        seen: agreement(float.seen, other.seen),
        unseen: agreement(float.unseen, other.unseen),
        all: agreement([...float.seen, ...float.unseen], [...other.seen, ...other.unseen]),
      };
    },
  };
}

/** Statistics of the model's inputs on calibration lines. */
export async function statisticsOf(
  model: Uint8Array<ArrayBuffer>,
  count: number,
  noise: number = 0,
): Promise<ArrayBuffer> {
  ort.env.wasm.numThreads = 1;
  const feeds = prepareLines(drawLines({ ...CALIBRATION_LINES, count })).map((x) => ({ x }));
  const { sink, bytes } = collected();
  await calibrate(ort, model.buffer, feeds, sink, { noise });
  return bytes().buffer;
}

/** A sink in memory. */
export function collected(): { sink: WritableStream<Uint8Array>; bytes: () => Uint8Array<ArrayBuffer> } {
  const chunks: Uint8Array[] = [];
  const sink = new WritableStream<Uint8Array>({ write: (chunk) => void chunks.push(chunk.slice()) });
  return {
    sink,
    bytes: () =>
      joined(
        chunks,
        chunks.reduce((sum, { length }) => sum + length, 0),
      ),
  };
}

/** Segments that are all at hand, or are made when wanted, as one array. */
export async function bytesOf(segments: readonly Segment[]): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (const segment of segments) {
    if (segment instanceof Uint8Array) chunks.push(segment);
    else for await (const chunk of segment.chunks()) chunks.push(chunk);
  }
  return joined(chunks, segmentsByteLength(segments));
}

function joined(chunks: readonly Uint8Array[], byteLength: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(byteLength);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}
