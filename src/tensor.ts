// A tensor: weights with a dtype and a shape.
import { malformed } from "./error.ts";

/** Element types in safetensors' spelling, as far as wlq knows them. */
export type Dtype =
  | "F64"
  | "F32"
  | "F16"
  | "BF16"
  | "I64"
  | "I32"
  | "I16"
  | "I8"
  | "U64"
  | "U32"
  | "U16"
  | "U8"
  | "C64"
  | "BOOL"
  | "F8_E4M3"
  | "F8_E5M2"
  | "F8_E8M0"
  | "F8_E4M3FNUZ"
  | "F8_E5M2FNUZ"
  | "F6_E2M3"
  | "F6_E3M2"
  | "F4";

/** Bits an element, which the dtype's name says: 16 for BF16, 4 for F4; `undefined` for names of another kind. */
export function dtypeBits(dtype: Dtype): number;
export function dtypeBits(dtype: string): number | undefined;
export function dtypeBits(dtype: string): number | undefined {
  return dtype === "BOOL" ? 8 : Number(/^B?[CFIU](\d+)(_E|$)/.exec(dtype)?.[1]) || undefined;
}

/** The dtypes whose tensors wlq quantizes. F64 goes through float32. */
export type FloatDtype = "F64" | "F32" | "F16" | "BF16";

/** How values were rounded to the tensor's dtype: 0 float32, 1 float16, 2 bfloat16. As kernels number them. */
export type RoundFormat = 0 | 1 | 2;

export const FLOAT_DTYPES: readonly FloatDtype[] = ["F64", "F32", "F16", "BF16"];

export function isFloatDtype(dtype: unknown): dtype is FloatDtype {
  return FLOAT_DTYPES.includes(dtype as FloatDtype);
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
    if (!isSize(dim) || !isSize(count))
      throw malformed(tensor, `shape [${shape.slice(0, 9)}]: dimension ${dim} or more than 2^53 elements`);
  }
  return count;
}
