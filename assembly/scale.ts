// Scale: a factor per channel or group before a shared codebook.
import { roundTo } from "./half";

/**
 * `dst[i] = round(fround(factor * codebook[i]))`, rounded to the tensor's dtype (`format` as in `roundTo`).
 * Reads and writes `4 * levels` bytes. Rounding is monotone, so an ascending codebook stays ascending.
 */
export function scaleCodebook(dst: usize, codebook: usize, levels: i32, factor: f32, format: i32): void {
  for (let i = 0; i < levels; i++) {
    // + 0 turns a negative zero into zero: one bit pattern for one value
    store<f32>(dst + (i << 2), factor * load<f32>(codebook + (i << 2)) + 0);
  }
  if (format != 0) roundTo(dst, levels, format);
}

/**
 * Weights divided by their scale, kept finite, and what an error there costs: `dst[i] = src[i] * inverse[g]`,
 * `cost[i] = square[g] * (importance ? importance[i] : 1)`; runs as in `lookupRuns`. All float32.
 */
export function normalizeRuns(
  dst: usize,
  cost: usize,
  src: usize,
  importance: usize,
  count: usize,
  inverse: usize,
  square: usize,
  inner: usize,
  groups: usize,
  first: usize,
): void {
  let group = first / inner;
  let left = inner - (first - group * inner);
  for (let i: usize = 0; i < count; ) {
    const factor = load<f32>(inverse + (group << 2));
    const weight = load<f32>(square + (group << 2));
    const end = i + min(left, count - i);
    for (; i < end; i++) {
      const x = load<f32>(src + (i << 2)) * factor;
      store<f32>(dst + (i << 2), max<f32>(-f32.MAX_VALUE, min<f32>(f32.MAX_VALUE, x)));
      store<f32>(cost + (i << 2), importance ? weight * load<f32>(importance + (i << 2)) : weight);
    }
    left = inner;
    if (++group == groups) group = 0;
  }
}

/**
 * Per group, adds to `out` (f64 x 4 a group): importance * w^2, largest |w|, importance * w * v, importance * v^2, where
 * `values` v (f32, or 0 for none) are the unscaled values that the codes stand for. Runs as in `lookupRuns`.
 */
export function scaleSums(
  out: usize,
  src: usize,
  values: usize,
  importance: usize,
  count: usize,
  inner: usize,
  groups: usize,
  first: usize,
): void {
  let group = first / inner;
  let left = inner - (first - group * inner);
  for (let i: usize = 0; i < count; ) {
    const p = out + (group << 5);
    let square = load<f64>(p);
    let top = load<f64>(p, 8);
    let cross = load<f64>(p, 16);
    let own = load<f64>(p, 24);
    const end = i + min(left, count - i);
    for (; i < end; i++) {
      const w = <f64>load<f32>(src + (i << 2));
      const h = importance ? <f64>load<f32>(importance + (i << 2)) : 1.0;
      square += h * w * w;
      const a = abs<f64>(w);
      if (a > top) top = a;
      if (values) {
        const v = <f64>load<f32>(values + (i << 2));
        cross += h * w * v;
        own += h * v * v;
      }
    }
    store<f64>(p, square);
    store<f64>(p, top, 8);
    store<f64>(p, cross, 16);
    store<f64>(p, own, 24);
    left = inner;
    if (++group == groups) group = 0;
  }
}
