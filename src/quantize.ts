// Quantize: one tensor in memory to codebook and codes, and back.
import { costsOf, TileCoder } from "./assign.ts";
import { clusterGroups } from "./cluster.ts";
import {
  bitsForLevels,
  type Coding,
  codebookGroups,
  decodeGrouping,
  type Grouping,
  groupingOf,
  packedBytes,
  type QuantizedTensor,
} from "./codebook.ts";
import { decodeInto } from "./decode.ts";
import { planQuantize, type QuantizeOptions, type QuantizePlan } from "./options.ts";
import { importanceFault, type Passes, type Wish, wholeRun } from "./passes.ts";
import { clusterScaled } from "./scale.ts";
import { countElements, type Tensor } from "./tensor.ts";
import { decodeBinary, sharedDecodeScope } from "./wasm/decode.ts";
import { type EncodeScope, encodeBinary, sharedEncodeScope } from "./wasm/encode.ts";
import { load } from "./wasm/kernel.ts";
import { loadWork } from "./wasm/work.ts";

/** The clustering passes of one tensor: its coding, without codes. */
export function* clusterTensor(scope: EncodeScope, plan: QuantizePlan, weighted: boolean): Passes<Coding> {
  const { levels, granularity, axis, groupSize, shape } = plan;
  const base = { levels, granularity, axis, groupSize, shape };
  if (plan.scale === "none") {
    const grouping = groupingOf(granularity, shape, axis, groupSize);
    return { ...base, ...(yield* clusterGroups(scope, grouping, plan.cluster, weighted)) };
  }
  const grouping = groupingOf(plan.scale, shape, axis, groupSize);
  const whole = wholeRun(scope, grouping.count, weighted);
  const { scale, ...clustering } = yield* clusterScaled(scope, whole, grouping, plan.cluster);
  return { ...base, ...clustering, levels: clustering.codebook.length, scale: { per: plan.scale, values: scale } };
}

/**
 * Quantizes one tensor.
 *
 * @param weights finite float32 weights, row-major; a plain array is one dimension
 * @returns codebook (groups x levels), packed codes, and what it cost
 * @throws WlqError `non-finite` with the first index; RangeError or TypeError for wrong options
 * @example
 * const q = await quantize(weights, { levels: 16 });
 * console.log(q.stats.sqnrDb, await dequantize(q));
 */
export async function quantize(
  weights: Float32Array | Tensor,
  options: QuantizeOptions = {},
): Promise<QuantizedTensor> {
  if (!encodeBinary.ready) await loadWork(encodeBinary);
  return quantizeSync(weights, options);
}

/** {@link quantize} without a promise, after `init()`. */
export function quantizeSync(weights: Float32Array | Tensor, options: QuantizeOptions = {}): QuantizedTensor {
  const { data, shape } = asTensor(weights);
  const { importance } = options;
  // an option of model files, which have a place for them
  if ("outliers" in options && options.outliers) {
    throw new RangeError(`outliers ${options.outliers}: a lone tensor has no place for them, a model file has`);
  }
  if (importance !== undefined && !(importance instanceof Float32Array)) {
    throw new TypeError("importance must be a Float32Array");
  }
  if (importance && importance.length !== data.length) {
    throw new RangeError(`importance has ${importance.length} values for ${data.length} weights`);
  }
  const plan = planQuantize(shape, options, 0);
  const scope = sharedEncodeScope();
  const mark = scope.mark();
  try {
    return codeTensor(scope, clusterInMemory(scope, plan, data, importance), data, importance);
  } finally {
    scope.release(mark);
  }
}

/** The coding of a tensor in memory, without codes. */
export function clusterInMemory(
  scope: EncodeScope,
  plan: QuantizePlan,
  data: Float32Array,
  importance: Float32Array | undefined,
): Coding {
  const mark = scope.mark();
  try {
    const by = plan.scale === "none" ? plan.granularity : "tensor";
    const grouping = groupingOf(by, plan.shape, plan.axis, plan.groupSize);
    const passes = clusterTensor(scope, plan, importance !== undefined);
    let step = passes.next();
    while (!step.done) {
      fulfil(scope, step.value, grouping, data, importance);
      step = passes.next();
    }
    return step.value;
  } finally {
    scope.release(mark);
  }
}

function asTensor(weights: Float32Array | Tensor): Tensor {
  if (weights instanceof Float32Array) return { data: weights, shape: [weights.length] };
  if (!(weights?.data instanceof Float32Array) || !Array.isArray(weights.shape)) {
    throw new TypeError("weights must be a Float32Array or { data: Float32Array, shape: number[] }");
  }
  const count = countElements(weights.shape);
  if (count !== weights.data.length) {
    throw new RangeError(`shape [${weights.shape.join(", ")}] has ${count} elements, data has ${weights.data.length}`);
  }
  return weights;
}

