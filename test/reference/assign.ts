// Assign: codes from thresholds, and what they cost, summed in four lanes.

/** Number of thresholds below x. */
export function codeOf(x: number, thresholds: ArrayLike<number>): number {
  let code = 0;
  for (let i = 0; i < thresholds.length; i++) if ((thresholds[i] as number) < x) code++;
  return code;
}

export interface Measure {
  /** Count and squared error per code, in turns. */
  readonly totals: Float64Array;
  squares: number;
  worst: number;
  decodedSquares: number;
}

/** `before`, with the weights added: weight i in lane i mod 4, lanes joined as (0 + 1) + (2 + 3). */
export function measure(
  before: Measure,
  weights: Float32Array,
  decoded: Float32Array,
  codes: Uint8Array,
  levels: number,
): Measure {
  const lanes = [0, 1, 2, 3].map(() => ({ totals: new Float64Array(2 * levels), squares: 0, decodedSquares: 0 }));
  let { worst } = before;
  weights.forEach((x, i) => {
    const lane = lanes[i % 4] as (typeof lanes)[number];
    const error = (x - (decoded[i] as number)) ** 2;
    const code = codes[i] as number;
    (lane.totals[2 * code] as number) += 1;
    (lane.totals[2 * code + 1] as number) += error;
    lane.squares += x * x;
    lane.decodedSquares += (decoded[i] as number) ** 2;
    worst = Math.max(worst, error);
  });
  const join = (of: (lane: (typeof lanes)[number]) => number): number => {
    const [a, b, c, d] = lanes.map(of) as [number, number, number, number];
    return a + b + (c + d);
  };
  return {
    totals: before.totals.map((total, j) =>
      j < 2 * levels ? total + join((lane) => lane.totals[j] as number) : total,
    ),
    squares: before.squares + join((lane) => lane.squares),
    worst,
    decodedSquares: before.decodedSquares + join((lane) => lane.decodedSquares),
  };
}
