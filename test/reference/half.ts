// Half: float16 and bfloat16 from the definition of IEEE 754-2019 (3.4, 4.3.1), by looking for the nearest value.
import { bitsOf, floatOf } from "./float-order.ts";

/** Value of a float16: (-1)^s * 2^(e - 15) * 1.m, subnormal 2^-14 * 0.m. */
export function f16Value(bits: number): number {
  const sign = bits >= 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const digits = bits & 1023;
  if (exponent === 31) return digits === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * 2 ** -14 * (digits / 1024);
  return sign * 2 ** (exponent - 15) * (1 + digits / 1024);
}

/** Value of a bfloat16: the upper half of a float32. */
export function bf16Value(bits: number): number {
  return floatOf(bits * 65536);
}

/** float32 to float16 bits. */
export function f16Bits(x: number): number {
  return nearest(x, 0x7c00, 2 ** 16, f16Value);
}

/** float32 to bfloat16 bits. */
export function bf16Bits(x: number): number {
  // a NaN keeps its upper digits and becomes quiet, as processors do it
  if (Number.isNaN(x)) return (bitsOf(x) >>> 16) | 0x40;
  return nearest(x, 0x7f80, 2 ** 128, bf16Value);
}

/**
 * Bits of the value nearest to x, ties to even bits. Values ascend with their bits up to `infinity`, which stands for
 * the first power of two beyond the largest value, as if the exponent had no end.
 */
function nearest(x: number, infinity: number, beyond: number, toValue: (bits: number) => number): number {
  const sign = bitsOf(x) >= 0x80000000 ? 0x8000 : 0;
  const magnitude = Math.abs(x);
  if (Number.isNaN(x)) return sign | 0x7e00;
  const valueAt = (bits: number): number => (bits === infinity ? beyond : toValue(bits));
  // the largest value that is not above the magnitude
  let low = 0;
  let high = infinity;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (valueAt(middle) <= magnitude) low = middle;
    else high = middle - 1;
  }
  if (low === infinity) return sign | infinity;
  const half = (valueAt(low) + valueAt(low + 1)) / 2;
  if (magnitude > half || (magnitude === half && low % 2 === 1)) low++;
  return sign | low;
}

/** As `roundTo`: format 1 rounds to float16, 2 to bfloat16, 0 leaves the value. */
export function rounded(x: number, format: number): number {
  if (format === 1) return f16Value(f16Bits(x));
  if (format === 2) return bf16Value(bf16Bits(x));
  return x;
}
