// Scale: codebooks times a factor, weights by a factor, and the sums that fit one.
import { rounded } from "./half.ts";
import { groupAt } from "./lookup.ts";

/** Values times the factor in float32, rounded to the format; a zero is +0. */
export function scaleCodebook(codebook: Float32Array, factor: number, format: number): Float32Array {
  return codebook.map((value) => rounded(Math.fround(factor * value) + 0, format));
}

/** The largest float32: a quotient beyond it is kept finite. */
const LARGEST = 3.4028234663852886e38;

export interface Runs {
  readonly inner: number;
  readonly groups: number;
  readonly first: number;
}

export function normalized(
  weights: Float32Array,
  importance: Float32Array | undefined,
  inverse: Float32Array,
  square: Float32Array,
  { inner, groups, first }: Runs,
): { values: Float32Array; cost: Float32Array } {
  const groupOf = (i: number): number => groupAt(i, inner, groups, first);
  return {
    values: weights.map((w, i) => Math.max(-LARGEST, Math.min(LARGEST, w * (inverse[groupOf(i)] as number)))),
    cost: weights.map((_, i) => (square[groupOf(i)] as number) * (importance ? (importance[i] as number) : 1)),
  };
}

/** Per group: importance * w^2, largest |w|, importance * w * v, importance * v^2, added in data order. */
export function scaleSums(
  before: Float64Array,
  weights: Float32Array,
  values: Float32Array | undefined,
  importance: Float32Array | undefined,
  { inner, groups, first }: Runs,
): Float64Array {
  const out = before.slice();
  weights.forEach((w, i) => {
    const at = 4 * groupAt(i, inner, groups, first);
    const h = importance ? (importance[i] as number) : 1;
    const v = values ? (values[i] as number) : 0;
    (out[at] as number) += h * w * w;
    out[at + 1] = Math.max(out[at + 1] as number, Math.abs(w));
    (out[at + 2] as number) += h * w * v;
    (out[at + 3] as number) += h * v * v;
  });
  return out;
}
