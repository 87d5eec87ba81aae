// Importance: what an error costs where weights do not count the same, summed in two lanes.

/** Index of the first importance that is not finite and >= 0; the length if there is none. */
export function firstUnfit(importance: Float32Array): number {
  const found = importance.findIndex((h) => !(h >= 0 && h < Number.POSITIVE_INFINITY));
  return found < 0 ? importance.length : found;
}

/** `[error, signal]` with the weights added: weight i in lane i mod 2. */
export function measureWeighted(
  [error, signal]: readonly [number, number],
  weights: Float32Array,
  decoded: Float32Array,
  importance: Float32Array,
): [number, number] {
  const lanes = [0, 1].map(() => ({ error: 0, signal: 0 })) as [
    { error: number; signal: number },
    { error: number; signal: number },
  ];
  weights.forEach((x, i) => {
    const lane = lanes[i % 2] as (typeof lanes)[0];
    const h = importance[i] as number;
    lane.error += h * (x - (decoded[i] as number)) ** 2;
    lane.signal += h * (x * x);
  });
  return [error + (lanes[0].error + lanes[1].error), signal + (lanes[0].signal + lanes[1].signal)];
}
