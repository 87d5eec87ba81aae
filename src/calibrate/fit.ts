// Fit: the values that suit given codes best, by least squares: scales, the shared codebook, or a codebook an output.
import { type Blocks, LANES, type Part } from "./blocks.ts";

/** What a least-squares fit of a codebook needs, see `codeMoments`. */
interface System {
  readonly moments: Float64Array;
  readonly right: Float64Array;
}

/** Values that fit the codes best: scales first, then the codebook, or each output's own codebook. */
export function fitValues(b: Blocks, parts: readonly Part[]): void {
  const { levels, granularity } = b.coding;
  const all = b.levels;
  const scope = b.scope;
  const total: System = { moments: new Float64Array(all * all), right: new Float64Array(all) };
  const mark = scope.mark();
  const momentsAt = scope.reserve(LANES * all * all * 8);
  const sumsAt = scope.reserve(LANES * all * 8);
  const scratch = scope.reserve(LANES * all * 136);
  for (const part of parts) {
    b.fill(part);
    b.eachBlock(part, (lanes, o) => {
      scope.kernels.matrixProduct(b.gradients, b.matrix, b.errors, b.columns, b.stride);
      const { columns, stride } = b;
      const { kernels } = scope;
      kernels.codeMoments(momentsAt, sumsAt, b.matrix, b.gradients, b.blockCodes, columns, stride, lanes, all, scratch);
      for (let lane = 0; lane < lanes; lane++) {
        const moments = scope.f64(momentsAt + lane * all * all * 8, all * all).slice();
        const right = scope.f64(sumsAt + lane * all * 8, all).slice();
        if (granularity === "channel") {
          const own = b.codebook.subarray((o + lane) * levels, (o + lane + 1) * levels);
          move(b, own, solveFit(moments, right, levels, all, free(b, own)));
        } else addOutput(b, o + lane, moments, right, total);
      }
    });
  }
  scope.release(mark);
  if (granularity !== "channel") {
    move(b, b.codebook, solveFit(total.moments, total.right, levels, all, free(b, b.codebook)));
  }
  b.changes++;
}

/** An output's scale for its codes, and what the shared codebook must then make up for. */
function addOutput(b: Blocks, o: number, moments: Float64Array, right: Float64Array, total: System): void {
  const all = b.levels;
  const scale = b.scale;
  let factor = 1;
  if (scale) {
    const { levels } = b.coding;
    const product = new Float64Array(levels);
    let own = 0;
    let cross = 0;
    factor = scale[o] as number;
    for (let u = 0; u < levels; u++) {
      for (let v = 0; v < levels; v++) {
        const m = moments[Math.min(u, v) * all + Math.max(u, v)] as number;
        product[u] = (product[u] as number) + m * (b.codebook[v] as number);
      }
      own += (product[u] as number) * (b.codebook[u] as number);
      cross += (right[u] as number) * (b.codebook[u] as number);
    }
    const next = own > 0 ? factor + cross / own : factor;
    if (next > 0) {
      scale[o] = half(b, next);
      const step = (scale[o] as number) - factor;
      for (let u = 0; u < levels; u++) right[u] = (right[u] as number) - step * (product[u] as number);
      factor = scale[o] as number;
    }
  }
  for (let e = 0; e < moments.length; e++) {
    total.moments[e] = (total.moments[e] as number) + factor * factor * (moments[e] as number);
  }
  for (let u = 0; u < all; u++) total.right[u] = (total.right[u] as number) + factor * (right[u] as number);
}

/** A scale as float16, never 0. */
function half(b: Blocks, x: number): number {
  return b.rounded(Float32Array.of(Math.min(65504, Math.max(x, 2 ** -24))), 1)[0] as number;
}

function free(b: Blocks, codebook: Float32Array): boolean[] {
  return Array.from(codebook, (value) => !b.options.pins.includes(value));
}

/** Moves values by `step`, unless they would not ascend any more. */
function move(b: Blocks, codebook: Float32Array, step: Float64Array): void {
  const next = codebook.map((value, u) => value + (step[u] as number) + 0);
  // behind a scale, the rounding to the tensor's dtype comes after the product
  const rounded = b.rounded(next, b.scale ? 0 : b.options.format);
  const ascends = rounded.every((x, u) => Number.isFinite(x) && (u === 0 || x >= (rounded[u - 1] as number)));
  if (ascends) codebook.set(rounded);
}

/**
 * The step of each value that `moments step = sums` asks for (upper triangle, rows of `stride`), slightly held back so that
 * a value that hardly any weight has stays where it is; 0 where `free` is false.
 */
function solveFit(
  moments: Float64Array,
  sums: Float64Array,
  levels: number,
  stride: number,
  free: readonly boolean[],
): Float64Array {
  const step = new Float64Array(levels);
  const rows = [...free.keys()].filter((u) => free[u] && (moments[u * stride + u] as number) > 0);
  const n = rows.length;
  if (n === 0) return step;
  let trace = 0;
  for (const u of rows) trace += moments[u * stride + u] as number;
  // a lower triangle L with L L' = the matrix, row by row
  const l = new Float64Array(n * n);
  const x = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const u = rows[i] as number;
    for (let j = 0; j <= i; j++) {
      const v = rows[j] as number;
      let sum = moments[Math.min(u, v) * stride + Math.max(u, v)] as number;
      if (i === j) sum = sum * (1 + 1e-6) + 1e-9 * trace;
      for (let k = 0; k < j; k++) sum -= (l[i * n + k] as number) * (l[j * n + k] as number);
      if (i === j && !(sum > 0)) return step;
      l[i * n + j] = i === j ? Math.sqrt(sum) : sum / (l[j * n + j] as number);
    }
    let right = sums[u] as number;
    for (let k = 0; k < i; k++) right -= (l[i * n + k] as number) * (x[k] as number);
    x[i] = right / (l[i * n + i] as number);
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = x[i] as number;
    for (let k = i + 1; k < n; k++) sum -= (l[k * n + i] as number) * (x[k] as number);
    x[i] = sum / (l[i * n + i] as number);
    step[rows[i] as number] = x[i] as number;
  }
  return step;
}
