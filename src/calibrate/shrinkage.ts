// Shrinkage: how much of a covariance that few samples gave is chance, and what to add to its diagonal against it.

/**
 * Share of the samples that count as independent. Neighbouring positions of a convolution, steps of a sequence and pictures
 * of one kind resemble each other. On PP-OCR, layers lose least on other lines where half of the samples count; all or a
 * quarter of them cost up to 0.06 dB.
 */
export const INDEPENDENT = 0.5;

/**
 * What to add to the diagonal of a group's covariance (triangle by rows), a share of the diagonal's mean. The oracle
 * approximating shrinkage estimator (Chen, Wiesel, Eldar & Hero 2010, equation 23) weighs covariance and diagonal so
 * that the expected squared error is least: a squeeze layer sees one input a run, 40 runs say little of 480 directions,
 * and codes that trust them do well on these runs alone.
 */
export function shrinkageOf(covariance: Float32Array, columns: number, samples: number): number {
  let squares = 0;
  let trace = 0;
  let at = 0;
  for (let i = 0; i < columns; i++) {
    const own = covariance[at++] as number;
    trace += own;
    squares += own * own;
    for (let j = i + 1; j < columns; j++) {
      const x = covariance[at++] as number;
      squares += 2 * x * x;
    }
  }
  const spread = squares - (trace * trace) / columns;
  // a multiple of the unit matrix, or nothing at all
  if (!(spread > 1e-12 * squares)) return 0;
  const correction = 1 - 2 / columns;
  const share = (correction * squares + trace * trace) / ((samples + correction) * spread);
  // all of it would be rounding each weight to its nearest value
  const most = Math.min(share, MOST_SHARE);
  return most / (1 - most);
}

const MOST_SHARE = 0.95;
