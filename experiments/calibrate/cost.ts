// Cost: capture and quantization of the OCR model in a process of its own, and the rank-k update alone.
import { execFile } from "node:child_process";
import process from "node:process";
import { promisify } from "node:util";
import { calibrateScope, loadCalibrate } from "../../src/wasm/calibrate.ts";

export interface Cost {
  /** Reading the model, running it on the lines, summing up, statistics file: processor time of the process. */
  readonly captureSeconds: number;
  /** Codebooks and codes, container. */
  readonly quantizeSeconds: number;
  /** Largest resident set of the process, onnxruntime and rendering included. */
  readonly peakBytes: number;
}

/** Processor time so far, all threads: what a core alone would take, whoever else is on the machine. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Runs this program again with `--cost`, on one core where `taskset` is there, and reads what it prints. */
export async function measureCost(): Promise<Cost> {
  const [node, script] = [process.execPath, process.argv[1] as string];
  const run = promisify(execFile);
  const pinned = run("taskset", ["-c", "0", node, script, "--cost"]);
  const { stdout } = await pinned.catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return run(node, [script, "--cost"]);
  });
  return JSON.parse(stdout) as Cost;
}

// Columns and rows of a layer in the middle: 480 inputs, 128 rows a call as the observer makes them.
const COLUMNS = 480;
const ROWS = 128;
const CALLS = 60;

/** Multiplications and additions a second of the rank-k update, in 10^9; the best of five. */
export async function measureGflops(): Promise<number> {
  await loadCalibrate();
  const scope = calibrateScope();
  const panels = COLUMNS / 8;
  const at = scope.reserve(256 * panels * (panels + 1));
  const rows = scope.reserve(panels * ROWS * 32);
  scope.u8(at, 256 * panels * (panels + 1)).fill(0);
  scope.f32(rows, COLUMNS * ROWS).fill(0.5);
  let best = 0;
  for (let trial = 0; trial < 5; trial++) {
    const start = performance.now();
    for (let call = 0; call < CALLS; call++) scope.kernels.rankUpdate(at, rows, panels, ROWS);
    const seconds = (performance.now() - start) / 1000;
    best = Math.max(best, (CALLS * ROWS * COLUMNS * (COLUMNS + 1)) / seconds / 1e9);
  }
  return best;
}
