// The page: takes a file and settings, has the worker compress it, and shows what became of it.
import type { Report, TensorReport } from "wlq";
import { drawChart } from "./chart.ts";
import type { Answer, Request, Settings } from "./messages.ts";

const $ = <T extends Element = HTMLElement>(id: string): T => document.querySelector<T>(`#${id}`) as T;
const [form, drop, start, cancel, progress] = ["form", "drop", "start", "cancel", "progress"].map((id) => $(id)) as [
  HTMLFormElement,
  HTMLElement,
  HTMLButtonElement,
  HTMLButtonElement,
  HTMLProgressElement,
];
const picker = $<HTMLInputElement>("file");
const levels = $<HTMLInputElement>("levels");

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const tell = (request: Request): void => worker.postMessage(request);

let file: File | undefined;
let finished: { report: Report; result: Blob; name: string } | undefined;

worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
  if (data.type === "progress") {
    const { phase, tensor, done, total } = data.progress;
    progress.value = total > 0 ? done / total : 1;
    say(`${phase === "cluster" ? "Finding values for" : "Writing"} ${tensor}`);
  } else if (data.type === "done") {
    finished = { report: data.report, result: data.result, name: resultName(file?.name ?? "model") };
    busy(false);
    show(data.report);
  } else if (data.type === "failed") {
    busy(false);
    if (data.code === "aborted") say("Cancelled; nothing was kept");
    else fail(data.code, data.message);
  } else {
    const { picture } = data;
    const report = finished?.report.tensors.find(({ name }) => name === picture.tensor);
    drawChart($<SVGSVGElement>("chart"), picture, report?.stats?.counts ?? []);
    const which = picture.codebooks > 1 ? `the first of ${picture.codebooks} codebooks` : "its codebook";
    const divided = picture.scaled ? "divided by the scale of their channel or group, " : "";
    $("caption").textContent =
      `${picture.tensor}: its weights, ${divided}and ${which} of ${picture.codebook.length} values. Heights are square roots of counts.`;
    $("figure").hidden = false;
  }
});
worker.addEventListener("error", (event) => {
  busy(false);
  fail("error", event.message || "the worker did not start");
});

picker.addEventListener("change", () => choose(picker.files?.[0]));
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
  });
}
addEventListener("drop", (event) => choose(event.dataTransfer?.files[0]));
levels.addEventListener("input", () => {
  $("levels-shown").textContent = String(2 ** levels.valueAsNumber);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!file) return;
  finished = undefined;
  $("result").hidden = true;
  $("error").hidden = true;
  busy(true);
  const chosen = (id: string): string => $<HTMLSelectElement>(id).value;
  const settings = { levels: 2 ** levels.valueAsNumber, scale: chosen("scale"), method: chosen("method") } as Settings;
  tell({ type: "compress", file, settings });
});
cancel.addEventListener("click", () => tell({ type: "cancel" }));
$("download").addEventListener("click", () => void download());

function choose(chosen: File | undefined): void {
  if (!chosen || start.hidden) return;
  file = chosen;
  $("name").textContent = chosen.name;
  $("size").textContent = bytes(chosen.size);
  $("error").hidden = true;
  start.disabled = false;
  say("");
}

function busy(on: boolean): void {
  start.hidden = on;
  cancel.hidden = !on;
  progress.hidden = !on;
  $<HTMLFieldSetElement>("settings").disabled = on;
  picker.disabled = on;
  progress.value = 0;
  say(on ? "Reading" : "");
}

function say(text: string): void {
  $("status").textContent = text;
}

function fail(code: string, message: string): void {
  $("error").textContent = `${message} (${code})`;
  $("error").hidden = false;
}

function show(report: Report): void {
  const { bytesIn, bytesOut, ratio, bitsPerWeight, sqnrDb, tensors, warnings } = report;
  const totals = {
    Size: `${bytes(bytesIn)} → ${bytes(bytesOut)}`,
    Smaller: `${ratio.toFixed(2)}×`,
    "Bits/weight": bitsPerWeight.toFixed(2),
    SQNR: decibels(sqnrDb),
  };
  $("totals").replaceChildren(
    ...Object.entries(totals).map(([term, value]) => {
      const group = document.createElement("div");
      group.append(made("dt", term), made("dd", value));
      return group;
    }),
  );
  $("figure").hidden = true;
  $("rows").replaceChildren(...tensors.map(row));
  $("result").hidden = false;
  say(warnings.join("; "));
  // the largest layer first
  const largest = tensors.filter((t) => t.stats).sort((a, b) => b.bytesIn - a.bytesIn)[0];
  if (largest) select(largest.name);
}

function row({ name, shape, levels: k, kept, stats, bytesIn, bytesOut }: TensorReport): HTMLTableRowElement {
  const line = document.createElement("tr");
  const first = document.createElement("td");
  if (stats) {
    const button = made("button", name) as HTMLButtonElement;
    button.type = "button";
    button.dataset.tensor = name;
    button.title = name;
    button.addEventListener("click", () => select(name));
    first.append(button);
  } else {
    line.className = "kept";
    first.textContent = name;
    first.title = kept ?? "";
  }
  const numbers = [
    k?.toString() ?? "as it is",
    stats ? decibels(stats.sqnrDb) : "",
    stats?.bitsPerWeight.toFixed(2) ?? "",
    bytes(bytesIn),
    bytes(bytesOut),
  ];
  line.append(first, made("td", shape.join(" × ")));
  for (const text of numbers) line.append(Object.assign(made("td", text), { className: "number" }));
  return line;
}

function select(tensor: string): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-tensor]")) {
    button.ariaPressed = String(button.dataset.tensor === tensor);
  }
  tell({ type: "picture", tensor });
}

/** Into a file of the user's choice where the browser can, else among the downloads. */
async function download(): Promise<void> {
  if (!finished) return;
  const { result, name } = finished;
  const picked = (window as { showSaveFilePicker?: (options: object) => Promise<FileSystemFileHandle> }).showSaveFilePicker;
  if (picked) {
    try {
      const handle = await picked({ suggestedName: name });
      await result.stream().pipeTo(await handle.createWritable());
    } catch (error) {
      // closing the dialogue is no error
      if ((error as Error).name !== "AbortError") fail("io", (error as Error).message);
    }
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(result);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function resultName(name: string): string {
  return `${name.replace(/\.(safetensors|onnx|caffemodel)$/, "")}.wlq.safetensors`;
}

function made(tag: string, text: string): HTMLElement {
  return Object.assign(document.createElement(tag), { textContent: text });
}

function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(count < 1e8 ? 2 : 1)} MB`;
}

function decibels(value: number | null): string {
  return value === null ? "exact" : `${value.toFixed(1)} dB`;
}
