// A tensor: weights with a dtype and a shape.
import { malformed } from "./error.ts";

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

export function isFloatDtype(dtype: unknown): dtype is FloatDtype {
  return ["F64", "F32", "F16", "BF16"].includes(dtype as string);
}

/** One tensor in memory. */
export interface Tensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Whether this is a size: an integer from 0 to 2^53 - 1. */
export function isSize(x: unknown): x is number {
  return Number.isSafeInteger(x) && (x as number) >= 0;
}

/** Product of a shape, checked: every dimension and the product a size. */
export function countElements(shape: readonly number[], tensor?: string): number {
  let count = 1;
  for (const dim of shape) {
    count *= dim;
    if (!isSize(dim) || !isSize(count)) throw malformed(tensor, `shape [${shape.slice(0, 9)}] has the dimension ${dim} or more than 2^53 elements`);
  }
  return count;
}
