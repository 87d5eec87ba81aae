// The worker: compresses the file off the main thread, and counts weights for the picture of a layer.
import { compress, type Report, tensorStream, WlqError } from "wlq";
import { caffe } from "wlq/caffe";
import { onnx } from "wlq/onnx";
import type { Answer, Picture, Request } from "./messages.ts";
import { readCoding } from "./coding.ts";
import { floats } from "./floats.ts";

const formats = [onnx(), caffe()];
const BINS = 180;

let running: AbortController | undefined;
let original: File;
let result: Blob;

const answer = (message: Answer): void => postMessage(message);

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  if (data.type === "cancel") return running?.abort(new Error("cancelled"));
  try {
    if (data.type === "compress") await run(data);
    else answer({ type: "picture", picture: await draw(data.tensor) });
  } catch (error) {
    const code = error instanceof WlqError ? error.code : "error";
    answer({ type: "failed", code, message: error instanceof Error ? error.message : String(error) });
  }
});

async function run({ file, settings }: Extract<Request, { type: "compress" }>): Promise<void> {
  running = new AbortController();
  const output = blobSink();
  let told = 0;
  const report: Report = await compress(file, output.sink, {
    ...settings,
    formats,
    signal: running.signal,
    onProgress(progress) {
      // sixty times a second is more than anyone sees
      const now = performance.now();
      if (now - told < 16 && progress.done < progress.total) return;
      told = now;
      answer({ type: "progress", progress });
    },
  });
  original = file;
  result = output.blob();
  answer({ type: "done", report, result });
}

/** A sink that makes a Blob. Parts are given to the browser now and then: it keeps large blobs on disk. */
function blobSink(): { sink: WritableStream<Uint8Array>; blob(): Blob } {
  let blob = new Blob([]);
  let parts: BlobPart[] = [];
  let bytes = 0;
  const collect = (): Blob => {
    blob = new Blob([blob, ...parts]);
    parts = [];
    bytes = 0;
    return blob;
  };
  const sink = new WritableStream<Uint8Array>({
    write(chunk) {
      parts.push(chunk as Uint8Array<ArrayBuffer>);
      bytes += chunk.length;
      if (bytes > 16 << 20) collect();
    },
  });
  return { sink, blob: collect };
}

/** Counts the weights of a coded tensor in bins around its codebook, in one pass over the original. */
async function draw(tensor: string): Promise<Picture> {
  const { codebook, codebooks, scales, inner } = await readCoding(result, tensor);
  const first = codebook[0] as number;
  const span = (codebook.at(-1) as number) - first || 1;
  const [low, high] = [first - span * 0.04, first + span * 1.04];
  const bins = new Float64Array(BINS);
  const stream = await tensorStream(original, tensor, { formats });
  let at = 0;
  for await (const values of floats(stream)) {
    for (const value of values) {
      const scale = scales ? (scales[Math.floor(at / inner) % scales.length] as number) : 1;
      const bin = Math.floor((((scale ? value / scale : 0) - low) / (high - low)) * BINS);
      const place = Math.max(0, Math.min(BINS - 1, bin));
      bins[place] = (bins[place] as number) + 1;
      at++;
    }
  }
  return { tensor, scaled: scales !== undefined, codebook, codebooks, bins, low, high };
}
