// npm run experiment:pitch: notes heard by a TensorFlow.js graph model in few levels without training, against int8 and int4.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { calibration } from "../src/calibrate/index.ts";
import { safetensors } from "../src/formats/safetensors.ts";
import { type CompressOptions, compress, decompress } from "../src/index.ts";
import { byteSource } from "../src/io/source.ts";
import { AFFINE, affineModel } from "./calibrate/affine.ts";
import { bytesOf, collected } from "./calibrate/model.ts";
import { quantizedNames, restBytes } from "./calibrate/quantized.ts";
import { affineText } from "./calibrate/results.ts";
import { fileOf, weightsOf } from "./pitch/container.ts";
import { calibrateGraph, openGraph } from "./pitch/graph.ts";
import { type Half, musicClips } from "./pitch/music.ts";
import { CLIPS, PARTS, pageOf, type Row } from "./pitch/page.ts";
import { accuracy, distance, type Heard, hear, loadModel, MODEL, readModel, tensorOf } from "./pitch/subject.ts";

const RESULTS = "docs/results";
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

/** The filters are computed, not learned. */
const FILTERS = /cq_t2010v2/;
// the model is small, and so are its layers
const LEAST: CompressOptions = { minSize: 256 };

// a codebook a channel of more values would take more than it stands for
const SHARING = {
  "a layer, scale a channel": { options: { scale: "channel" }, counts: [64, 32, 16, 8, 4] },
  "a channel": { options: { granularity: "channel" }, counts: [16, 8, 4] },
} as const;

async function main(): Promise<void> {
  const artifacts = await readModel();
  const graph = openGraph(artifacts);
  const file = fileOf(graph.weights);
  const statistics = collected();
  const model = await loadModel(artifacts);
  await calibrateGraph(model, graph, musicClips("seen", CLIPS.calibration, 1).map(tensorOf), statistics.sink);
  const clips = { seen: musicClips("seen", CLIPS.each, 2), unseen: musicClips("unseen", CLIPS.each, 3) };
  const listen = async (weights: Readonly<Record<string, Float32Array>>): Promise<Record<Half, Heard>> => {
    const own = graph.withWeights(weights);
    return { seen: await hear(own, clips.seen), unseen: await hear(own, clips.unseen) };
  };
  const float = await listen({});
  const right = { seen: accuracy(float.seen, clips.seen), unseen: accuracy(float.unseen, clips.unseen) };
  progress(`the float model hears what is played: ${right.seen.toFixed(3)} and ${right.unseen.toFixed(3)}`);
  const rows: Row[] = [];
  const opened = await safetensors().open(byteSource(file), {});
  for (const part of PARTS) {
    const add = async (name: string, bytes: number, packed: number, dense: Uint8Array): Promise<void> => {
      const heard = await listen(await weightsOf(dense));
      const [seen, unseen] = [distance(float.seen, heard.seen), distance(float.unseen, heard.unseen)];
      rows.push({ part, name, bytes: Math.round(bytes), packed: Math.round(packed), seen, unseen });
      progress(`${part}, ${name}: ${bytes} bytes, ${JSON.stringify([seen, unseen])}`);
    };
    const common: CompressOptions = part === "learned" ? { ...LEAST, exclude: FILTERS } : LEAST;
    let names: ReadonlySet<string> = new Set();
    let rest = 0;
    const quantize = async (name: string, own: CompressOptions): Promise<void> => {
      const options = { ...common, ...own };
      const container = collected();
      const report = await compress(file.buffer, container.sink, options);
      const plain = await compress(file.buffer, collected().sink, { ...options, entropy: "none" });
      const filters = report.tensors.filter((one) => part === "learned" && FILTERS.test(one.name));
      const apart = filters.reduce((sum, one) => sum + one.bytesOut, 0);
      names = quantizedNames(plain);
      rest = restBytes(plain) - apart;
      const dense = collected();
      await decompress(container.bytes().buffer, dense.sink);
      await add(name, report.bytesOut - apart, plain.bytesOut - apart, dense.bytes());
    };
    for (const [sharing, { options, counts }] of Object.entries(SHARING).slice(0, part === "all" ? 1 : 2)) {
      for (const levels of counts) {
        await quantize(`${levels} levels ${sharing}, plain`, { levels, ...options });
        await quantize(`${levels} levels ${sharing}, calibrated`, {
          levels,
          ...options,
          calibration: calibration(statistics.bytes()),
        });
      }
    }
    for (const setting of AFFINE) {
      const made = await affineModel(opened, names, new Set(), setting);
      await add(affineText(setting), made.entropyBytes + rest, made.bytes + rest, await bytesOf(made.segments));
    }
  }
  const weights = Object.values(graph.weights).reduce((sum, { data }) => sum + data.length, 0);
  const filters = Object.entries(graph.weights).reduce(
    (sum, [n, { data }]) => (FILTERS.test(n) ? sum + data.length : sum),
    0,
  );
  const results = { model: MODEL, weights, filters, floatBytes: file.length, clips: CLIPS, right, rows };
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, "pitch.json"), `${JSON.stringify(results, null, 1)}\n`);
  await writeFile(join(RESULTS, "pitch.md"), pageOf(results));
}

await main();
