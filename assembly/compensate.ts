// Compensate: rounding of eight outputs at a time such that later weights make up for the errors of earlier ones.
//
// A block is f64 [columns][8], one lane an output; codes are u8 [columns][8]. Columns are in the order of the matrix, in
// which the last is rounded first. Values of a lane: f64 [8][stride], ascending; borders between them: f64 [8][stride],
// +infinity behind the last. stride is a power of two.
import { log2 } from "./log2";

/** Eight outputs' weights (f32 at `src`, `outputStep` and `columnStep` bytes apart) as a block; lanes from `lanes` on are 0. */
export function loadBlock(
  dst: usize,
  src: usize,
  order: usize,
  columns: usize,
  lanes: usize,
  outputStep: usize,
  columnStep: usize,
): void {
  for (let i: usize = 0; i < columns; i++) {
    const from = src + <usize>load<u32>(order + (i << 2)) * columnStep;
    for (let lane: usize = 0; lane < 8; lane++) {
      store<f64>(dst + (i << 6) + (lane << 3), lane < lanes ? <f64>load<f32>(from + lane * outputStep) : 0);
    }
  }
}

/** The codes of a block to their places in the tensor, one byte a code; steps in bytes of codes. */
export function storeCodes(
  dst: usize,
  codes: usize,
  order: usize,
  columns: usize,
  lanes: usize,
  outputStep: usize,
  columnStep: usize,
): void {
  for (let i: usize = 0; i < columns; i++) {
    const to = dst + <usize>load<u32>(order + (i << 2)) * columnStep;
    for (let lane: usize = 0; lane < lanes; lane++) store<u8>(to + lane * outputStep, load<u8>(codes + (i << 3) + lane));
  }
}

/** The codes of a tensor as a block: the way back from `storeCodes`. Missing lanes have code 0. */
export function loadCodes(
  dst: usize,
  codes: usize,
  order: usize,
  columns: usize,
  lanes: usize,
  outputStep: usize,
  columnStep: usize,
): void {
  for (let i: usize = 0; i < columns; i++) {
    const from = codes + <usize>load<u32>(order + (i << 2)) * columnStep;
    for (let lane: usize = 0; lane < 8; lane++) {
      store<u8>(dst + (i << 3) + lane, lane < lanes ? load<u8>(from + lane * outputStep) : 0);
    }
  }
}

// The code of the value nearest to t, ties to the lower one.
// @ts-ignore: decorator
@inline
function search(borders: usize, stride: usize, t: f64): usize {
  let code: usize = 0;
  for (let step = stride >> 1; step > 0; step >>= 1) {
    if (t > load<f64>(borders + ((code + step - 1) << 3))) code += step;
  }
  return code;
}

/**
 * Nearest-plane rounding (Babai 1986): columns from last to first, each to the value nearest to its weight plus what the
 * errors so far ask of it, `sum over j > i of R[i][j] / R[i][i] * error[j]`; R from `cholesky`. With `r` 0: each weight
 * to its nearest value. `prices` (f64 a code, or 0 for none): what a code costs beside its error. Writes `codes` and
 * `errors` (weights less values).
 */
export function nearestPlane(
  codes: usize,
  errors: usize,
  weights: usize,
  r: usize,
  columns: usize,
  stride: usize,
  values: usize,
  borders: usize,
  levels: usize,
  prices: usize,
  sums: usize,
): void {
  for (let i = columns - 1; <isize>i >= 0; i--) {
    const row = r + ((i * stride) << 3);
    if (r) product(sums, row, errors, i + 1, columns);
    const inverse = r ? 1 / load<f64>(row + (i << 3)) : 0;
    for (let lane: usize = 0; lane < 8; lane++) {
      const w = load<f64>(weights + (i << 6) + (lane << 3));
      const t = r ? w + load<f64>(sums + (lane << 3)) * inverse : w;
      let code = search(borders + ((lane * levels) << 3), levels, t);
      if (prices && r) {
        const own = load<f64>(row + (i << 3));
        code = cheaper(values + ((lane * levels) << 3), prices, levels, code, t, own * own);
      }
      store<u8>(codes + (i << 3) + lane, <u8>code);
      store<f64>(errors + (i << 6) + (lane << 3), w - load<f64>(values + ((lane * levels + code) << 3)));
    }
  }
}

