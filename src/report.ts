// Report: what became of a model, as plain data; whoever shows it only formats it.
import type { OutputError } from "./calibration.ts";
import { type QuantizationStats, sqnrOf } from "./codebook.ts";

/** What became of one tensor. */
export interface TensorReport {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Payload bytes in the input. */
  readonly bytesIn: number;
  /** Payload bytes in the output: codes, codebook and scales, or the tensor as it is. */
  readonly bytesOut: number;
  /** Why it was left as it is; absent where it was quantized. */
  readonly kept?: string;
  readonly levels?: number;
  readonly granularity?: string;
  readonly scale?: string;
  readonly stats?: QuantizationStats;
  /** Weights that are stored exactly: how many, and the bytes that they take of `bytesOut`. */
  readonly outliers?: { readonly count: number; readonly byteLength: number };
  /** What it does to the layer's output, where calibration knows its inputs. */
  readonly output?: OutputError;
}

/** What became of a model. */
export interface Report {
  readonly format: string;
  readonly to: "container" | "dense" | "onnx";
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** bytesIn / bytesOut. */
  readonly ratio: number;
  /** Weights in quantized tensors. */
  readonly weights: number;
  /** Stored bits per quantized weight: codes, codebooks, scales. */
  readonly bitsPerWeight: number;
  /** Order-0 entropy of the codes, bits per quantized weight. */
  readonly entropyBits: number;
  /** Over all quantized weights, in dB; `null` where the error is zero. */
  readonly sqnrDb: number | null;
  /** The same with every weight's importance, where importance was given. */
  readonly weightedSqnrDb?: number | null;
  readonly seconds: number;
  readonly tensors: readonly TensorReport[];
  readonly warnings: readonly string[];
}

/** Totals over tensors. */
export function totalsOf(
  tensors: readonly TensorReport[],
): Pick<Report, "weights" | "bitsPerWeight" | "entropyBits" | "sqnrDb" | "weightedSqnrDb"> {
  let weights = 0;
  let bits = 0;
  let entropy = 0;
  let error = 0;
  let signal = 0;
  let weighted: { error: number; signal: number } | undefined;
  for (const { stats } of tensors) {
    if (!stats) continue;
    weights += stats.count;
    bits += stats.bitsPerWeight * stats.count;
    entropy += stats.entropyBits * stats.count;
    error += stats.mse * stats.count;
    signal += stats.sumSquares;
    if (!stats.weighted) continue;
    weighted ??= { error: 0, signal: 0 };
    weighted.error += stats.weighted.error;
    weighted.signal += stats.weighted.signal;
  }
  return {
    weights,
    bitsPerWeight: weights > 0 ? bits / weights : 0,
    entropyBits: weights > 0 ? entropy / weights : 0,
    sqnrDb: sqnrOf(signal, error),
    ...(weighted ? { weightedSqnrDb: sqnrOf(weighted.signal, weighted.error) } : {}),
  };
}
