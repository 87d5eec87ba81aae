// The page: hands the file and the options to the Worker, and shows what comes back.
import { drawLayer } from "./chart.js";
import { decibels, fillTable, sizeText } from "./table.js";

const get = (id) => document.getElementById(id);
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
let file;
let images = [];
/** Whether the model's input is being looked at. */
let asking = false;

const canCalibrate = () => file?.name.endsWith(".onnx") ?? false;

function choose(chosen) {
  if (!chosen) return;
  file = chosen;
  get("file-name").textContent = `${file.name} (${sizeText(file.size)})`;
  get("to-label").hidden = get("calibrate").hidden = !canCalibrate();
  get("start").disabled = false;
  ask();
}

function chooseImages(chosen) {
  images = [...chosen];
  const count = images.length === 1 ? "1 image" : `${images.length} images`;
  get("images-text").textContent = images.length > 0 ? count : get("images-text").dataset.empty;
  get("input").hidden = images.length === 0;
  ask();
}

/** What size the model wants images in. */
function ask() {
  if (!canCalibrate() || images.length === 0) return;
  get("message").textContent = "";
  asking = get("start").disabled = true;
  worker.postMessage({ kind: "input", file });
}

function dropping(area, input, taken) {
  input.addEventListener("change", () => taken(input.files));
  for (const name of ["dragover", "dragleave", "drop"]) {
    area.addEventListener(name, (event) => {
      event.preventDefault();
      area.classList.toggle("over", name === "dragover");
      if (name === "drop") taken(event.dataTransfer.files);
    });
  }
}
dropping(get("drop"), get("file"), ([chosen]) => choose(chosen));
dropping(get("drop-images"), get("images"), chooseImages);
get("images-text").dataset.empty = get("images-text").textContent;
get("no-images").addEventListener("click", () => {
  get("images").value = "";
  chooseImages([]);
});

function work(isWorking) {
  get("working").hidden = get("cancel").hidden = !isWorking;
  get("start").disabled = get("file").disabled = get("images").disabled = isWorking;
}

get("form").addEventListener("submit", (event) => {
  event.preventDefault();
  get("message").textContent = "";
  get("result").hidden = get("layer").hidden = true;
  get("progress").value = 0;
  get("status").textContent = "";
  work(true);
  const to = get("to-label").hidden ? "container" : get("to").value;
  const [levels, width, height] = ["levels", "width", "height"].map((id) => Number(get(id).value));
  const [scale, values, order] = ["scale", "values", "order"].map((id) => get(id).value);
  const known = canCalibrate() && images.length > 0 ? { files: images, width, height, values, order } : undefined;
  worker.postMessage({ kind: "compress", file, to, levels, scale, images: known });
});
get("cancel").addEventListener("click", () => worker.postMessage({ kind: "cancel" }));

/** Of an even number, the lower of the two in the middle; what is exact is more than any number. */
const median = (list) => [...list].sort((a, b) => (a ?? Infinity) - (b ?? Infinity))[(list.length - 1) >> 1];

function showOutputs(tensors) {
  const outputs = tensors.flatMap(({ output }) => output ?? []);
  get("outputs").hidden = outputs.length === 0;
  get("table").classList.toggle("calibrated", outputs.length > 0);
  if (outputs.length === 0) return;
  const [own, nearest] = ["sqnrDb", "nearestDb"].map((of) => decibels(median(outputs.map((output) => output[of]))));
  get("outputs").textContent =
    `On the images, the outputs of ${outputs.length} layers keep ${own} (median); with every weight at its nearest value they would keep ${nearest}.`;
}

const ANSWERS = {
  input({ shape: [, , height, width] }) {
    asking = get("start").disabled = false;
    if (height) get("height").value = height;
    if (width) get("width").value = width;
    // other sizes than these are refused by the model
    get("height").readOnly = height > 0;
    get("width").readOnly = width > 0;
  },
  progress({ share, text }) {
    get("progress").value = share;
    get("status").textContent = text;
  },
  done({ report, blob, name }) {
    work(false);
    const { bytesIn, bytesOut, ratio, sqnrDb } = report;
    const quality = typeof sqnrDb === "number" ? `, ${sqnrDb.toFixed(1)} dB` : "";
    get("closing").textContent = `${sizeText(bytesIn)} → ${sizeText(bytesOut)}, ${ratio.toFixed(2)}x${quality}`;
    const link = get("download");
    if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(blob);
    link.download = name;
    showOutputs(report.tensors);
    fillTable(get("rows"), report.tensors, (tensor) => worker.postMessage({ kind: "layer", tensor }));
    get("result").hidden = false;
    const largest = report.tensors.filter(({ stats }) => stats).sort((a, b) => b.bytesIn - a.bytesIn)[0];
    if (largest) worker.postMessage({ kind: "layer", tensor: largest.name });
  },
  layer({ layer }) {
    get("layer").hidden = false;
    get("layer-title").textContent = `${layer.name}: ${layer.codebook.length} values for ${layer.count} weights`;
    drawLayer(get("chart"), layer);
    for (const row of get("rows").children) row.classList.toggle("chosen", row.dataset.tensor === layer.name);
  },
  failed({ code, message }) {
    work(false);
    // images that the model does not take
    if (asking) get("no-images").click();
    asking = false;
    get("message").textContent = code === "aborted" ? "Cancelled." : message;
  },
};
worker.addEventListener("message", ({ data }) => ANSWERS[data.kind](data));
worker.addEventListener("error", ({ message }) => ANSWERS.failed({ message: message || "the Worker did not start" }));
