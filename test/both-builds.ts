// Both builds: the library twice, on the SIMD and on the scalar kernels, each call compared to the last bit.
import { vi } from "vitest";
import type { QuantizedTensor, QuantizeOptions, Tensor } from "../src/index.ts";
import { type Numbers, sameBits, wasmBytes } from "./kernels/instances.ts";

type Library = typeof import("../src/index.ts");

/** A copy of the library with modules and kernels of its own. */
async function library(build: "simd" | "scalar"): Promise<Library> {
  vi.resetModules();
  const copy = await import("../src/index.ts");
  await copy.init({ encode: wasmBytes(`encode.${build}`), decode: wasmBytes(`decode.${build}`) });
  return copy;
}

const simd = await library("simd");
const scalar = await library("scalar");
if (simd === scalar) throw new Error("the library was not loaded twice");

/** `quantizeSync` of both; throws unless codebook, codes, scales and statistics have the same bits. */
export function quantize(weights: Float32Array | Tensor, options: QuantizeOptions = {}): QuantizedTensor {
  const want = scalar.quantizeSync(weights, options);
  const got = simd.quantizeSync(weights, options);
  sameBits(parts(got), parts(want), `quantizeSync with ${JSON.stringify({ ...options, importance: undefined })}`);
  return got;
}

/** `dequantizeSync` of both. */
export function dequantize(q: QuantizedTensor): Float32Array {
  const want = scalar.dequantizeSync(q);
  const got = simd.dequantizeSync(q);
  sameBits(got, want, "dequantizeSync");
  return got;
}

/** The SIMD library itself. */
export const wlq: Library = simd;

function parts(q: QuantizedTensor): (number | Numbers)[] {
  const { stats } = q;
  return [
    q.levels,
    q.bits,
    q.axis,
    q.groupSize,
    q.codebook,
    q.thresholds ?? 0,
    q.codes,
    q.scale?.values ?? 0,
    stats.count,
    stats.mse,
    stats.sqnrDb ?? -1,
    stats.maxError,
    stats.cosine,
    stats.bitsPerWeight,
    stats.entropyBits,
    stats.counts,
    stats.errors,
  ];
}
