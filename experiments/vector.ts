// Vector codebooks against scalar ones at the same bytes: k-means over 2 and 4 weights at a time, fixed and entropy-coded.
import { mkdirSync, writeFileSync } from "node:fs";
import { gauss, laplace } from "../bench/data.ts";
import { floatTensors, MODELS } from "../bench/models.ts";
import { init, quantizeSync } from "../src/index.ts";

// Weights a data set: enough for 256 entries of four values, little enough for k-means in JavaScript.
const MOST = 1 << 16;
const STEPS = 15;
const RESTARTS = 2;

const DB_PER_BIT = 20 * Math.log10(2);

interface Vectors {
  readonly dim: number;
  /** Vector after vector. */
  readonly values: Float64Array;
}

interface Found {
  readonly codebook: Float64Array;
  readonly counts: Float64Array;
  readonly error: number;
}

function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** One pass: cheapest entry by squared error plus `price`, sums of the members; returns the squared error. */
function assign({ dim, values }: Vectors, codebook: Float64Array, price: Float64Array, sums: Float64Array): Found {
  const k = price.length;
  const counts = new Float64Array(k);
  sums.fill(0);
  // |x - c|^2 - |x|^2 = |c|^2 - 2 x c
  const offset = price.map((p, j) => {
    let square = p;
    for (let d = 0; d < dim; d++) square += (codebook[j * dim + d] as number) ** 2;
    return square;
  });
  let error = 0;
  for (let at = 0; at < values.length; at += dim) {
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    if (dim === 2) {
      const x = 2 * (values[at] as number);
      const y = 2 * (values[at + 1] as number);
      for (let j = 0; j < k; j++) {
        const cost = (offset[j] as number) - x * (codebook[2 * j] as number) - y * (codebook[2 * j + 1] as number);
        if (cost < least) {
          least = cost;
          best = j;
        }
      }
    } else {
      const x = 2 * (values[at] as number);
      const y = 2 * (values[at + 1] as number);
      const z = 2 * (values[at + 2] as number);
      const w = 2 * (values[at + 3] as number);
      for (let j = 0; j < k; j++) {
        const c = 4 * j;
        const cost =
          (offset[j] as number) -
          x * (codebook[c] as number) -
          y * (codebook[c + 1] as number) -
          z * (codebook[c + 2] as number) -
          w * (codebook[c + 3] as number);
        if (cost < least) {
          least = cost;
          best = j;
        }
      }
    }
    (counts[best] as number) += 1;
    for (let d = 0; d < dim; d++) {
      const x = values[at + d] as number;
      (sums[best * dim + d] as number) += x;
      error += (x - (codebook[best * dim + d] as number)) ** 2;
    }
  }
  return { codebook: codebook.slice(), counts, error };
}

/** Seeds by distance (k-means++), on a sample. */
function seeds({ dim, values }: Vectors, k: number, uniform: () => number): Float64Array {
  const n = Math.min(values.length / dim, 8192);
  const stride = Math.floor(values.length / dim / n) * dim;
  const codebook = new Float64Array(k * dim);
  const distance = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
  let pick = Math.floor(uniform() * n);
  for (let j = 0; j < k; j++) {
    codebook.set(values.subarray(pick * stride, pick * stride + dim), j * dim);
    let total = 0;
    for (let i = 0; i < n; i++) {
      let d2 = 0;
      for (let d = 0; d < dim; d++) d2 += ((values[i * stride + d] as number) - (codebook[j * dim + d] as number)) ** 2;
      if (d2 < (distance[i] as number)) distance[i] = d2;
      total += distance[i] as number;
    }
    let left = uniform() * total;
    pick = 0;
    while (pick < n - 1 && left >= (distance[pick] as number)) left -= distance[pick++] as number;
  }
  return codebook;
}

function update(codebook: Float64Array, found: Found, sums: Float64Array, dim: number): void {
  found.counts.forEach((n, j) => {
    if (n > 0) for (let d = 0; d < dim; d++) codebook[j * dim + d] = (sums[j * dim + d] as number) / n;
  });
}

/** The best of some seeded runs of Lloyd's iteration. */
function kmeans(vectors: Vectors, k: number): Found {
  let best: Found | undefined;
  for (let run = 0; run < RESTARTS; run++) {
    const codebook = seeds(vectors, k, mulberry32(run + 1));
    const sums = new Float64Array(codebook.length);
    const free = new Float64Array(k);
    let found = assign(vectors, codebook, free, sums);
    for (let step = 0; step < STEPS; step++) {
      update(codebook, found, sums, vectors.dim);
      found = assign(vectors, codebook, free, sums);
    }
    if (!best || found.error < best.error) best = found;
  }
  return best as Found;
}

/** Entropy-constrained vector quantization (Chou, Lookabaugh & Gray 1989) from a codebook: lengths and entries in turns. */
function constrained(vectors: Vectors, start: Found, lambda: number): Found {
  const codebook = start.codebook.slice();
  const sums = new Float64Array(codebook.length);
  const n = vectors.values.length / vectors.dim;
  let found = start;
  for (let step = 0; step < STEPS; step++) {
    const price = found.counts.map((count) => (count > 0 ? lambda * Math.log2(n / count) : 1e300));
    found = assign(vectors, codebook, price, sums);
    if (step < STEPS - 1) update(codebook, found, sums, vectors.dim);
  }
  return found;
}

