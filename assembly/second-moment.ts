// Second moment: sums of x, of x^2, and of x x' over a layer's inputs, read as panels of eight columns (columns.ts).
//
// The sums of products are a triangle of 8 x 8 tiles of float64: tiles (0, 0) (0, 1) .. (1, 1) (1, 2) ..; what lies
// below the diagonal inside a diagonal tile is there as well. A call adds its rows in float32, in order, and that to
// float64: with at most 128 rows a call the float32 part loses less than the inputs' own rounding.

/** Adds to `sums` (f64 a column) the columns' sums, to `squares` those of their squares, in float64, row by row. */
export function columnSums(sums: usize, squares: usize, panels: usize, count: usize, rows: usize): void {
  for (let p: usize = 0; p < count; p++) {
    for (let half: usize = 0; half < 2; half++) {
      const s = sums + (p << 6) + (half << 5);
      const q = squares + (p << 6) + (half << 5);
      let at = panels + p * (rows << 5) + (half << 4);
      if (ASC_FEATURE_SIMD) {
        let s0 = v128.load(s);
        let s1 = v128.load(s, 16);
        let q0 = v128.load(q);
        let q1 = v128.load(q, 16);
        for (let r: usize = 0; r < rows; r++, at += 32) {
          const v = v128.load(at);
          const a = f64x2.promote_low_f32x4(v);
          const b = f64x2.promote_low_f32x4(v128.shuffle<u32>(v, v, 2, 3, 2, 3));
          s0 = f64x2.add(s0, a);
          s1 = f64x2.add(s1, b);
          q0 = f64x2.add(q0, f64x2.mul(a, a));
          q1 = f64x2.add(q1, f64x2.mul(b, b));
        }
        v128.store(s, s0);
        v128.store(s, s1, 16);
        v128.store(q, q0);
        v128.store(q, q1, 16);
      } else {
        for (let r: usize = 0; r < rows; r++, at += 32) {
          for (let i: usize = 0; i < 4; i++) {
            const v = <f64>load<f32>(at + (i << 2));
            store<f64>(s + (i << 3), load<f64>(s + (i << 3)) + v);
            store<f64>(q + (i << 3), load<f64>(q + (i << 3)) + v * v);
          }
        }
      }
    }
  }
}

/**
 * Adds the products of all columns of `count` panels, `rows` rows each (at most 128), to the tiles at `sums`,
 * which are `256 * count * (count + 1)` bytes.
 */
export function rankUpdate(sums: usize, panels: usize, count: usize, rows: usize): void {
  const stride = rows << 5;
  let tile = sums;
  for (let i: usize = 0; i < count; i++) {
    for (let j = i; j < count; j++, tile += 512) addTile(tile, panels + i * stride, panels + j * stride, rows);
  }
}

/**
 * The same for `batches` of panels that lie after each other, with the rows that `rows` (u32) says: as if they came one by
 * one, but every tile is fetched once for all.
 */
export function rankUpdates(sums: usize, panels: usize, count: usize, rows: usize, batches: usize): void {
  let tile = sums;
  for (let i: usize = 0; i < count; i++) {
    for (let j = i; j < count; j++, tile += 512) {
      let at = panels;
      for (let batch: usize = 0; batch < batches; batch++) {
        const n = <usize>load<u32>(rows + (batch << 2));
        const stride = n << 5;
        addTile(tile, at + i * stride, at + j * stride, n);
        at += count * stride;
      }
    }
  }
}

// Eight columns at `a` with eight at `b`. Calls, since inlined the code would be there four times.
function addTile(tile: usize, a: usize, b: usize, rows: usize): void {
  if (ASC_FEATURE_SIMD) {
    addHalfTile(tile, a, b, rows);
    addHalfTile(tile + 256, a + 16, b, rows);
  } else {
    for (let m: usize = 0; m < 8; m++) {
      for (let n: usize = 0; n < 8; n++) {
        let sum: f32 = 0;
        for (let r: usize = 0; r < rows; r++) {
          sum += load<f32>(a + (r << 5) + (m << 2)) * load<f32>(b + (r << 5) + (n << 2));
        }
        const at = tile + (m << 6) + (n << 3);
        store<f64>(at, load<f64>(at) + <f64>sum);
      }
    }
  }
}

// Four columns at `a` with eight at `b`: eight vectors of sums stay in registers.
function addHalfTile(tile: usize, a: usize, b: usize, rows: usize): void {
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s11 = f32x4.splat(0);
  let s20 = f32x4.splat(0);
  let s21 = f32x4.splat(0);
  let s30 = f32x4.splat(0);
  let s31 = f32x4.splat(0);
  const end = a + (rows << 5);
  for (; a < end; a += 32, b += 32) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    s00 = f32x4.add(s00, f32x4.mul(a0, b0));
    s01 = f32x4.add(s01, f32x4.mul(a0, b1));
    const a1 = v128.load32_splat(a, 4);
    s10 = f32x4.add(s10, f32x4.mul(a1, b0));
    s11 = f32x4.add(s11, f32x4.mul(a1, b1));
    const a2 = v128.load32_splat(a, 8);
    s20 = f32x4.add(s20, f32x4.mul(a2, b0));
    s21 = f32x4.add(s21, f32x4.mul(a2, b1));
    const a3 = v128.load32_splat(a, 12);
    s30 = f32x4.add(s30, f32x4.mul(a3, b0));
    s31 = f32x4.add(s31, f32x4.mul(a3, b1));
  }
  addRow(tile, s00, s01);
  addRow(tile + 64, s10, s11);
  addRow(tile + 128, s20, s21);
  addRow(tile + 192, s30, s31);
}

// @ts-ignore: decorator
@inline
function addRow(at: usize, low: v128, high: v128): void {
  v128.store(at, f64x2.add(v128.load(at), f64x2.promote_low_f32x4(low)));
  v128.store(at, f64x2.add(v128.load(at, 16), f64x2.promote_low_f32x4(v128.shuffle<u32>(low, low, 2, 3, 2, 3))), 16);
  v128.store(at, f64x2.add(v128.load(at, 32), f64x2.promote_low_f32x4(high)), 32);
  v128.store(at, f64x2.add(v128.load(at, 48), f64x2.promote_low_f32x4(v128.shuffle<u32>(high, high, 2, 3, 2, 3))), 48);
}

/**
 * The covariance from the sums over `n` inputs, as a float32 triangle: (0, 0) (0, 1) .. (0, columns - 1) (1, 1) ..
 * `sums`: f64 a column, `products`: the tiles. Writes `2 * columns * (columns + 1)` bytes.
 */
export function covariance(dst: usize, products: usize, sums: usize, columns: usize, n: f64): void {
  const count = (columns + 7) >> 3;
  let to = dst;
  for (let i: usize = 0; i < columns; i++) {
    const row = i >> 3;
    const mean = load<f64>(sums + (i << 3)) / n;
    // where the tile (row, 0) would be
    const tiles = products + ((row * (2 * count - row - 1)) << 8) + ((i & 7) << 6);
    for (let j = i; j < columns; j++, to += 4) {
      const product = load<f64>(tiles + ((j >> 3) << 9) + ((j & 7) << 3)) / n;
      store<f32>(to, <f32>(product - mean * (load<f64>(sums + (j << 3)) / n)));
    }
  }
}
