// The committed optima: the least mean squared error of 1-D k-means for the test sets and the models' tensors.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** Codebook sizes with a known optimum. */
export const OPTIMA_LEVELS = [3, 5, 9, 16, 17, 32, 256] as const;

/** Codebook sizes with a known optimum when one value is pinned at zero: those of SLQ. */
export const OPTIMA_ZERO_LEVELS = [3, 5, 9, 17] as const;

/** The optima of one set of values, made by `optimal.cpp`. */
export interface Optimum {
  /** A set of `bench/data.ts`, or `model/tensor` for a tensor of `bench/models.ts`. */
  readonly name: string;
  readonly n: number;
  /** Distinct values; -0 and 0 are one. */
  readonly distinct: number;
  /** Of the values as little-endian float32. */
  readonly sha256: string;
  /** Least squared error per weight; 0 where there are no more distinct values than levels. */
  readonly mse: Readonly<Record<(typeof OPTIMA_LEVELS)[number], number>>;
  /** The same with one of the values pinned at zero. */
  readonly mseZero: Readonly<Record<(typeof OPTIMA_ZERO_LEVELS)[number], number>>;
}

/** All entries, test sets first. Each call reads the file again. */
export function readOptima(file: string | URL = new URL("./optima.json", import.meta.url)): Optimum[] {
  return JSON.parse(readFileSync(file, "utf8")) as Optimum[];
}

/** The entry of these very values; throws if there is none, so that a test cannot look at other data. */
export function optimumOf(optima: readonly Optimum[], values: Float32Array): Optimum {
  const hash = sha256(values);
  const found = optima.find((optimum) => optimum.sha256 === hash);
  if (found === undefined)
    throw new Error(`test/oracle/optima.json has no entry for ${values.length} values with sha256 ${hash}`);
  return found;
}

/** Of the values as little-endian float32 (every platform that Node runs on is little-endian). */
export function sha256(values: Float32Array): string {
  return createHash("sha256")
    .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    .digest("hex");
}
