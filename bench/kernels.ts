// Kernels on data that lies in Wasm memory already: what the machine allows, without copies.
import { quantizeSync } from "../src/index.ts";
import { type DecodeScope, decodeScope } from "../src/wasm/decode.ts";
import { type EncodeScope, encodeScope } from "../src/wasm/encode.ts";
import { measure, type Row } from "./measure.ts";

const LEVELS = 16;

/** memcpy within Wasm memory of the same bytes: the ceiling. */
function copyRow(scope: EncodeScope | DecodeScope, from: number, to: number, bytes: number): Row {
  const memory = new Uint8Array(scope.kernels.memory.buffer);
  return measure("memcpy in Wasm memory", bytes, () => memory.copyWithin(to, from, from + bytes));
}

/** Weights to packed 4-bit codes. */
export function assignAndPack(weights: Float32Array, codebook: Float32Array): Row[] {
  const scope = encodeScope();
  const { kernels } = scope;
  const count = weights.length;
  const src = scope.reserve(count * 4);
  const spare = scope.reserve(count * 4);
  const codes = scope.reserve(65536);
  const packed = scope.reserve(count);
  const values = scope.reserve(1024);
  const thresholds = scope.reserve(1024);
  scope.f32(src, count).set(weights);
  scope.f32(values, LEVELS).set(codebook);
  kernels.thresholds(thresholds, values, LEVELS, 256);
  const run = (): void => {
    for (let start = 0; start < count; start += 65536) {
      const n = Math.min(65536, count - start);
      kernels.assign(codes, src + start * 4, n, thresholds, LEVELS, 128, spare);
      kernels.pack(packed + start / 2, codes, n, 4);
    }
  };
  return [measure("assign + pack, 16 levels, Wasm-resident", count * 4, run), copyRow(scope, src, spare, count * 4)];
}

/** Weights to codes, a codebook for each `inner` of them in a row. */
export function assignChannels(weights: Float32Array, levels: number, inner: number): Row {
  const scope = encodeScope();
  const { kernels } = scope;
  const mark = scope.mark();
  const count = weights.length - (weights.length % inner);
  const groups = count / inner;
  const stride = 2 ** Math.ceil(Math.log2(levels));
  const src = scope.reserve(count * 4);
  const codes = scope.reserve(count);
  const values = scope.reserve(levels * 4);
  const thresholds = scope.reserve(groups * stride * 4);
  const scratch = scope.reserve(4096);
  scope.f32(src, count).set(weights.subarray(0, count));
  const { codebook } = quantizeSync(weights, { levels });
  for (let g = 0; g < groups; g++) {
    // scales of their own, as channels have
    const factor = 0.5 + (g % 16) / 16;
    const own = codebook.map((x) => x * factor);
    scope.f32(values, levels).set(own);
    kernels.thresholds(thresholds + g * stride * 4, values, levels, stride);
  }
  const run = (): void => kernels.assignRuns(codes, src, count, thresholds, levels, stride, inner, groups, 0, scratch);
  const row = measure(`assign, ${levels} levels, ${inner} weights a channel`, count * 4, run);
  scope.release(mark);
  return { ...row, name: `${row.name}, ${((row.ms * 1e6) / count).toFixed(2)} ns a weight` };
}

/** Packed 4-bit codes to float32. */
export function decodeResident(count: number, codebook: Float32Array): Row[] {
  const scope = decodeScope();
  const packed = scope.reserve(count / 2);
  const out = scope.reserve(count * 4);
  const spare = scope.reserve(count * 4);
  const values = scope.reserve(1024);
  const bytes = scope.u8(packed, count / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 167) & 255;
  scope.f32(values, LEVELS).set(codebook);
  const run = (): void => scope.kernels.lookup32(out, packed, count, values, LEVELS, true);
  return [measure("decode 4 bit -> float32, Wasm-resident", count * 4, run), copyRow(scope, out, spare, count * 4)];
}
