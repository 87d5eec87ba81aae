// npm run experiment:vad: voice activity detection (convolutions and an LSTM) in few levels without training, against int8 and int4.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { formatTable } from "../examples/ocr/text-table.ts";
import { calibration } from "../src/calibrate/index.ts";
import { onnx } from "../src/formats/onnx.ts";
import { type CompressOptions, compress, decompress } from "../src/index.ts";
import { byteSource } from "../src/io/source.ts";
import { AFFINE, affineModel } from "./calibrate/affine.ts";
import { bytesOf, collected } from "./calibrate/model.ts";
import { quantizedNames, restBytes } from "./calibrate/quantized.ts";
import { affineText } from "./calibrate/results.ts";
import { branchModel } from "./vad/branch.ts";
import { CLIPS, pageOf, type Row } from "./vad/page.ts";
import { type Half, speechClips } from "./vad/speech.ts";
import { distance, probabilities, statisticsOf } from "./vad/subject.ts";

const MODEL = "node_modules/@ricky0123/vad-web/dist/silero_vad_v5.onnx";
const RESULTS = "docs/results";
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

const SHARING = {
  "a layer, scale a channel": { scale: "channel" },
  "a channel": { granularity: "channel" },
} as const;

async function main(): Promise<void> {
  const model = branchModel(new Uint8Array(await readFile(MODEL)));
  const statistics = await statisticsOf(model, speechClips("seen", CLIPS.calibration, 1));
  const clips: Readonly<Record<Half, Float32Array[]>> = {
    seen: speechClips("seen", CLIPS.each, 2),
    unseen: speechClips("unseen", CLIPS.each, 3),
  };
  const hear = async (bytes: Uint8Array): Promise<Record<Half, Float32Array>> => ({
    seen: await probabilities(bytes, clips.seen),
    unseen: await probabilities(bytes, clips.unseen),
  });
  const float = await hear(model);
  const speech = float.seen.reduce((sum, p) => sum + (p >= 0.5 ? 1 : 0), 0) / float.seen.length;
  progress(`the float model hears speech in ${(100 * speech).toFixed(0)} % of the frames`);
  const rows: Row[] = [];
  const add = async (name: string, bytes: number, packed: number, dense: Uint8Array): Promise<void> => {
    const heard = await hear(dense);
    const [seen, unseen] = [distance(float.seen, heard.seen), distance(float.unseen, heard.unseen)];
    rows.push({ name, bytes: Math.round(bytes), packed: Math.round(packed), seen, unseen });
    progress(`${name}: ${bytes} bytes, mean error ${seen.meanError.toFixed(4)} and ${unseen.meanError.toFixed(4)}`);
  };
  let names: ReadonlySet<string> = new Set();
  let rest = 0;
  const quantize = async (name: string, options: CompressOptions): Promise<void> => {
    const own = { formats: [onnx()], ...options };
    const container = collected();
    const { bytesOut } = await compress(model.buffer, container.sink, own);
    const plain = await compress(model.buffer, collected().sink, { ...own, entropy: "none" });
    names = quantizedNames(plain);
    rest = restBytes(plain);
    const dense = collected();
    await decompress(container.bytes().buffer, dense.sink, { formats: [onnx()] });
    await add(name, bytesOut, plain.bytesOut, dense.bytes());
  };
  for (const [sharing, options] of Object.entries(SHARING)) {
    for (const levels of [16, 8, 4]) {
      await quantize(`${levels} levels ${sharing}, plain`, { levels, ...options });
      await quantize(`${levels} levels ${sharing}, calibrated`, {
        levels,
        ...options,
        calibration: calibration(statistics),
      });
    }
  }
  const opened = await onnx().open(byteSource(model), {});
  for (const setting of AFFINE) {
    const made = await affineModel(opened, names, new Set(), setting);
    await add(affineText(setting), made.entropyBytes + rest, made.bytes + rest, await bytesOf(made.segments));
  }
  const results = { model: MODEL, floatBytes: model.length, clips: CLIPS, speech, rows };
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, "vad.json"), `${JSON.stringify(results, null, 1)}\n`);
  await writeFile(join(RESULTS, "vad.md"), pageOf(results));
  const right = (heading: string) => ({ heading, align: "right" }) as const;
  process.stdout.write(
    `${formatTable(
      [{ heading: "setting", align: "left" }, ...["bytes", "seen", "unseen"].map(right)],
      rows.map(({ name, bytes, seen, unseen }) => [
        name,
        String(bytes),
        seen.meanError.toFixed(4),
        unseen.meanError.toFixed(4),
      ]),
    )}\n`,
  );
}

await main();
