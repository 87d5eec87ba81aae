// Calibration: the float model runs on images, and what its layers see of them is summed up.
import { imageInput } from "./images.js";
import { calibrate } from "./wlq/onnxruntime.js";

let loaded;
/** onnxruntime-web is large: fetched when there are images. */
async function runtime() {
  loaded ??= await import("./ort/ort.wasm.min.mjs");
  // sums of several threads would come together in another order
  loaded.env.wasm.numThreads = 1;
  return loaded;
}

/** @returns the one input of a model that takes images: its name and `[batch, channels, height, width]`, 0 where any size is right */
export async function inputOf(file) {
  const { InferenceSession } = await runtime();
  const session = await InferenceSession.create(new Uint8Array(await file.arrayBuffer()), {
    executionProviders: ["wasm"],
    logSeverityLevel: 3,
  });
  const inputs = session.inputMetadata;
  await session.release();
  const [{ name, type, shape }] = inputs;
  const text = inputs.map((one) => `${one.name}: ${one.type} [${one.shape?.join(", ")}]`).join("; ");
  if (inputs.length !== 1 || type !== "float32" || shape.length !== 4 || ![1, 3].includes(shape[1])) {
    throw new RangeError(`Images are [1, 3 or 1, height, width] as float32; the model takes ${text}`);
  }
  return { name, shape: shape.map((size) => (Number.isInteger(size) ? Math.max(0, size) : 0)) };
}

/** Writes the statistics of what the layers see on the images. */
export async function calibrateOn(file, { files, height, width, values, order }, sink, { signal, onProgress }) {
  const ort = await runtime();
  const { name, shape } = await inputOf(file);
  const channels = shape[1];
  async function* feeds() {
    for (const image of files) {
      const input = await imageInput(image, { channels, height, width, values, order }).catch(() => {
        throw new RangeError(`${image.name} is no image that this browser can read`);
      });
      yield { [name]: new ort.Tensor("float32", input, [1, channels, height, width]) };
    }
  }
  return await calibrate(ort, file, feeds, sink, {
    signal,
    onProgress: ({ runs, passes }) => onProgress(runs, files.length * passes),
  });
}