// sums[lane] = sum over `first` <= j < `last` of row[j] * block[j][lane], in that order
// @ts-ignore: decorator
@inline
function product(sums: usize, row: usize, block: usize, first: usize, last: usize): void {
  if (ASC_FEATURE_SIMD) {
    let s0 = f64x2.splat(0);
    let s1 = f64x2.splat(0);
    let s2 = f64x2.splat(0);
    let s3 = f64x2.splat(0);
    for (let j = first; j < last; j++) {
      const f = v128.load64_splat(row + (j << 3));
      const at = block + (j << 6);
      s0 = f64x2.add(s0, f64x2.mul(f, v128.load(at)));
      s1 = f64x2.add(s1, f64x2.mul(f, v128.load(at, 16)));
      s2 = f64x2.add(s2, f64x2.mul(f, v128.load(at, 32)));
      s3 = f64x2.add(s3, f64x2.mul(f, v128.load(at, 48)));
    }
    v128.store(sums, s0);
    v128.store(sums, s1, 16);
    v128.store(sums, s2, 32);
    v128.store(sums, s3, 48);
  } else {
    for (let lane: usize = 0; lane < 8; lane++) {
      let sum: f64 = 0;
      for (let j = first; j < last; j++) {
        sum += load<f64>(row + (j << 3)) * load<f64>(block + (j << 6) + (lane << 3));
      }
      store<f64>(sums + (lane << 3), sum);
    }
  }
}

/** `dst` = the symmetric matrix at `h` times a block. */
export function matrixProduct(dst: usize, h: usize, block: usize, columns: usize, stride: usize): void {
  let i: usize = 0;
  for (; i + 1 < columns; i += 2) twoProducts(dst + (i << 6), h + ((i * stride) << 3), stride << 3, block, columns);
  if (i < columns) product(dst + (i << 6), h + ((i * stride) << 3), block, 0, columns);
}

// Two rows at once: what is loaded of the block serves both.
// @ts-ignore: decorator
@inline
function twoProducts(sums: usize, row: usize, step: usize, block: usize, columns: usize): void {
  if (ASC_FEATURE_SIMD) {
    let s00 = f64x2.splat(0);
    let s01 = f64x2.splat(0);
    let s02 = f64x2.splat(0);
    let s03 = f64x2.splat(0);
    let s10 = f64x2.splat(0);
    let s11 = f64x2.splat(0);
    let s12 = f64x2.splat(0);
    let s13 = f64x2.splat(0);
    for (let end = row + (columns << 3); row < end; row += 8, block += 64) {
      const f = v128.load64_splat(row);
      const g = v128.load64_splat(row + step);
      const b0 = v128.load(block);
      s00 = f64x2.add(s00, f64x2.mul(f, b0));
      s10 = f64x2.add(s10, f64x2.mul(g, b0));
      const b1 = v128.load(block, 16);
      s01 = f64x2.add(s01, f64x2.mul(f, b1));
      s11 = f64x2.add(s11, f64x2.mul(g, b1));
      const b2 = v128.load(block, 32);
      s02 = f64x2.add(s02, f64x2.mul(f, b2));
      s12 = f64x2.add(s12, f64x2.mul(g, b2));
      const b3 = v128.load(block, 48);
      s03 = f64x2.add(s03, f64x2.mul(f, b3));
      s13 = f64x2.add(s13, f64x2.mul(g, b3));
    }
    v128.store(sums, s00);
    v128.store(sums, s01, 16);
    v128.store(sums, s02, 32);
    v128.store(sums, s03, 48);
    v128.store(sums, s10, 64);
    v128.store(sums, s11, 80);
    v128.store(sums, s12, 96);
    v128.store(sums, s13, 112);
  } else {
    product(sums, row, block, 0, columns);
    product(sums + 64, row + step, block, 0, columns);
  }
}

/** `dst[lane]` = sum of `a * b`, in the order of columns. */
export function blockDots(dst: usize, a: usize, b: usize, columns: usize): void {
  for (let lane: usize = 0; lane < 8; lane++) {
    let sum: f64 = 0;
    for (let i: usize = 0; i < columns; i++) {
      const at = (i << 6) + (lane << 3);
      sum += load<f64>(a + at) * load<f64>(b + at);
    }
    store<f64>(dst + (lane << 3), sum);
  }
}

/** `errors` = weights less the values of the codes. */
export function blockErrors(errors: usize, weights: usize, codes: usize, columns: usize, values: usize, levels: usize): void {
  for (let i: usize = 0; i < columns; i++) {
    for (let lane: usize = 0; lane < 8; lane++) {
      const at = (i << 6) + (lane << 3);
      const code = <usize>load<u8>(codes + (i << 3) + lane);
      store<f64>(errors + at, load<f64>(weights + at) - load<f64>(values + ((lane * levels + code) << 3)));
    }
  }
}

/**
 * Coordinate descent on codes: from last column to first, each weight to the value that is best while all others stay.
 * `gradients` = matrix times `errors`, both kept up to date. `prices` (f64 a code, or 0 for none): what a code costs
 * beside its error. Returns how many codes changed in the last sweep; stops at a sweep without a change. Every change
 * lowers `errors' h errors` and the prices together.
 */
