// Threads: compress of 302 MB by two threads beside one, by turns in one process: as 24 tensors, and as one.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { compress } from "../dist/index.js";
import { fileSource } from "../dist/node.js";
import { threads } from "../dist/threads.js";

// whole rows of 8192 float32 in every case
const BYTES = 24 * 384 * 8192 * 4;
const TURNS = 4;
const folder = mkdtempSync(join(tmpdir(), "wlq-bench-"));

async function seconds(source, options) {
  const start = performance.now();
  const { warnings } = await compress(source, new WritableStream(), options);
  if (warnings.length > 0) throw new Error(warnings.join());
  return (performance.now() - start) / 1000;
}

try {
  for (const tensors of [24, 1]) {
    const path = join(folder, `${tensors}.safetensors`);
    const sizes = ["--bytes", BYTES, "--tensors", tensors].map(String);
    execFileSync(process.execPath, ["scripts/big-model.mjs", path, ...sizes]);
    const source = await fileSource(path);
    const [one, two] = [[], []];
    // the first turn warms up
    for (let turn = 0; turn <= TURNS; turn++) {
      one[turn] = await seconds(source, {});
      two[turn] = await seconds(source, { threads: threads(2) });
    }
    await source.close();
    const [alone, together] = [one, two].map((times) => Math.min(...times.slice(1)));
    const figures = `one thread ${alone.toFixed(2)} s, two ${together.toFixed(2)} s`;
    console.log(`compress, 302 MB, tensors: ${tensors}: ${figures}, ${(alone / together).toFixed(2)}x  goal 1.8x`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