/** Copies the weights that a pass wishes for, and their importance, from arrays to Wasm memory. */
function fulfil(
  scope: EncodeScope,
  wish: Wish,
  grouping: Grouping,
  data: Float32Array,
  importance: Float32Array | undefined,
): void {
  copyGroups(scope, wish, wish.weights, grouping, data);
  if (!importance || !wish.importance) return;
  copyGroups(scope, wish, wish.importance, grouping, importance);
  const fault = importanceFault(scope, grouping, wish);
  if (fault) throw new RangeError(fault);
}

function copyGroups(scope: EncodeScope, wish: Wish, target: number, grouping: Grouping, data: Float32Array): void {
  const { first, last, start, end } = wish;
  const { inner, outer, groups } = grouping;
  if (outer === 1) {
    const from = first * inner + start;
    const to = Math.min(data.length, (last - 1) * inner + end);
    scope.f32(target, to - from).set(data.subarray(from, to));
    return;
  }
  const view = scope.f32(target, (last - first) * (end - start));
  if (start === 0 && end === inner * outer && groups === last - first) {
    const mark = scope.mark();
    const spare = scope.reserve(data.length * 4);
    scope.f32(spare, data.length).set(data);
    scope.kernels.gather(target, spare, outer, groups, inner);
    scope.release(mark);
    return;
  }
  let at = 0;
  for (let g = first; g < last; g++) {
    for (let e = start; e < end; ) {
      const o = Math.floor(e / inner);
      const run = Math.min(end, (o + 1) * inner) - e;
      const from = (o * groups + g) * inner + (e - o * inner);
      if (run === 1) view[at] = data[from] as number;
      else view.set(data.subarray(from, from + run), at);
      at += run;
      e += run;
    }
  }
}

/** Codes a tensor in memory with a coding that is already known. */
function codeTensor(
  scope: EncodeScope,
  coding: Coding,
  data: Float32Array,
  importance: Float32Array | undefined,
): QuantizedTensor {
  const bits = bitsForLevels(coding.levels);
  const codes = new Uint8Array(packedBytes(data.length, bits));
  const coder = new TileCoder(scope, coding, 0, importance !== undefined);
  for (let start = 0; start < data.length; start += coder.tileSize) {
    const count = Math.min(coder.tileSize, data.length - start);
    scope.f32(coder.weights, count).set(data.subarray(start, start + count));
    if (importance) scope.f32(coder.importance, count).set(importance.subarray(start, start + count));
    coder.tile(start, count);
    const bytes = coder.pack(count);
    codes.set(scope.u8(coder.packed, bytes), (start * bits) / 8);
  }
  return { ...coding, bits, codes, stats: costsOf(coding, coder.takeSums(), importance !== undefined) };
}

/**
 * The weights a quantized tensor stands for, row-major.
 *
 * @param out where to write them (as many as the shape has); made if absent
 * @throws RangeError where sizes contradict each other
 */
export async function dequantize(q: QuantizedTensor, out?: Float32Array): Promise<Float32Array> {
  if (!decodeBinary.ready) await load(decodeBinary);
  return dequantizeSync(q, out);
}

/** {@link dequantize} without a promise, after `init()`. */
export function dequantizeSync(q: QuantizedTensor, out?: Float32Array): Float32Array {
  const count = checkQuantized(q);
  const target = out ?? new Float32Array(count);
  if (!(target instanceof Float32Array)) throw new TypeError("out must be a Float32Array");
  if (target.length !== count) throw new RangeError(`out has ${target.length} places for ${count} weights`);
  decodeInto(sharedDecodeScope(), q, 0, target);
  return target;
}

/** The codes of a quantized tensor, one byte each, row-major. */
export function unpackCodes(q: Pick<QuantizedTensor, "codes" | "bits" | "shape">): Uint8Array {
  const count = countElements(q.shape);
  const { bits, codes } = q;
  if (codes.length < packedBytes(count, bits)) {
    throw new RangeError(
      `${count} codes of ${bits} bits need ${packedBytes(count, bits)} bytes, codes has ${codes.length}`,
    );
  }
  const out = new Uint8Array(count);
  const mask = (1 << bits) - 1;
  for (let i = 0; i < count; i++) {
    const bit = i * bits;
    const byte = Math.floor(bit / 8);
    const window = (codes[byte] as number) | ((codes[byte + 1] ?? 0) << 8);
    out[i] = (window >> (bit - byte * 8)) & mask;
  }
  return out;
}

function checkQuantized(q: QuantizedTensor): number {
  const count = countElements(q.shape);
  const bits = bitsForLevels(q.levels);
  const values = codebookGroups(q) * q.levels;
  if (q.codebook.length !== values) {
    throw new RangeError(
      `codebook has ${q.codebook.length} values, ${q.granularity} granularity and ${q.levels} levels need ${values}`,
    );
  }
  if (q.codes.length < packedBytes(count, bits)) {
    throw new RangeError(
      `${count} codes of ${bits} bits need ${packedBytes(count, bits)} bytes, codes has ${q.codes.length}`,
    );
  }
  const { groups } = decodeGrouping(q);
  if (q.scale && q.scale.values.length !== groups) {
    throw new RangeError(`scale has ${q.scale.values.length} values for ${groups} groups`);
  }
  return count;
}
