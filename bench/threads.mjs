// Threads: compress of 302 MB by two threads beside one, by turns in one process: as 24 tensors, and as one. Beside them what
// this machine's second core gives at most: two processes that do not know of each other, each with a model of its own.
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { compress } from "../dist/index.js";
import { fileSource } from "../dist/node.js";
import { threads } from "../dist/threads.js";

// whole rows of 8192 float32 in every case
const BYTES = 24 * 384 * 8192 * 4;
const TURNS = 4;

async function seconds(source, options) {
  const start = performance.now();
  const { warnings } = await compress(source, new WritableStream(), options);
  if (warnings.length > 0) throw new Error(warnings.join());
  return (performance.now() - start) / 1000;
}

/** Least of the turns after the first, which warms up. */
async function least(source, ways) {
  const times = ways.map(() => []);
  for (let turn = 0; turn <= TURNS; turn++) {
    for (const [i, options] of ways.entries()) times[i].push(await seconds(source, options()));
  }
  return times.map((own) => Math.min(...own.slice(1)));
}

async function alone(path) {
  const source = await fileSource(path);
  const [time] = await least(source, [() => ({})]);
  await source.close();
  return time;
}

/** Seconds of `count` processes at once, of the slowest. */
async function processes(path, count) {
  const run = () => promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url), path]);
  const outputs = await Promise.all(Array.from({ length: count }, run));
  return Math.max(...outputs.map(({ stdout }) => Number(stdout)));
}

async function main() {
  const folder = mkdtempSync(join(tmpdir(), "wlq-bench-"));
  try {
    for (const tensors of [24, 1]) {
      const path = join(folder, `${tensors}.safetensors`);
      const sizes = ["--bytes", BYTES, "--tensors", tensors].map(String);
      execFileSync(process.execPath, ["scripts/big-model.mjs", path, ...sizes]);
      const source = await fileSource(path);
      const [one, two] = await least(source, [() => ({}), () => ({ threads: threads(2) })]);
      await source.close();
      const most = (2 * (await processes(path, 1))) / (await processes(path, 2));
      const figures = `one thread ${one.toFixed(2)} s, two ${two.toFixed(2)} s`;
      const ratio = `${(one / two).toFixed(2)}x, two processes ${most.toFixed(2)}x`;
      console.log(`compress, 302 MB, tensors: ${tensors}: ${figures}, ${ratio}  goal 1.8x`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const [path] = process.argv.slice(2);
if (path) console.log(await alone(path));
else await main();
