// Log2: binary logarithms from exact operations alone, so that code lengths have the same bits everywhere.

/**
 * log2(x) of a positive normal x, within 1e-15 of max(1, |log2 x|).
 *
 * x = 2^e * m, m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh s, s = (m - 1) / (m + 1), |s| < 0.1716: eleven odd terms leave
 * less than 1e-17.
 */
export function log2(x: f64): f64 {
  const bits = reinterpret<u64>(x);
  // bits of sqrt(1/2), so that the exponent changes there
  const e = <i64>(bits - 0x3fe6a09e667f3bcd) >> 52;
  const m = reinterpret<f64>(bits - (<u64>e << 52));
  const s = (m - 1) / (m + 1);
  const q = s * s;
  let series = 1.0 / 21;
  series = series * q + 1.0 / 19;
  series = series * q + 1.0 / 17;
  series = series * q + 1.0 / 15;
  series = series * q + 1.0 / 13;
  series = series * q + 1.0 / 11;
  series = series * q + 1.0 / 9;
  series = series * q + 1.0 / 7;
  series = series * q + 1.0 / 5;
  series = series * q + 1.0 / 3;
  series = series * q + 1;
  return <f64>e + series * s * 2.8853900817779268;
}

/** {@link log2}, for JavaScript. */
export function binaryLogarithm(x: f64): f64 {
  return log2(x);
}