function entropyOf(counts: Float64Array): number {
  const n = counts.reduce((a, b) => a + b, 0);
  return counts.reduce((sum, c) => (c > 0 ? sum + (c / n) * Math.log2(n / c) : sum), 0);
}

interface Result {
  readonly set: string;
  readonly weights: number;
  readonly dim: number;
  readonly entries: number;
  readonly codes: "fixed" | "entropy" | "entropy-constrained";
  readonly bitsPerWeight: number;
  readonly sqnrDb: number;
  /** Scalar ecsq at the same bits of codes. */
  readonly scalarDb: number;
}

const rows: Result[] = [];

function compare(set: string, data: Float32Array, across: Float32Array | undefined): void {
  const energy = data.reduce((sum, x) => sum + x * x, 0);
  const n = data.length;
  // `ecsq` counts its codebook: asked for a little more, so that the codes have those bits
  const scalarAt = (bits: number): number => {
    let asked = bits;
    for (;;) {
      const { stats, levels } = quantizeSync(data, { method: "ecsq", targetBits: asked });
      const more = bits - stats.entropyBits;
      if (Math.abs(more) < 0.02 || asked > bits) return (stats.sqnrDb ?? 999) + DB_PER_BIT * more;
      asked = bits + (40 * levels) / n;
    }
  };
  const note = (dim: number, k: number, codes: Result["codes"], found: Found): void => {
    // codebooks are not counted, which is in favour of vectors: theirs are the larger ones
    const bitsPerWeight = (codes === "fixed" ? Math.log2(k) : entropyOf(found.counts)) / dim;
    const scalarDb = scalarAt(bitsPerWeight);
    const sqnrDb = 10 * Math.log10(energy / found.error);
    rows.push({ set, weights: n, dim, entries: k, codes, bitsPerWeight, sqnrDb, scalarDb });
    console.log(
      `${set.padEnd(44).slice(-60)} dim ${dim} ${String(k).padStart(3)} entries, ${codes.padEnd(19)} ${bitsPerWeight.toFixed(3)} bits  ${sqnrDb.toFixed(2)} dB, scalar ${scalarDb.toFixed(2)} dB  ${(sqnrDb - scalarDb).toFixed(2)}`,
    );
  };
  for (const [dim, sizes] of [
    [2, [16, 64, 256]],
    [4, [16, 256]],
  ] as const) {
    for (const k of sizes) {
      const ways = [data, ...(across ? [across] : [])].map((values) => {
        const vectors = { dim, values: Float64Array.from(values.subarray(0, n - (n % dim))) };
        return { vectors, found: kmeans(vectors, k) };
      });
      // neighbours in a row or in a column, whichever is better
      const best = ways.reduce((a, b) => (b.found.error < a.found.error ? b : a));
      note(dim, k, "fixed", best.found);
      note(dim, k, "entropy", best.found);
      if (k === 256) {
        for (const factor of [0.5, 2]) {
          note(dim, k, "entropy-constrained", constrained(best.vectors, best.found, (factor * best.found.error) / n));
        }
      }
    }
  }
}

/** At most MOST weights: whole rows from the start. */
function part(data: Float32Array, shape: readonly number[]): { data: Float32Array; across: Float32Array | undefined } {
  const first = shape[0] ?? 1;
  const row = data.length / first;
  const rows_ = Math.max(1, Math.min(first, Math.floor(MOST / row))) & ~3;
  if (rows_ < 4 || shape.length < 2) return { data: data.slice(0, MOST), across: undefined };
  const some = data.slice(0, rows_ * row);
  const across = new Float32Array(some.length);
  for (let r = 0; r < rows_; r++) for (let c = 0; c < row; c++) across[c * rows_ + r] = some[r * row + c] as number;
  return { data: some, across };
}

await init();
compare("Gauss", gauss(MOST, 31), undefined);
compare("Laplace", laplace(MOST, 32), undefined);
for (const model of MODELS) {
  if (model.name === "silero-vad-legacy") continue; // the same first layers as v5
  const tensors = (await floatTensors(model)).sort((a, b) => b.data.length - a.data.length);
  for (const tensor of tensors.slice(0, model.name === "pp-ocr-det" ? 1 : 3)) {
    const { data, across } = part(tensor.data, tensor.shape);
    compare(`${model.name} ${tensor.name}`, data, across);
  }
}
mkdirSync("docs/results", { recursive: true });
const round = (x: number): number => Math.round(x * 1000) / 1000;
const saved = rows.map((r) => ({
  ...r,
  bitsPerWeight: round(r.bitsPerWeight),
  sqnrDb: round(r.sqnrDb),
  scalarDb: round(r.scalarDb),
}));
writeFileSync("docs/results/vector.json", `[\n${saved.map((r) => `  ${JSON.stringify(r)}`).join(",\n")}\n]\n`);
