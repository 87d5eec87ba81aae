// A tensor: weights with a dtype and a shape.
import { WlqError } from "./error.ts";

/** Element types in safetensors' spelling. Sub-byte types count bits: F4 is 4. */
export const DTYPE_BITS = {
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
  F32: 32,
  I32: 32,
  U32: 32,
  F16: 16,
  BF16: 16,
  I16: 16,
  U16: 16,
  I8: 8,
  U8: 8,
  BOOL: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
} as const;

export type Dtype = keyof typeof DTYPE_BITS;

/** The dtypes whose tensors wlq quantizes. F64 goes through float32. */
export type FloatDtype = "F64" | "F32" | "F16" | "BF16";

export function isFloatDtype(dtype: string): dtype is FloatDtype {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16" || dtype === "F64";
}

/** One tensor in memory. */
export interface Tensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Product of a shape, checked: every dimension a non-negative integer, the product below 2^53. */
export function countElements(shape: readonly number[], tensor?: string): number {
  let count = 1;
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 0) {
      throw new WlqError("malformed", `${label(tensor)}shape [${shape.join(", ")}] has the dimension ${dim}`, where(tensor));
    }
    count *= dim;
    if (count > Number.MAX_SAFE_INTEGER) {
      throw new WlqError("malformed", `${label(tensor)}shape [${shape.join(", ")}] has more than 2^53 elements`, where(tensor));
    }
  }
  return count;
}

/** Payload size in bytes of `count` elements; sub-byte types must fill whole bytes. */
export function payloadBytes(dtype: Dtype, count: number, tensor?: string): number {
  const bits = count * DTYPE_BITS[dtype];
  if (bits % 8 !== 0) {
    throw new WlqError("malformed", `${label(tensor)}${count} elements of ${dtype} do not fill whole bytes`, where(tensor));
  }
  return bits / 8;
}

function label(tensor?: string): string {
  return tensor === undefined ? "" : `tensor "${tensor}": `;
}

function where(tensor?: string): { tensor?: string } {
  return tensor === undefined ? {} : { tensor };
}
