// Sort: ascending values with their weights; equal ones join.

export interface Weighted {
  readonly value: number;
  readonly weight: number;
}

/** Ascending, equal values in the order they came (Array.prototype.sort is stable since ES2019); one zero. */
export function sorted(values: Float32Array, weights: Float64Array | undefined): Weighted[] {
  return Array.from(values, (x, i) => ({ value: x + 0, weight: weights?.[i] ?? 1 })).sort((a, b) => a.value - b.value);
}

/** Sums of equal neighbours, in order; those without weight are left out. */
export function merged(entries: readonly Weighted[]): { weight: number; sum: number }[] {
  const groups: { value: number; weight: number }[] = [];
  for (const { value, weight } of entries) {
    const last = groups.at(-1);
    if (last?.value === value) last.weight += weight;
    else groups.push({ value, weight });
  }
  return groups.filter(({ weight }) => weight !== 0).map(({ value, weight }) => ({ weight, sum: weight * value }));
}
