// Held out: what a tensor's codes leave of its layer's output on inputs that they were not chosen by.
import type { Blocks, Part } from "./blocks.ts";
import type { Moments } from "./statistics.ts";

/**
 * Error and power of the outputs, all together. Where the model gets a bias against the mean error, that is the bias for the
 * inputs that codes were chosen by: what these means are off counts as error. Takes the place of the matrix at hand.
 */
export function heldOutErrors(
  b: Blocks,
  parts: readonly Part[],
  heldOut: Moments,
): { readonly power: number; readonly error: number } {
  const { columns } = b;
  const own = b.statistics.mean;
  const off = heldOut.mean.map((mean, c) => (b.options.shiftable ? mean - (own[c] as number) : mean));
  const covariance = b.matrix ? heldOut.covariance : undefined;
  const sum = { power: 0, error: 0 };
  for (const { group, first, last } of parts) {
    b.arrange(group);
    const from = group * columns;
    let form: (x: number, lanes: number) => number;
    if (covariance) {
      const count = (columns * (columns + 1)) / 2;
      b.put(covariance.subarray(group * count, (group + 1) * count), off.subarray(from, from + columns), 0);
      form = (x, lanes) => b.form(x, lanes, { group, first, last, damping: 0 });
    } else {
      const cost = Float64Array.from({ length: columns }, (_, c) => {
        const [square, mean] = [heldOut.square[from + c] as number, heldOut.mean[from + c] as number];
        return b.options.shiftable ? Math.max(0, square - mean * mean) + (off[from + c] as number) ** 2 : square;
      });
      form = (x, lanes) => b.diagonalForm(x, lanes, cost);
    }
    b.eachBlock({ group, first, last, damping: 0 }, (lanes) => {
      sum.power += form(b.block, lanes);
      sum.error += form(b.errors, lanes);
    });
  }
  b.filled = -1;
  return sum;
}
