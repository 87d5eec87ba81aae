// Voice activity detection without training, the experiment's quick form: convolutions and an LSTM in 8 levels.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";
import { expect, test } from "vitest";
import { collected } from "../../experiments/calibrate/model.ts";
import { branchModel } from "../../experiments/vad/branch.ts";
import { speechClips } from "../../experiments/vad/speech.ts";
import { distance, probabilities, statisticsOf } from "../../experiments/vad/subject.ts";
import { calibration } from "../../src/calibrate/index.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { compress } from "../../src/index.ts";

ort.env.wasm.numThreads = 1;

test("8 levels a layer: probabilities of speech stay much nearer with 8 clips", {
  timeout: 300_000,
}, async () => {
  const file = new Uint8Array(await readFile("node_modules/@ricky0123/vad-web/dist/silero_vad_v5.onnx"));
  const model = branchModel(file);
  const statistics = await statisticsOf(model, speechClips("seen", 8, 1));
  const clips = speechClips("seen", 4, 2);
  const float = await probabilities(model, clips);
  const speech = float.filter((p) => p >= 0.5).length / float.length;
  expect(speech).toBeGreaterThan(0.2);
  expect(speech).toBeLessThan(0.9);
  const errorOf = async (known: object): Promise<number> => {
    const { sink, bytes } = collected();
    const options = { formats: [onnx()], levels: 8, scale: "channel", to: "dense", ...known } as const;
    await compress(model.buffer, sink, options);
    return distance(float, await probabilities(bytes(), clips)).meanError;
  };
  const [plain, calibrated] = [await errorOf({}), await errorOf({ calibration: calibration(statistics) })];
  console.log(`mean error of the probability: ${plain} plain, ${calibrated} calibrated`);
  expect(calibrated).toBeLessThan(plain / 1.5);
  // the branch is what the whole model does at that rate
  const whole = await ort.InferenceSession.create(file);
  const input = new ort.Tensor("float32", (clips[0] as Float32Array).slice(20_000, 20_576), [1, 576]);
  const state = new ort.Tensor("float32", new Float32Array(256), [2, 1, 128]);
  const sr = new ort.Tensor("int64", BigInt64Array.of(16_000n), []);
  const part = await ort.InferenceSession.create(model);
  const [a, b] = [await whole.run({ input, state, sr }), await part.run({ input, state })];
  expect(b[part.outputNames[0] as string]?.data).toEqual(a.output?.data);
});
