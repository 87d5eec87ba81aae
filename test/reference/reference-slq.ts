// The seed's clustering kernel (yuhuixu1993/WLQ, include/caffe/kmeans.hpp), line by line in plain TypeScript, any odd k.

/** The state of one layer: what the seed keeps between two iterations. */
export interface SeedRound {
  readonly kernel: Float32Array;
  readonly tvec: Uint8Array;
  readonly mask: Uint8Array;
}

/**
 * One iteration: 10 Lloyd steps on all of `data`, then weights of clusters below `here3` are replaced, in place.
 * `carried`: the centroids of the last iteration; absent in the first.
 */
export function seedRound(
  data: Float32Array,
  num: number,
  here1: number,
  here3: number,
  carried?: Float32Array,
): SeedRound {
  const f = Math.fround;
  const kernel = new Float32Array(num);
  if (carried) kernel.set(carried);
  else {
    let max = 0;
    for (const x of data) max = Math.max(max, Math.abs(x));
    let top = 1;
    while (top * 2 <= max) top *= 2;
    while (top > max && max > 0) top /= 2;
    for (let i = 0; i < (num - 1) / 2; i++) {
      kernel[2 * i + 1] = top / 2 ** i;
      kernel[2 * i + 2] = -top / 2 ** i;
    }
  }
  const tvec = new Uint8Array(data.length);
  for (let step = 0; step < 10; step++) {
    const sums = new Float32Array(num);
    const counts = new Float32Array(num);
    for (let i = 0; i < data.length; i++) {
      const x = data[i] as number;
      let least = Number.POSITIVE_INFINITY;
      for (let c = 0; c < num; c++) {
        const d = f(x - (kernel[c] as number));
        const square = f(d * d);
        if (square < least) {
          least = square;
          tvec[i] = c;
        }
      }
      const c = tvec[i] as number;
      sums[c] = f((sums[c] as number) + x);
      counts[c] = (counts[c] as number) + 1;
    }
    for (let c = here1; c < num; c++) {
      if ((counts[c] as number) > 0) kernel[c] = f((sums[c] as number) / (counts[c] as number));
    }
  }
  const mask = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const c = tvec[i] as number;
    if (c < here3) data[i] = kernel[c] as number;
    else mask[i] = 1;
  }
  return { kernel, tvec, mask };
}

/** C++'s text of six digits, by exact decimal arithmetic: nearest, ties to even. */
export function sixDigitText(x: number): number {
  if (x === 0) return 0;
  // a float32 is an integer over a power of two: scale until both are integers, then divide with rest
  const exact = Math.abs(x).toExponential(100);
  const [digits = "", exponent = "0"] = exact.split("e");
  const all = digits.replace(".", "");
  const head = BigInt(all.slice(0, 6));
  const rest = all.slice(6);
  const half = `5${"0".repeat(rest.length - 1)}`;
  const up = rest > half || (rest === half && head % 2n === 1n);
  const rounded = up ? head + 1n : head;
  return (x < 0 ? -1 : 1) * Number(`${rounded}e${Number(exponent) - 5}`);
}
