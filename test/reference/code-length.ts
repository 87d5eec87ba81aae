// Code length: the partition that minimises error plus lambda times entropy, by plain dynamic programming.
// György & Linder (IEEE Transactions on Information Theory 46, 2000): the best cells are intervals; the cost of an interval
// of n of N points, its squared error and n log2(N / n) bits, does not depend on the others, so prefixes are a state.

export interface BestPartition {
  readonly cost: number;
  readonly cells: number;
}

/** Over all partitions of the values; `entry` bits a cell. O(n^2), for some thousand values. */
export function bestPartition(values: Float32Array, lambda: number, entry: number): BestPartition {
  const counts = new Map<number, number>();
  for (const x of values) counts.set(x, (counts.get(x) ?? 0) + 1);
  const points = [...counts].sort(([a], [b]) => a - b);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const n = new Float64Array(points.length + 1);
  const s = n.slice();
  const q = n.slice();
  points.forEach(([x, count], i) => {
    n[i + 1] = (n[i] as number) + count;
    s[i + 1] = (s[i] as number) + count * (x - mean);
    q[i + 1] = (q[i] as number) + count * (x - mean) ** 2;
  });
  const price = Float64Array.from(values, (_, i) => lambda * ((i + 1) * Math.log2(values.length / (i + 1)) + entry));
  const best = new Float64Array(n.length).fill(Number.POSITIVE_INFINITY);
  const cells = new Int32Array(n.length);
  best[0] = 0;
  for (let i = 1; i < n.length; i++) {
    for (let j = i - 1; j >= 0; j--) {
      const count = (n[i] as number) - (n[j] as number);
      const sum = (s[i] as number) - (s[j] as number);
      const error = Math.max(0, (q[i] as number) - (q[j] as number) - sum ** 2 / count);
      if (error > (best[i] as number)) break; // wider ones have more error still
      const cost = (best[j] as number) + error + (price[count - 1] as number);
      if (cost < (best[i] as number)) {
        best[i] = cost;
        cells[i] = (cells[j] as number) + 1;
      }
    }
  }
  return { cost: best.at(-1) as number, cells: cells.at(-1) as number };
}
