// The benchmark: speed beside memcpy and peers in one run, quality checked in the same run; JSON and a table.
import { execFileSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { kmeans } from "ml-kmeans";
import { ckmeans } from "simple-statistics";
import { version } from "../package.json";
import { dequantizeSync, init, quantizeSync } from "../src/index.ts";
import { optimumOf, readOptima } from "../test/oracle/optima.ts";
import { gauss, SETS } from "./data.ts";
import { entropyCoding, outliersDecoded } from "./entropy.ts";
import { assignAndPack, assignChannels, decodeResident } from "./kernels.ts";
import { measure, type Row, timeOnce } from "./measure.ts";
import { rowCodebooks } from "./rows.ts";

const OUT = "out/bench";
const BIG = 10_000_000;
// The optimum of gauss(10_000_000, 11) at 16 levels, by test/oracle/optimal.cpp.
const BIG_OPTIMUM = 95031.426741638294 / BIG;
const rows: (Row & { subject: string })[] = [];

function add(subject: string, ...list: Row[]): void {
  for (const row of list) {
    rows.push({ ...row, subject });
    const extra = row.mseRatio === undefined ? "" : `  ${(row.mseRatio as number).toFixed(6)} x optimal MSE`;
    const goal = row.goal === undefined ? "" : `  goal ${row.goal}`;
    const speed = row.gbPerSecond >= 0.01 ? `${row.gbPerSecond.toFixed(2)} GB/s` : "";
    console.log(`${row.name.padEnd(52)} ${row.ms.toFixed(2).padStart(10)} ms ${speed.padStart(12)}${extra}${goal}`);
  }
}

function section(title: string): string {
  console.log(`\n${title}`);
  return title;
}

function coldRow(): Row {
  // a process of its own: compilation, first pages and first tiers of the JIT are in it
  const output = execFileSync(process.execPath, [join("build", "bench-cold.js")], { encoding: "utf8" });
  const { ms } = JSON.parse(output) as { ms: number };
  return {
    name: "cold: first call of a new process, Wasm compiled",
    ms,
    meanMs: ms,
    spread: 0,
    runs: 1,
    gbPerSecond: (BIG * 4) / ms / 1e6,
  };
}

function scikit(specs: readonly string[]): { ms: number; mse: number }[] | undefined {
  try {
    const env = { ...process.env, OMP_NUM_THREADS: "1", OPENBLAS_NUM_THREADS: "1" };
    return JSON.parse(
      execFileSync("/usr/bin/python3", ["bench/peers.py", ...specs], {
        encoding: "utf8",
        env,
        stdio: ["ignore", "pipe", "ignore"],
      }),
    );
  } catch {
    console.log("scikit-learn: skipped, python3-sklearn is not there");
    return undefined;
  }
}

async function main(): Promise<void> {
  const quick = process.argv.includes("--quick");
  await init();
  const [cpu] = cpus();
  console.log(`wlq ${version}, Node ${process.version}, ${cpu?.model.trim()}, one thread; fastest run of several`);
  const optima = readOptima("test/oracle/optima.json");
  const big = gauss(BIG, 11);
  const million = gauss(1_000_000, 11);
  const small = (SETS.find((s) => s.name === "gauss") as (typeof SETS)[number]).make(100_000);
  const folder = mkdtempSync(join(tmpdir(), "wlq-bench-"));
  const file = join(folder, "big.f32");
  writeFileSync(file, new Uint8Array(big.buffer));
  const smallFile = join(folder, "small.f32");
  writeFileSync(smallFile, new Uint8Array(small.buffer));
  const peers = quick ? undefined : scikit([`${file}:16:${BIG}`, `${file}:256:1000000`, `${smallFile}:16:100000`]);
  rmSync(folder, { recursive: true });
  const peer = (i: number, what: string, optimum: number): Row[] => {
    const found = peers?.[i];
    if (!found) return [];
    const { ms } = found;
    return [
      {
        name: `scikit-learn KMeans, ${what}`,
        ms,
        meanMs: ms,
        spread: 0,
        runs: 1,
        gbPerSecond: 0,
        mseRatio: found.mse / optimum,
      },
    ];
  };

  let s = section("codebook + codes, 10M float32, 16 levels");
  const copy = new Float32Array(BIG);
  add(
    s,
    measure("memcpy of the weights", BIG * 4, () => copy.set(big)),
  );
  let mse = quantizeSync(big, { levels: 16 }).stats.mse;
  add(s, {
    ...measure("wlq quantizeSync", BIG * 4, () => void quantizeSync(big, { levels: 16 }), 4),
    mseRatio: mse / BIG_OPTIMUM,
    goal: "45 ms, 1.0001 x",
  });
  add(s, coldRow(), ...peer(0, "10M", BIG_OPTIMUM));

  s = section("codebook + codes, 1M float32, 256 levels");
  mse = quantizeSync(million, { levels: 256 }).stats.mse;
  add(s, {
    ...measure("wlq quantizeSync", 4e6, () => void quantizeSync(million, { levels: 256 })),
    mseRatio: mse / optimumOf(optima, million).mse[256],
    goal: "150 ms, 1.001 x",
  });
  add(s, ...peer(1, "1M", optimumOf(optima, million).mse[256]));

  s = section("codebook + codes, 100k float32, 16 levels");
  const best = optimumOf(optima, small).mse[16];
  mse = quantizeSync(small, { levels: 16 }).stats.mse;
  add(s, {
    ...measure("wlq quantizeSync", 4e5, () => void quantizeSync(small, { levels: 16 })),
    mseRatio: mse / best,
    goal: "5 ms",
  });
  const plain = Array.from(small);
  add(
    s,
    timeOnce("simple-statistics ckmeans (codebook alone)", 4e5, () => void ckmeans(plain, 16)),
  );
  let found = 0;
  const points = plain.map((x) => [x]);
  const row = timeOnce("ml-kmeans, k-means++ seeded", 4e5, () => {
    const { clusters, centroids } = kmeans(points, 16, { seed: 1, maxIterations: 100 });
    found =
      clusters.reduce((sum, c, i) => sum + ((plain[i] as number) - (centroids[c]?.[0] as number)) ** 2, 0) /
      plain.length;
  });
  add(s, { ...row, mseRatio: found / best }, ...peer(2, "100k", best));

  s = section("4096 x 4096, a codebook a row, 16 levels, importance-weighted");
  add(s, ...rowCodebooks(quick ? undefined : scikit));

  s = section("entropy coding, 10M codes, to float32 in the caller's array");
  for (const levels of [16, 256]) add(s, ...(await entropyCoding(big, levels)));

  s = section("a container's tensor, 10M weights, entropy-coded");
  add(s, ...(await outliersDecoded(big, 0.005)));

  s = section("entropy-constrained codebook + codes, 10M float32");
  for (const targetBits of [2, 4]) {
    const coded = quantizeSync(big, { method: "ecsq", targetBits }).stats;
    add(s, {
      ...measure(
        `wlq ecsq, ${targetBits} bits`,
        BIG * 4,
        () => void quantizeSync(big, { method: "ecsq", targetBits }),
        4,
      ),
      sqnrDb: coded.sqnrDb,
      entropyBits: coded.entropyBits,
      goal: `150 ms; ${coded.entropyBits.toFixed(3)} bits, ${coded.sqnrDb?.toFixed(2)} dB`,
    });
  }

  s = section("assign + pack, 16 levels, 10M, Wasm-resident");
  const q = quantizeSync(big, { levels: 16 });
  const [assignRow, assignCopy] = assignAndPack(big, q.codebook) as [Row, Row];
  add(s, assignCopy, { ...assignRow, goal: "4.5 GB/s" });
  add(s, plainAssign(big, q.codebook));
  for (const levels of [64, 256]) add(s, assignChannels(million, levels, 1000));

  s = section("decode 4 bit -> float32, 10M");
  const [decodeRow, decodeCopy] = decodeResident(BIG, q.codebook) as [Row, Row];
  add(s, decodeCopy, { ...decodeRow, ratioToMemcpy: decodeCopy.ms / decodeRow.ms, goal: "memcpy" });
  const warmCopy = measure("memcpy into a warm array", BIG * 4, () => copy.set(big));
  const warm = measure("wlq dequantizeSync(q, out), warm array", BIG * 4, () => void dequantizeSync(q, copy));
  add(s, warmCopy, {
    ...warm,
    ratioToMemcpy: warmCopy.ms / warm.ms,
    goal: `0.6 of memcpy, is ${(warmCopy.ms / warm.ms).toFixed(2)}`,
  });
  add(
    s,
    measure("wlq dequantizeSync(q), fresh array", BIG * 4, () => void dequantizeSync(q)),
  );
  add(
    s,
    measure("memcpy to a fresh array (slice)", BIG * 4, () => void big.slice()),
  );
  add(s, plainDecode(q.codes, q.codebook, copy));

  mkdirSync(OUT, { recursive: true });
  const machine = { cpu: cpu?.model.trim(), node: process.version, date: new Date().toISOString() };
  writeFileSync(join(OUT, "bench.json"), `${JSON.stringify({ version, machine, rows }, null, 1)}\n`);
  console.log(`\n${join(OUT, "bench.json")} has every row.`);
  if (process.argv.includes("--record")) record(machine);
}

/** One line a release and row, per machine. */
function record(machine: { cpu: string | undefined; node: string; date: string }): void {
  const path = join(
    "bench",
    "history",
    `${(machine.cpu ?? "unknown").replace(/[^A-Za-z0-9]+/g, "-").toLowerCase()}.csv`,
  );
  if (!existsSync(path)) writeFileSync(path, "date,version,node,subject,row,ms,gb_per_second,mse_ratio\n");
  for (const r of rows) {
    const cells = [
      machine.date.slice(0, 10),
      version,
      machine.node,
      r.subject,
      r.name,
      r.ms.toFixed(3),
      r.gbPerSecond.toFixed(3),
      r.mseRatio ?? "",
    ];
    appendFileSync(path, `${cells.map((c) => (String(c).includes(",") ? `"${c}"` : c)).join(",")}\n`);
  }
  console.log(`recorded in ${path}`);
}

/** The same work in plain JavaScript: compare with every threshold's midpoint. */
function plainAssign(weights: Float32Array, codebook: Float32Array): Row {
  const limits = codebook.slice(1).map((c, i) => (c + (codebook[i] as number)) / 2);
  const packed = new Uint8Array(weights.length / 2);
  const code = (x: number): number => {
    let c = 0;
    for (let s = 8; s > 0; s >>= 1) if ((limits[c + s - 1] as number) < x) c += s;
    return c;
  };
  return measure("plain JavaScript, binary search", weights.length * 4, () => {
    for (let i = 0; i < packed.length; i++)
      packed[i] = code(weights[2 * i] as number) | (code(weights[2 * i + 1] as number) << 4);
  });
}

/** Plain JavaScript with a table of pairs: a byte gives two weights as one float64's bits. */
function plainDecode(codes: Uint8Array, codebook: Float32Array, out: Float32Array): Row {
  const pairs = new Float64Array(256);
  const halves = new Float32Array(pairs.buffer);
  for (let b = 0; b < 256; b++) {
    halves[2 * b] = codebook[b & 15] as number;
    halves[2 * b + 1] = codebook[b >> 4] as number;
  }
  const target = new Float64Array(out.buffer, out.byteOffset, out.length / 2);
  return measure("plain JavaScript, pair table, warm array", out.length * 4, () => {
    for (let i = 0; i < codes.length; i++) target[i] = pairs[codes[i] as number] as number;
  });
}

await main();
