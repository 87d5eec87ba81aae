// Outliers: by magnitude or by h w^2, from the largest down, ties to those that come first; zeros never.

export function outlierOrder(weights: Float32Array, importance?: Float32Array): number[] {
  const key = outlierKeys(weights, importance);
  return [...weights.keys()]
    .filter((i) => (key[i] as number) > 0)
    .sort((a, b) => (key[b] as number) - (key[a] as number) || a - b);
}

/** The bits of the magnitude, or the upper half of those of h w w in float64. */
export function outlierKeys(weights: Float32Array, importance?: Float32Array): Uint32Array {
  const bits = new Uint32Array(weights.slice().buffer);
  if (!importance) return bits.map((b) => b & 0x7fffffff);
  const costs = Float64Array.from(weights, (w, i) => (importance[i] as number) * w * w);
  return new Uint32Array(costs.buffer).filter((_, i) => i % 2 === 1).map((b) => b & 0x7fffffff);
}

/** Indices of keys above the limit and of the first `left` equal to it. */
export function pickOutliers(keys: Uint32Array, limit: number, left: number): { places: number[]; left: number } {
  const places: number[] = [];
  keys.forEach((key, i) => {
    if (key < limit || (key === limit && left <= 0)) return;
    if (key === limit) left--;
    places.push(i);
  });
  return { places, left };
}
