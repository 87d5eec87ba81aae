// Rounds: a layer of 100 million weights, and the freezing kernels beside memcpy of the same bytes.
import process from "node:process";
import { createSlq } from "../src/slq/index.ts";
import { newLayer } from "../src/slq/layer.ts";
import { loadKernels, Workspace } from "../src/slq/workspace.ts";
import { slqScope } from "../src/wasm/slq.ts";
import { gauss } from "./data.ts";
import { measure, type Row } from "./measure.ts";

const BIG = 100_000_000;
const N = 10_000_000;
const LEVELS = [16, 17, 64] as const;

/** Rounds on one layer, the first and all of them; wall clock, one run. */
async function rounds(count: number): Promise<void> {
  const tile = gauss(1 << 20, 3);
  const weights = new Float32Array(count);
  for (let at = 0; at < count; at += tile.length) weights.set(tile.subarray(0, Math.min(tile.length, count - at)), at);
  // warm up on a small layer: the code of tiles is the same
  const warm = await createSlq({ w: weights.slice(0, N) });
  while (!warm.done) await warm.next();
  const slq = await createSlq({ w: weights });
  const before = process.memoryUsage().rss;
  while (!slq.done) {
    const started = performance.now();
    const cpu = process.cpuUsage();
    const { round, frozen } = await slq.next();
    const ms = performance.now() - started;
    const busy = process.cpuUsage(cpu).user / 1e3;
    const what = `round ${round} of ${slq.rounds}, ${count / 1e6} M weights: ${ms.toFixed(0)} ms (${busy.toFixed(0)} ms of processor time)`;
    console.log(`${what}, ${((100 * frozen) / count).toFixed(1)} % frozen${count === BIG ? ", goal 1500 ms" : ""}`);
    for (let i = 0; i < count; i += 997) if (slq.masks.w?.[i]) weights[i] = (weights[i] as number) * 1.01;
  }
  console.log(
    `memory during the rounds: +${((process.memoryUsage().rss - before) / 1e6).toFixed(0)} MB beside the weights' ${(count * 4) / 1e6} MB`,
  );
}

function show(row: Row, goal: string): void {
  console.log(
    `${row.name.padEnd(52)} ${row.ms.toFixed(2).padStart(8)} ms ${row.gbPerSecond.toFixed(1).padStart(6)} GB/s  ${goal}`,
  );
}

/** On data that lies in Wasm memory: within 2x of memcpy of the same bytes. */
function resident(): void {
  const scope = slqScope();
  const { kernels } = scope;
  const weights = scope.reserve(N * 4);
  const mask = scope.reserve(N);
  const codes = scope.reserve(N);
  const spare = scope.reserve(N * 6);
  const codebook = scope.reserve(1024);
  const freezes = scope.reserve(256);
  scope.f32(weights, N).set(gauss(N, 4));
  scope.f32(codebook, 256).set(gauss(256, 5));
  const memory = new Uint8Array(kernels.memory.buffer);
  for (const levels of LEVELS) {
    const random = scope.u8(codes, N);
    for (let i = 0; i < N; i++) random[i] = (i * 2654435761) % levels;
    scope
      .u8(freezes, 256)
      .fill(0)
      .fill(255, 0, levels >> 1);
    scope.u8(mask, N).fill(1);
    // reads 4 + 1 + 1 bytes a weight, writes 4 + 1
    const copy5 = measure("", N * 5, () => memory.copyWithin(spare, weights, weights + N * 5), 1);
    const copy4 = measure("", N * 4, () => memory.copyWithin(spare, weights, weights + N * 4), 1);
    const row = measure(
      `freeze, ${levels} levels, Wasm-resident`,
      N * 5,
      () => kernels.freeze(weights, mask, codes, N, codebook, levels, freezes),
      1,
    );
    show(row, `${(row.ms / copy5.ms).toFixed(2)} x memcpy of 5 bytes a weight (${copy5.ms.toFixed(2)} ms), goal 2`);
    const snap = measure(
      `snap, ${levels} levels, Wasm-resident`,
      N * 4,
      () => void kernels.snap(weights, mask, codes, N, codebook, levels),
      1,
    );
    show(snap, `${(snap.ms / copy4.ms).toFixed(2)} x memcpy of 4 bytes a weight (${copy4.ms.toFixed(2)} ms), goal 2`);
    const check = measure(
      `check, ${levels} levels, Wasm-resident`,
      N * 6,
      () => void kernels.firstMoved(weights, mask, codes, N, codebook, levels),
      1,
    );
    show(check, `${(check.ms / copy4.ms).toFixed(2)} x memcpy of 4 bytes a weight, goal 2`);
  }
}

/** On the caller's arrays: within 4x. */
async function callers(): Promise<void> {
  await loadKernels();
  const workspace = new Workspace();
  const spare = new Float32Array(N);
  const spareBytes = new Uint8Array(N);
  for (const levels of LEVELS) {
    const layer = newLayer("w", gauss(N, 6), [N], levels);
    layer.codebook = gauss(levels, 7).sort();
    workspace.code(layer, layer.codebook);
    const freezes = new Uint8Array(levels).fill(1, 0, levels >> 1);
    const copy = measure(
      "",
      N * 5,
      () => {
        spare.set(layer.data);
        spareBytes.set(layer.mask);
      },
      1,
    );
    for (const [name, run] of [
      ["freeze", () => workspace.freezer.freeze(layer, freezes)],
      ["snap", () => void workspace.freezer.snap(layer)],
      ["check", () => void workspace.freezer.firstMoved(layer)],
    ] as const) {
      const row = measure(`${name}, ${levels} levels, the caller's arrays`, N * 5, run, 1);
      show(row, `${(row.ms / copy.ms).toFixed(2)} x copying weights and mask (${copy.ms.toFixed(2)} ms), goal 4`);
    }
  }
}

await loadKernels();
resident();
await callers();
await rounds(process.argv.includes("--quick") ? N : BIG);
