// Seeded test data: the same bits on every engine, since only + - * /, Math.sqrt, Math.fround and integers are used.

/** Draws from [0, 1). */
type Uniform = () => number;

/** Tommy Ettinger's mulberry32: 32 bits of state, one number a step, equidistributed enough for test data. */
function mulberry32(seed: number): Uniform {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Natural logarithm of x in (0, 1]. Math.log may differ between engines in the last bit; this may not. */
function ln(x: number): number {
  let exponent = 0;
  let m = x;
  while (m < Math.SQRT1_2) {
    m *= 2;
    exponent--;
  }
  // ln m = 2 atanh s, |s| <= 0.1716: eleven odd terms leave less than 1e-17.
  const s = (m - 1) / (m + 1);
  const s2 = s * s;
  let series = 0;
  for (let odd = 21; odd >= 1; odd -= 2) series = series * s2 + 1 / odd;
  return exponent * Math.LN2 + 2 * s * series;
}

/** One draw of N(0, 1) by Marsaglia's polar method; its second value is dropped so that draws do not depend on parity. */
function normal(uniform: Uniform): number {
  for (;;) {
    const u = 2 * uniform() - 1;
    const v = 2 * uniform() - 1;
    const s = u * u + v * v;
    if (s > 0 && s < 1) return u * Math.sqrt((-2 * ln(s)) / s);
  }
}

function draw(n: number, next: () => number): Float32Array {
  const values = new Float32Array(n);
  for (let i = 0; i < n; i++) values[i] = next();
  return values;
}

/** The input of the golden files of the reference SLQ kernel: a mixture of two zero-mean bells, sigma 0.02 and 0.06. */
export function golden(n: number): Float32Array {
  let state = 12345;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 16777216;
  };
  return draw(n, () => {
    const a = uniform();
    let g = 0;
    for (let i = 0; i < 12; i++) g += uniform();
    g -= 6;
    return g * (a < 0.7 ? 0.02 : 0.06);
  });
}

/** N(0, 1). */
export function gauss(n: number, seed: number): Float32Array {
  const uniform = mulberry32(seed);
  return draw(n, () => normal(uniform));
}

/** Laplace with mean 0 and standard deviation 1. */
export function laplace(n: number, seed: number): Float32Array {
  const uniform = mulberry32(seed);
  return draw(n, () => {
    const sign = uniform() < 0.5 ? -1 : 1;
    return -sign * Math.SQRT1_2 * ln(1 - uniform());
  });
}

/** Student's t with 3 degrees of freedom: heavy tails, variance 3. */
export function studentT3(n: number, seed: number): Float32Array {
  const uniform = mulberry32(seed);
  return draw(n, () => {
    const z = normal(uniform);
    const a = normal(uniform);
    const b = normal(uniform);
    const c = normal(uniform);
    return z / Math.sqrt((a * a + b * b + c * c) / 3);
  });
}

/** A pruned layer: 60 % exact zeros, the rest N(0, 0.02²). */
export function spikeAtZero(n: number, seed: number): Float32Array {
  const uniform = mulberry32(seed);
  return draw(n, () => (uniform() < 0.6 ? 0 : 0.02 * normal(uniform)));
}

/** N(0, 1) with one value, in the middle, of 170: the worst peak seen in PP-OCR's 1x1 convolutions. */
export function peak170(n: number, seed: number): Float32Array {
  const values = gauss(n, seed);
  values[n >> 1] = 170;
  return values;
}

/** N(0, 1) rounded to bfloat16. */
export function bf16Grid(n: number, seed: number): Float32Array {
  return gauss(n, seed).map((x) => roundToGrid(x, 8, -133));
}

/** N(0, 1) rounded to IEEE half precision. */
export function f16Grid(n: number, seed: number): Float32Array {
  return gauss(n, seed).map((x) => roundToGrid(x, 11, -24));
}

/** A norm's gain: N(1, 0.01²), far from zero compared with its width. */
export function farFromZero(n: number, seed: number): Float32Array {
  const uniform = mulberry32(seed);
  return draw(n, () => 1 + 1e-2 * normal(uniform));
}

/** N(1, 1e-5²): only some hundred distinct float32 values, a few units in the last place apart. */
export function nearlyConstant(n: number, seed: number): Float32Array {
  const uniform = mulberry32(seed);
  return draw(n, () => 1 + 1e-5 * normal(uniform));
}

/** Two narrow clumps, N(0, 0.001²) and N(5, 0.001²), with half of the values each: a wide empty range between. */
export function twoClumps(n: number, seed: number): Float32Array {
  const uniform = mulberry32(seed);
  return draw(n, () => (uniform() < 0.5 ? 0 : 5) + 1e-3 * normal(uniform));
}

/**
 * Nearest value with `digits` binary digits, ties to even; no grid step is below `2^minExponent` (the subnormals).
 * For |x| below the format's largest value.
 */
function roundToGrid(x: number, digits: number, minExponent: number): number {
  let step = 1;
  let exponent = 0;
  const size = x < 0 ? -x : x;
  const count = 1 << digits;
  while (exponent > minExponent && size < (count / 2) * step) {
    step /= 2;
    exponent--;
  }
  while (size >= count * step) step *= 2;
  // Powers of two divide and multiply exactly; adding 1.5 * 2^52 rounds a double to an integer, ties to even.
  const magic = 6755399441055744;
  return (x / step + magic - magic) * step;
}

/** A named test set. */
export interface DataSet {
  readonly name: string;
  /** The count that `test/oracle/optima.json` was made with. */
  readonly n: number;
  readonly make: (n: number) => Float32Array;
}

const N = 100_000;

/** The named test sets: `set.make(set.n)`. */
export const SETS: readonly DataSet[] = [
  { name: "golden", n: N, make: golden },
  { name: "gauss", n: N, make: (n) => gauss(n, 1) },
  { name: "laplace", n: N, make: (n) => laplace(n, 2) },
  { name: "student-t3", n: N, make: (n) => studentT3(n, 3) },
  { name: "spike-at-zero", n: N, make: (n) => spikeAtZero(n, 4) },
  { name: "peak-170", n: N, make: (n) => peak170(n, 5) },
  { name: "bf16-grid", n: N, make: (n) => bf16Grid(n, 6) },
  { name: "f16-grid", n: N, make: (n) => f16Grid(n, 7) },
  { name: "far-from-zero", n: N, make: (n) => farFromZero(n, 8) },
  { name: "nearly-constant", n: N, make: (n) => nearlyConstant(n, 9) },
  { name: "two-clumps", n: N, make: (n) => twoClumps(n, 10) },
  { name: "gauss-1m", n: 1_000_000, make: (n) => gauss(n, 11) },
];
