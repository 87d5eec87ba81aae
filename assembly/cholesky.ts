// Cholesky: a symmetric matrix as R' R, R upper triangular, in blocks of rows, all float64.

// Rows that are factored before the rest is updated: 32 products a loaded element.
const BLOCK: usize = 32;

/**
 * The square matrix at `dst` (f64, `stride` x `stride`, zeros behind `columns`) from a covariance triangle (f32, see
 * second-moment.ts): row and column i stand for column `order[i]` (i32) of the triangle. Adds `mean[i] * mean[j]`
 * (f32, or 0 for none), and `damping` to the diagonal.
 */
export function fillMatrix(
  dst: usize,
  triangle: usize,
  mean: usize,
  order: usize,
  columns: usize,
  stride: usize,
  damping: f64,
): void {
  memory.fill(dst, 0, (stride * stride) << 3);
  for (let i: usize = 0; i < columns; i++) {
    const a = <usize>load<u32>(order + (i << 2));
    for (let j = i; j < columns; j++) {
      const b = <usize>load<u32>(order + (j << 2));
      const low = min(a, b);
      const high = max(a, b);
      const at = ((low * (2 * columns - low - 1)) >> 1) + high;
      let v = <f64>load<f32>(triangle + (at << 2));
      if (mean) v += <f64>load<f32>(mean + (a << 2)) * <f64>load<f32>(mean + (b << 2));
      if (i == j) v += damping;
      store<f64>(dst + ((i * stride + j) << 3), v);
      // in a tile on the diagonal
      if (j >> 2 == i >> 2) store<f64>(dst + ((j * stride + i) << 3), v);
    }
  }
  mirror(dst, stride, true);
}

/** Keeps the tiles of 4 x 4 on the diagonal for `restoreMatrix`: writes `32 * stride` bytes. */
export function keepDiagonal(dst: usize, h: usize, stride: usize): void {
  for (let i: usize = 0; i < stride; i++, dst += 32) copyFour(dst, h + ((i * stride + (i & ~3)) << 3));
}

/** The matrix as it was before `cholesky`, from what lies below the diagonal and the tiles that `keepDiagonal` wrote. */
export function restoreMatrix(h: usize, tiles: usize, stride: usize): void {
  for (let i: usize = 0; i < stride; i++, tiles += 32) copyFour(h + ((i * stride + (i & ~3)) << 3), tiles);
  mirror(h, stride, false);
}

// Rows and columns that are mirrored together: their pages of memory are at hand.
const NEAR: usize = 32;

// What lies below the diagonal from what lies above it, or the other way round, but for the tiles of 4 x 4 on it.
function mirror(h: usize, stride: usize, below: bool): void {
  for (let first: usize = 0; first < stride; first += NEAR) {
    for (let left: usize = 0; left <= first; left += NEAR) {
      for (let i = first; i < min(first + NEAR, stride); i++) {
        for (let j = left; j < min(left + NEAR, i & ~3); j++) {
          const low = h + ((i * stride + j) << 3);
          const high = h + ((j * stride + i) << 3);
          if (below) store<f64>(low, load<f64>(high));
          else store<f64>(high, load<f64>(low));
        }
      }
    }
  }
}

/**
 * Puts R into the upper triangle of the matrix at `h`; `stride` is a multiple of 4. Returns `columns`, or the row whose
 * pivot is not above `least`. `scratch`: `256 * stride` bytes. Below the diagonal nothing is read, and nothing written but
 * in the tiles of 4 x 4 on it.
 */
export function cholesky(h: usize, columns: usize, stride: usize, least: f64, scratch: usize): usize {
  const row = stride << 3;
  for (let first: usize = 0; first < columns; first += BLOCK) {
    const last = min(first + BLOCK, columns);
    for (let k = first; k < last; k++) {
      const at = h + k * row;
      for (let m = first; m < k; m++) subtractRow(at, h + m * row, load<f64>(h + m * row + (k << 3)), k, stride);
      const pivot = load<f64>(at + (k << 3));
      if (!(pivot > least)) return k;
      scaleRow(at, 1 / sqrt<f64>(pivot), k, stride);
    }
    if (last < columns) {
      packBlock(scratch, h + first * row, row, last, stride);
      for (let i = last; i < columns; i += 4) {
        for (let j = i; j < stride; j += 4) {
          subtractTile(h + i * row + (j << 3), row, scratch + ((i - last) << 8), scratch + ((j - last) << 8));
        }
      }
    }
  }
  return columns;
}

