// The Worker: calibrates and compresses off the page's thread, and looks at one layer when it is asked to.
import { calibrateOn, inputOf } from "./calibrate.js";
import { layerOf } from "./layer.js";
import { caffe } from "./wlq/caffe.js";
import { calibration } from "./wlq/calibrate.js";
import { compress } from "./wlq/index.js";
import { onnx } from "./wlq/onnx.js";

const formats = [onnx(), caffe()];
let controller;
let model;
let container;

/** Collects an output as a Blob, which the browser may keep on disk. */
function blobSink() {
  let blob = new Blob([]);
  let chunks = [];
  let held = 0;
  const settle = () => {
    blob = new Blob([blob, ...chunks]);
    [chunks, held] = [[], 0];
  };
  const stream = new WritableStream({
    write(chunk) {
      chunks.push(chunk);
      held += chunk.length;
      if (held > 8 << 20) settle();
    },
    close: settle,
  });
  return { stream, blob: () => blob };
}

/** Tells the page, but not more often than it can show. */
function teller() {
  let told = 0;
  return (share, text) => {
    if (performance.now() - told < 50 && share < 1) return;
    told = performance.now();
    postMessage({ kind: "progress", share, text: `${Math.round(100 * share)} %: ${text}` });
  };
}

async function run({ file, to, levels, scale, images }) {
  controller = new AbortController();
  const { signal } = controller;
  const tell = teller();
  // most of the time goes to running the model
  const calibrating = images ? 0.7 : 0;
  let known = {};
  if (images) {
    const sink = blobSink();
    const onProgress = (done, all) => tell((calibrating * done) / all, `image ${done} of ${all}`);
    tell(0, "starting onnxruntime");
    await calibrateOn(file, images, sink.stream, { signal, onProgress });
    known = { calibration: calibration(sink.blob()) };
  }
  const passes = to === "onnx" ? ["container", "onnx"] : ["container"];
  let report;
  let output;
  for (const [pass, kind] of passes.entries()) {
    const sink = blobSink();
    report = await compress(file, sink.stream, {
      formats,
      levels,
      scale,
      to: kind,
      ...known,
      signal,
      onProgress: ({ tensor, done, total }) =>
        tell(calibrating + ((1 - calibrating) * (pass + done / (total || 1))) / passes.length, tensor),
    });
    output = sink.blob();
    // what the chart reads codebooks from
    if (kind === "container") container = output;
  }
  model = file;
  const ending = to === "onnx" ? ".small.onnx" : ".wlq.safetensors";
  postMessage({ kind: "done", report, blob: output, name: file.name.replace(/\.\w+$/, "") + ending });
}

const WORKS = {
  compress: run,
  input: async ({ file }) => postMessage({ kind: "input", ...(await inputOf(file)) }),
  cancel: () => controller?.abort(),
  layer: async ({ tensor }) => postMessage({ kind: "layer", layer: await layerOf(model, container, tensor, formats) }),
};

addEventListener("message", async ({ data }) => {
  try {
    await WORKS[data.kind](data);
  } catch ({ code, message }) {
    postMessage({ kind: "failed", code, message });
  }
});
