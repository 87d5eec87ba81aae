// The page: hands the file and the options to the Worker, and shows what comes back.
import { drawLayer } from "./chart.js";
import { fillTable, sizeText } from "./table.js";

const get = (id) => document.getElementById(id);
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
let file;

function choose(chosen) {
  if (!chosen) return;
  file = chosen;
  get("file-name").textContent = `${file.name} (${sizeText(file.size)})`;
  get("to-label").hidden = !file.name.endsWith(".onnx");
  get("start").disabled = false;
}

get("file").addEventListener("change", ({ target }) => choose(target.files[0]));
const drop = get("drop");
for (const name of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") choose(event.dataTransfer.files[0]);
  });
}

function work(isWorking) {
  get("working").hidden = get("cancel").hidden = !isWorking;
  get("start").disabled = get("file").disabled = isWorking;
}

get("form").addEventListener("submit", (event) => {
  event.preventDefault();
  get("message").textContent = "";
  get("result").hidden = get("layer").hidden = true;
  get("progress").value = 0;
  get("status").textContent = "";
  work(true);
  const to = get("to-label").hidden ? "container" : get("to").value;
  worker.postMessage({ kind: "compress", file, to, levels: Number(get("levels").value), scale: get("scale").value });
});
get("cancel").addEventListener("click", () => worker.postMessage({ kind: "cancel" }));

const ANSWERS = {
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
    get("message").textContent = code === "aborted" ? "Cancelled." : message;
  },
};
worker.addEventListener("message", ({ data }) => ANSWERS[data.kind](data));
worker.addEventListener("error", ({ message }) => ANSWERS.failed({ message: message || "the Worker did not start" }));