// at[j] -= factor * from[j] for j >= k, a multiple of two taken downwards: what lies below the diagonal is free
// @ts-ignore: decorator
@inline
function subtractRow(at: usize, from: usize, factor: f64, k: usize, stride: usize): void {
  if (ASC_FEATURE_SIMD) {
    const f = f64x2.splat(factor);
    for (let j = (k & ~1) << 3; j < stride << 3; j += 16) {
      v128.store(at + j, f64x2.sub(v128.load(at + j), f64x2.mul(f, v128.load(from + j))));
    }
  } else {
    for (let j = (k & ~1) << 3; j < stride << 3; j += 8) {
      store<f64>(at + j, load<f64>(at + j) - factor * load<f64>(from + j));
    }
  }
}

// @ts-ignore: decorator
@inline
function scaleRow(at: usize, factor: f64, k: usize, stride: usize): void {
  for (let j = k << 3; j < stride << 3; j += 8) store<f64>(at + j, load<f64>(at + j) * factor);
}

// BLOCK rows as tiles of four columns: tile (j - last) / 4 holds row after row.
function packBlock(dst: usize, from: usize, row: usize, last: usize, stride: usize): void {
  for (let j = last; j < stride; j += 4) {
    let at = from + (j << 3);
    for (let k: usize = 0; k < BLOCK; k++, at += row, dst += 32) copyFour(dst, at);
  }
}

// memory.copy would be a call
// @ts-ignore: decorator
@inline
function copyFour(dst: usize, src: usize): void {
  if (ASC_FEATURE_SIMD) {
    v128.store(dst, v128.load(src));
    v128.store(dst, v128.load(src, 16), 16);
  } else memory.copy(dst, src, 32);
}

// Four rows, four columns, less the products of BLOCK rows at `a` (tile of the rows) and `b` (tile of the columns).
// @ts-ignore: decorator
@inline
function subtractTile(at: usize, row: usize, a: usize, b: usize): void {
  if (ASC_FEATURE_SIMD) {
    let s00 = v128.load(at);
    let s01 = v128.load(at, 16);
    let s10 = v128.load(at + row);
    let s11 = v128.load(at + row, 16);
    let s20 = v128.load(at + 2 * row);
    let s21 = v128.load(at + 2 * row, 16);
    let s30 = v128.load(at + 3 * row);
    let s31 = v128.load(at + 3 * row, 16);
    for (let end = a + BLOCK * 32; a < end; a += 32, b += 32) {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      const a0 = v128.load64_splat(a);
      s00 = f64x2.sub(s00, f64x2.mul(a0, b0));
      s01 = f64x2.sub(s01, f64x2.mul(a0, b1));
      const a1 = v128.load64_splat(a, 8);
      s10 = f64x2.sub(s10, f64x2.mul(a1, b0));
      s11 = f64x2.sub(s11, f64x2.mul(a1, b1));
      const a2 = v128.load64_splat(a, 16);
      s20 = f64x2.sub(s20, f64x2.mul(a2, b0));
      s21 = f64x2.sub(s21, f64x2.mul(a2, b1));
      const a3 = v128.load64_splat(a, 24);
      s30 = f64x2.sub(s30, f64x2.mul(a3, b0));
      s31 = f64x2.sub(s31, f64x2.mul(a3, b1));
    }
    v128.store(at, s00);
    v128.store(at, s01, 16);
    v128.store(at + row, s10);
    v128.store(at + row, s11, 16);
    v128.store(at + 2 * row, s20);
    v128.store(at + 2 * row, s21, 16);
    v128.store(at + 3 * row, s30);
    v128.store(at + 3 * row, s31, 16);
  } else {
    for (let m: usize = 0; m < 4; m++) {
      for (let n: usize = 0; n < 4; n++) {
        const to = at + m * row + (n << 3);
        let sum = load<f64>(to);
        for (let k: usize = 0; k < BLOCK; k++) {
          sum -= load<f64>(a + (k << 5) + (m << 3)) * load<f64>(b + (k << 5) + (n << 3));
        }
        store<f64>(to, sum);
      }
    }
  }
}
