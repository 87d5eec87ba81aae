// The Worker: compresses off the page's thread, and looks at one layer when it is asked to.
import { layerOf } from "./layer.js";
import { caffe } from "./wlq/caffe.js";
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

async function run({ file, to, levels, scale }) {
  controller = new AbortController();
  const passes = to === "onnx" ? ["container", "onnx"] : ["container"];
  let report;
  let output;
  for (const [pass, kind] of passes.entries()) {
    const sink = blobSink();
    let told = 0;
    report = await compress(file, sink.stream, {
      formats,
      levels,
      scale,
      to: kind,
      signal: controller.signal,
      onProgress({ tensor, done, total }) {
        if (performance.now() - told < 50 && done < total) return;
        told = performance.now();
        const share = (pass + done / (total || 1)) / passes.length;
        postMessage({ kind: "progress", share, text: `${Math.round(100 * share)} %: ${tensor}` });
      },
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
