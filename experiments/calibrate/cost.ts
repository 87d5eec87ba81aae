// Cost: the command line's `calibrate` and `compress` on the OCR model, each a process of its own, and the rank-k update alone.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { CALIBRATION_LINES, drawLines } from "../../examples/ocr/lines.ts";
import { MODEL_PATH } from "../../examples/ocr/model.ts";
import { prepareLines } from "../../examples/ocr/recognize.ts";
import { safetensorsHead } from "../../src/container/safetensors.ts";
import { calibrateScope, loadCalibrate } from "../../src/wasm/calibrate.ts";
import { NOISE } from "./settings.ts";

/** What a command takes: processor time of all its threads, and the largest resident set. */
interface Spent {
  readonly seconds: number;
  readonly peakBytes: number;
}

export interface Cost {
  /** `wlq calibrate`: starting, reading the model, running it on the lines, summing up, statistics file. */
  readonly capture: Spent;
  /** The same with every line once more, with noise. */
  readonly captureWithNoise: Spent;
  /** `wlq compress`: codebooks and codes, container. */
  readonly quantize: Spent;
}

const HOOK = `import { writeFileSync } from "node:fs";
process.on("exit", () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const spent = { seconds: (userCPUTime + systemCPUTime) / 1e6, peakBytes: maxRSS * 1024 };
  writeFileSync(process.env.WLQ_SPENT, JSON.stringify(spent));
});`;

/** Runs the commands on `count` lines, on one core where `taskset` is there. */
export async function measureCost(count: number): Promise<Cost> {
  const folder = await mkdtemp(join(tmpdir(), "wlq-cost-"));
  const place = (name: string): string => join(folder, name);
  const wlq = async (...args: string[]): Promise<Spent> => {
    const env = { ...process.env, WLQ_SPENT: place("spent") };
    const command = [
      process.execPath,
      "--import",
      `data:text/javascript,${encodeURIComponent(HOOK)}`,
      "dist/cli.js",
      ...args,
    ];
    const run = promisify(execFile);
    await run("taskset", ["-c", "0", ...command], { env }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return run(command[0] as string, command.slice(1), { env });
    });
    return JSON.parse(await readFile(place("spent"), "utf8")) as Spent;
  };
  try {
    await writeFile(place("lines.safetensors"), samples(count));
    const lines = place("lines.safetensors");
    const captureWithNoise = await wlq("calibrate", MODEL_PATH, lines, place("noisy"), "--noise", String(NOISE));
    const capture = await wlq("calibrate", MODEL_PATH, lines, place("statistics"));
    const how = ["--levels", "16", "--calibration", place("statistics")];
    const quantize = await wlq("compress", MODEL_PATH, place("small.wlq.safetensors"), ...how);
    return { capture, captureWithNoise, quantize };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Calibration lines as the command line reads them: one named tensor a run. */
function samples(count: number): Uint8Array {
  const inputs = prepareLines(drawLines({ ...CALIBRATION_LINES, count }));
  const content = inputs.map(({ data }) => Buffer.from((data as Float32Array).buffer));
  const tensors = inputs.map(({ dims }, i) => {
    return { name: `${i}/x`, dtype: "F32" as const, shape: dims, byteLength: (content[i] as Buffer).length };
  });
  return Buffer.concat([safetensorsHead(tensors, {}), ...content]);
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
