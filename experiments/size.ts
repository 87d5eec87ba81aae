// Size: error at equal bytes against what others do: affine int8 and int4, fixed-width codebooks, float16, compressed or not.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { gauss, laplace } from "../bench/data.ts";
import { floatTensors, MODELS } from "../bench/models.ts";
import { safetensorsHead } from "../src/container/safetensors.ts";
import { compress, init, plan, WlqError } from "../src/index.ts";
import { f16Bits, f16Value } from "../test/reference/half.ts";
import { openGraph } from "./pitch/graph.ts";
import { readModel } from "./pitch/subject.ts";
import { type Curve, ratePlot } from "./size/plot.ts";
import { measureTasks, type TaskResult, taskTables } from "./size/task.ts";

interface Weights {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** One way to store all weights of a set. */
interface Way {
  readonly name: string;
  readonly bytes: number;
  readonly sqnrDb: number;
  /** Ours at the same bytes. */
  ours?: number;
}

const BLOCK = 32;
const PRICES = 12;

/**
 * Affine: q = round(x / scale) + zero point between a run's least and largest value, as onnxruntime's tools do. Returns
 * the codes, one byte each or two in one, and the squared error.
 */
function affine(weights: Weights, bits: number, run: number): { codes: Uint8Array; error: number; runs: number } {
  const { data } = weights;
  const most = 2 ** bits - 1;
  const codes = new Uint8Array(data.length);
  let error = 0;
  let runs = 0;
  for (let from = 0; from < data.length; from += run, runs++) {
    const part = data.subarray(from, from + run);
    let [low, high] = [0, 0];
    for (const x of part) {
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
    const scale = (high - low) / most || 1;
    const zero = Math.round(-low / scale);
    part.forEach((x, i) => {
      const q = Math.min(most, Math.max(0, Math.round(x / scale) + zero));
      codes[from + i] = q;
      error += (x - (q - zero) * scale) ** 2;
    });
  }
  if (bits === 8) return { codes, error, runs };
  const packed = new Uint8Array(Math.ceil(codes.length / 2));
  codes.forEach((q, i) => {
    packed[i >> 1] = (packed[i >> 1] as number) | (q << (4 * (i & 1)));
  });
  return { codes: packed, error, runs };
}

const brotli = (bytes: Uint8Array): number =>
  brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }).length;
const gzip = (bytes: Uint8Array): number => gzipSync(bytes, { level: 9 }).length;
// the command, since not every Node has it
const zstd = (bytes: Uint8Array): number =>
  execFileSync("zstd", ["-19", "-c"], { input: bytes, maxBuffer: 1 << 28, stdio: ["pipe", "pipe", "ignore"] }).length;

function baselines(set: readonly Weights[], signal: number): Way[] {
  const ways: Way[] = [];
  const db = (error: number): number => 10 * Math.log10(signal / error);
  for (const bits of [8, 4]) {
    for (const per of ["tensor", "channel", "block of 32"] as const) {
      let error = 0;
      let tables = 0;
      const all: Uint8Array[] = [];
      for (const weights of set) {
        const channels = weights.shape[0] as number;
        const run = per === "tensor" ? weights.data.length : per === "channel" ? weights.data.length / channels : BLOCK;
        const made = affine(weights, bits, run);
        error += made.error;
        // a float32 scale and a zero point; in blocks a float16 scale
        tables += made.runs * ((per === "block of 32" ? 2 : 4) + bits / 8);
        all.push(made.codes);
      }
      const codes = Buffer.concat(all);
      const name = `int${bits} per ${per}`;
      ways.push({ name, bytes: Math.ceil(codes.length + tables), sqnrDb: db(error) });
      ways.push({ name: `${name}, gzip`, bytes: Math.ceil(gzip(codes) + tables), sqnrDb: db(error) });
      ways.push({ name: `${name}, zstd`, bytes: Math.ceil(zstd(codes) + tables), sqnrDb: db(error) });
      ways.push({ name: `${name}, brotli`, bytes: Math.ceil(brotli(codes) + tables), sqnrDb: db(error) });
    }
  }
  let error = 0;
  const halves = set.map(({ data }) => Uint16Array.from(data, (x) => f16Bits(x)));
  set.forEach(({ data }, t) => {
    data.forEach((x, i) => {
      error += (x - f16Value((halves[t] as Uint16Array)[i] as number)) ** 2;
    });
  });
  const bytes = Buffer.concat(halves.map((h) => new Uint8Array(h.buffer)));
  ways.push({ name: "float16, brotli", bytes: brotli(bytes), sqnrDb: db(error) });
  return ways;
}