export function descend(
  codes: usize,
  errors: usize,
  gradients: usize,
  h: usize,
  columns: usize,
  stride: usize,
  values: usize,
  borders: usize,
  levels: usize,
  prices: usize,
  sweeps: i32,
  steps: usize,
): i32 {
  let changes = 0;
  for (let sweep = 0; sweep < sweeps; sweep++) {
    changes = 0;
    for (let i = columns - 1; <isize>i >= 0; i--) {
      const row = h + ((i * stride) << 3);
      const inverse = 1 / load<f64>(row + (i << 3));
      let moved = 0;
      for (let lane: usize = 0; lane < 8; lane++) {
        const old = <usize>load<u8>(codes + (i << 3) + lane);
        const value = load<f64>(values + ((lane * levels + old) << 3));
        const t = value + load<f64>(gradients + (i << 6) + (lane << 3)) * inverse;
        let code = search(borders + ((lane * levels) << 3), levels, t);
        if (prices) code = cheaper(values + ((lane * levels) << 3), prices, levels, code, t, load<f64>(row + (i << 3)));
        let step: f64 = 0;
        if (code != old) {
          step = load<f64>(values + ((lane * levels + code) << 3)) - value;
          store<u8>(codes + (i << 3) + lane, <u8>code);
          const at = errors + (i << 6) + (lane << 3);
          store<f64>(at, load<f64>(at) - step);
          moved++;
        }
        store<f64>(steps + (lane << 3), step);
      }
      if (moved) {
        changes += moved;
        subtractSteps(gradients, row, steps, columns);
      }
    }
    if (changes == 0) break;
  }
  return changes;
}

// From the nearest code on, up or down as long as `weight * (t - value)^2 + price` falls; the nearer one first.
function cheaper(values: usize, prices: usize, levels: usize, nearest: usize, t: f64, weight: f64): usize {
  let best = nearest;
  let least = costOf(values, prices, nearest, t, weight);
  for (let code = nearest; code > 0; code--) {
    const cost = costOf(values, prices, code - 1, t, weight);
    if (!(cost < least)) break;
    least = cost;
    best = code - 1;
  }
  for (let code = nearest + 1; code < levels; code++) {
    const cost = costOf(values, prices, code, t, weight);
    if (!(cost < least)) break;
    least = cost;
    best = code;
  }
  return best;
}

// @ts-ignore: decorator
@inline
function costOf(values: usize, prices: usize, code: usize, t: f64, weight: f64): f64 {
  const d = t - load<f64>(values + (code << 3));
  return weight * d * d + load<f64>(prices + (code << 3));
}

/** `prices` (f64 a code) = `price` times the bits of each code by how many of `count` codes (u8) are that one. */
export function codePrices(prices: usize, codes: usize, count: usize, levels: usize, price: f64): void {
  memory.fill(prices, 0, levels << 3);
  for (let i: usize = 0; i < count; i++) {
    const at = prices + (<usize>load<u8>(codes + i) << 3);
    store<f64>(at, load<f64>(at) + 1);
  }
  for (let code: usize = 0; code < levels; code++) {
    const at = prices + (code << 3);
    // what no weight has costs what one in all would
    store<f64>(at, price * (log2(<f64>count) - log2(max<f64>(1, load<f64>(at)))));
  }
}

// @ts-ignore: decorator
@inline
function subtractSteps(gradients: usize, row: usize, steps: usize, columns: usize): void {
  if (ASC_FEATURE_SIMD) {
    const d0 = v128.load(steps);
    const d1 = v128.load(steps, 16);
    const d2 = v128.load(steps, 32);
    const d3 = v128.load(steps, 48);
    for (let j: usize = 0; j < columns; j++) {
      const f = v128.load64_splat(row + (j << 3));
      const at = gradients + (j << 6);
      v128.store(at, f64x2.sub(v128.load(at), f64x2.mul(f, d0)));
      v128.store(at, f64x2.sub(v128.load(at, 16), f64x2.mul(f, d1)), 16);
      v128.store(at, f64x2.sub(v128.load(at, 32), f64x2.mul(f, d2)), 32);
      v128.store(at, f64x2.sub(v128.load(at, 48), f64x2.mul(f, d3)), 48);
    }
  } else {
    for (let j: usize = 0; j < columns; j++) {
      const f = load<f64>(row + (j << 3));
      for (let lane: usize = 0; lane < 8; lane++) {
        const at = gradients + (j << 6) + (lane << 3);
        store<f64>(at, load<f64>(at) - f * load<f64>(steps + (lane << 3)));
      }
    }
  }
}
