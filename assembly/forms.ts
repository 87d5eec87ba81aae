// Forms: x' times a symmetric matrix times x, for the eight lanes of a block (f64 [columns][8], as in compensate.ts).

/**
 * `dst[lane]` = x' times the symmetric matrix at `h` times x, for the eight lanes of a block: the sum over rows of
 * `x[i] * (h[i][i] * x[i] + 2 * sum over j > i of h[i][j] * x[j])`. Reads the upper triangle alone.
 */
export function blockForms(dst: usize, h: usize, block: usize, columns: usize, stride: usize): void {
  memory.fill(dst, 0, 64);
  let i: usize = 0;
  for (; i + 1 < columns; i += 2) addTwoForms(dst, h + ((i * stride + i) << 3), stride << 3, block + (i << 6), columns - i);
  if (i < columns) addForm(dst, h + ((i * stride + i) << 3), block + (i << 6), 1);
}

// One row of a form, from its diagonal on.
// @ts-ignore: decorator
@inline
function addForm(dst: usize, row: usize, block: usize, count: usize): void {
  for (let lane: usize = 0; lane < 64; lane += 8) {
    const x = load<f64>(block + lane);
    let sum: f64 = 0;
    for (let j: usize = 1; j < count; j++) sum += load<f64>(row + (j << 3)) * load<f64>(block + (j << 6) + lane);
    store<f64>(dst + lane, load<f64>(dst + lane) + x * (load<f64>(row) * x + 2 * sum));
  }
}

// Two rows, the second from the element below the first's diagonal on.
// @ts-ignore: decorator
@inline
function addTwoForms(dst: usize, row: usize, step: usize, block: usize, count: usize): void {
  if (ASC_FEATURE_SIMD) {
    const next = v128.load64_splat(row, 8);
    // 0 first, as the scalar build begins
    const zero = f64x2.splat(0);
    let s00 = f64x2.add(zero, f64x2.mul(next, v128.load(block, 64)));
    let s01 = f64x2.add(zero, f64x2.mul(next, v128.load(block, 80)));
    let s02 = f64x2.add(zero, f64x2.mul(next, v128.load(block, 96)));
    let s03 = f64x2.add(zero, f64x2.mul(next, v128.load(block, 112)));
    let s10 = zero;
    let s11 = zero;
    let s12 = zero;
    let s13 = zero;
    let at = block + 128;
    const end = row + (count << 3);
    for (let f = row + 16; f < end; f += 8, at += 64) {
      const f0 = v128.load64_splat(f);
      const f1 = v128.load64_splat(f + step);
      const b0 = v128.load(at);
      s00 = f64x2.add(s00, f64x2.mul(f0, b0));
      s10 = f64x2.add(s10, f64x2.mul(f1, b0));
      const b1 = v128.load(at, 16);
      s01 = f64x2.add(s01, f64x2.mul(f0, b1));
      s11 = f64x2.add(s11, f64x2.mul(f1, b1));
      const b2 = v128.load(at, 32);
      s02 = f64x2.add(s02, f64x2.mul(f0, b2));
      s12 = f64x2.add(s12, f64x2.mul(f1, b2));
      const b3 = v128.load(at, 48);
      s03 = f64x2.add(s03, f64x2.mul(f0, b3));
      s13 = f64x2.add(s13, f64x2.mul(f1, b3));
    }
    const d0 = v128.load64_splat(row);
    const d1 = v128.load64_splat(row + step, 8);
    addTwoLanes(dst, d0, s00, block);
    addTwoLanes(dst + 16, d0, s01, block + 16);
    addTwoLanes(dst + 32, d0, s02, block + 32);
    addTwoLanes(dst + 48, d0, s03, block + 48);
    addTwoLanes(dst, d1, s10, block + 64);
    addTwoLanes(dst + 16, d1, s11, block + 80);
    addTwoLanes(dst + 32, d1, s12, block + 96);
    addTwoLanes(dst + 48, d1, s13, block + 112);
  } else {
    addForm(dst, row, block, count);
    addForm(dst, row + step + 8, block + 64, count - 1);
  }
}

// @ts-ignore: decorator
@inline
function addTwoLanes(dst: usize, diagonal: v128, sum: v128, block: usize): void {
  const x = v128.load(block);
  const own = f64x2.add(f64x2.mul(diagonal, x), f64x2.mul(f64x2.splat(2), sum));
  v128.store(dst, f64x2.add(v128.load(dst), f64x2.mul(x, own)));
}