/** The set as a safetensors file. */
function fileOf(set: readonly Weights[]): Uint8Array {
  const entries = set.map(({ name, shape, data }) => ({ name, dtype: "F32", shape, byteLength: data.byteLength }));
  const parts = [
    safetensorsHead(entries, {}),
    ...set.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  ];
  return new Uint8Array(Buffer.concat(parts));
}

const nowhere = (): WritableStream<Uint8Array> => new WritableStream();

/** 256 values do not give as much. */
function beyond(error: unknown): undefined {
  if (!(error instanceof WlqError && error.code === "unsupported")) throw error;
}

/** Points of the whole file, headers and checksums counted. */
async function oursOf(source: Uint8Array, weights: number): Promise<Curve> {
  const points: { bytes: number; sqnrDb: number }[] = [];
  for (const scale of ["none", "channel"] as const) {
    for (let i = 0; i < PRICES; i++) {
      // decibels in equal steps: a plan is near whatever it is asked for
      const found = await plan(source, { sqnrDb: 6 + 4 * i }, { method: "ecsq", scale, minSize: 1 }).catch(beyond);
      if (!found) break;
      points.push({ bytes: found.bytes, sqnrDb: found.sqnrDb as number });
    }
    // where 256 values at equal distances are too few, those that are closer where weights are
    for (const levels of [64, 96, 128, 192, 256]) {
      const { bytesOut, sqnrDb } = await compress(source, nowhere(), { levels, scale, minSize: 1 });
      points.push({ bytes: bytesOut, sqnrDb: sqnrDb as number });
    }
  }
  // a scale for every 32 weights, for what is wanted better than that
  for (const levels of [128, 192, 256]) {
    const how = { levels, scale: "group", groupSize: BLOCK, minSize: 1 } as const;
    const { bytesOut, sqnrDb } = await compress(source, nowhere(), how);
    points.push({ bytes: bytesOut, sqnrDb: sqnrDb as number });
  }
  // the lower hull of all: the better of the two
  const best = points
    .sort((a, b) => a.bytes - b.bytes)
    .filter((p, i, all) => all.slice(0, i).every((q) => q.sqnrDb < p.sqnrDb));
  return best.map(({ bytes, sqnrDb }) => ({ bits: (bytes * 8) / weights, bytes, sqnrDb }));
}

/** Decibels at a size, between two points in a straight line; beyond the largest, of that. */
function at(curve: Curve, bytes: number): number | undefined {
  const above = curve.findIndex((p) => p.bytes >= bytes);
  if (above < 0) return curve.at(-1)?.sqnrDb;
  if (above === 0) return undefined;
  const [a, b] = [curve[above - 1], curve[above]] as [Curve[number], Curve[number]];
  return a.sqnrDb + ((b.sqnrDb - a.sqnrDb) * (bytes - a.bytes)) / (b.bytes - a.bytes);
}

interface Result {
  readonly set: string;
  readonly weights: number;
  readonly ours: Curve;
  readonly ways: readonly Way[];
}

async function measure(name: string, set: readonly Weights[]): Promise<Result> {
  const weights = set.reduce((sum, { data }) => sum + data.length, 0);
  let signal = 0;
  for (const { data } of set) for (const x of data) signal += x * x;
  const source = fileOf(set);
  const ours = await oursOf(source, weights);
  const ways = baselines(set, signal);
  for (const levels of [16, 64, 256]) {
    const { bytesOut, sqnrDb } = await compress(source, nowhere(), {
      levels,
      scale: "channel",
      entropy: "none",
      minSize: 1,
    });
    ways.push({ name: `${levels} optimal levels, one width`, bytes: bytesOut, sqnrDb: sqnrDb as number });
  }
  for (const way of ways) {
    const db = at(ours, way.bytes);
    if (db !== undefined) way.ours = db;
    console.log(
      `${name}  ${way.name.padEnd(32)} ${((way.bytes * 8) / weights).toFixed(3)} bits  ${way.sqnrDb.toFixed(2)} dB  ours ${db?.toFixed(2) ?? "-"} dB`,
    );
  }
  return { set: name, weights, ours, ways };
}

function page(results: readonly Result[], tasks: readonly TaskResult[]): string {
  const lines = [
    "# Error at equal bytes",
    "",
    "What weights lose (SQNR over all of them, in dB: more is better) when they take the same bytes, by `npm run bench:size`.",
    'Ours is `plan` with `method: "ecsq"`, or 64 to 256 optimal levels, entropy-coded: the whole file with header and',
    "checksums, one codebook a tensor, without scales or with one a channel or 32 weights, whichever is better, between",
    "two measured points in a straight line; beyond 256 levels, those. The others are counted without any header:",
    "codes and their tables. Affine codes lie between a run's least and largest value; a scale takes 4 bytes (2 in blocks), a",
    "zero point one code. gzip is level 9, zstd level 19, brotli quality 9.",
    "",
    "![Rate and distortion](size.svg)",
  ];
  const behind: string[] = [];
  for (const { set, weights, ways } of results) {
    lines.push("", `## ${set}`, "", `${weights} weights.`, "");
    lines.push(
      "| stored as | bits a weight | SQNR, dB | ours at these bytes, dB | gain |",
      "| --- | --- | --- | --- | --- |",
    );
    for (const { name, bytes, sqnrDb, ours } of ways) {
      const cells = [name, ((bytes * 8) / weights).toFixed(3), sqnrDb.toFixed(2)];
      cells.push(ours?.toFixed(2) ?? "beyond the points", ours === undefined ? "" : `${(ours - sqnrDb).toFixed(2)}`);
      lines.push(`| ${cells.join(" | ")} |`);
      if (ours !== undefined && ours < sqnrDb) behind.push(`${set}: ${name}`);
    }
  }
  for (const { task, measures, rows } of tasks) {
    for (const { name, kept, relative } of rows) {
      if (relative.kept.same < kept.same) behind.push(`${task}, ${measures[0]}: ${name}`);
      if (relative.kept.off > kept.off) behind.push(`${task}, ${measures[1]}: ${name}`);
    }
  }
  lines.push(
    "",
    ...taskTables(tasks),
    "",
    "## Where ours is not better",
    "",
    behind.length > 0 ? behind.map((b) => `- ${b}`).join("\n") : "Nowhere in these tables.",
    "",
  );
  return lines.join("\n");
}

await init();
const JSON_PATH = "docs/results/size.json";
interface Sets {
  readonly [name: string]: () => Promise<readonly Weights[]>;
}

const square = async (data: Float32Array): Promise<Weights[]> => [{ name: "w", shape: [1000, 1000], data }];
const large = (all: readonly Weights[]): Weights[] =>
  all.filter(({ data, shape }) => data.length >= 2048 && shape.length >= 2);
const SETS: Sets = {
  Gauss: () => square(gauss(1_000_000, 41)),
  Laplace: () => square(laplace(1_000_000, 42)),
  ...Object.fromEntries(
    MODELS.filter(({ name }) => name !== "silero-vad-legacy") // the same first layers as v5
      .map((model) => [model.name, async () => large(await floatTensors(model))]),
  ),
  "basic-pitch": async () =>
    large(Object.entries(openGraph(await readModel()).weights).map(([name, tensor]) => ({ name, ...tensor }))),
};

/**
 * `node build/size.js basic-pitch "note detection"` measures these sets and tasks and keeps what was measured of others;
 * `tasks` are all of them.
 */
const asked = process.argv.slice(2);
const measured: { sets: Result[]; tasks: TaskResult[] } =
  asked.length > 0 ? JSON.parse(readFileSync(JSON_PATH, "utf8")) : { sets: [], tasks: [] };
const results: Result[] = [];
for (const [name, open] of Object.entries(SETS)) {
  const known = asked.includes(name) ? undefined : measured.sets.find(({ set }) => set === name);
  results.push(known ?? (await measure(name, await open())));
}
const tasks = await measureTasks(
  brotli,
  measured.tasks.filter(({ task }) => !asked.includes("tasks") && !asked.includes(task)),
);
console.log(taskTables(tasks).join("\n"));
mkdirSync("docs/results", { recursive: true });
writeFileSync(
  JSON_PATH,
  `${JSON.stringify({ sets: results, tasks }, (_, x) => (typeof x === "number" ? Number(x.toFixed(6)) : x), 1)}\n`,
);
writeFileSync("docs/results/size.md", page(results, tasks));
writeFileSync(
  "docs/results/size.svg",
  ratePlot(
    results.map(({ set, ours, ways, weights }) => ({
      name: set,
      ours,
      ways: ways.map(({ name, bytes, sqnrDb }) => ({ name, bits: (bytes * 8) / weights, sqnrDb })),
    })),
  ),
);
