// Code moments: sums of a layer's matrix and of gradients over the weights that have a code, eight outputs at a time.
//
// Codes are u8 [columns][8], gradients f64 [columns][8], as blocks in compensate.ts.

// Columns that are added up at a time: a row of them is in registers for all lanes, their sums by code in the nearest cache.
const STRETCH: usize = 16;

/**
 * What a least-squares fit of each lane's values needs: `moments` (f64 [8][levels][levels], upper triangles) = sums of the
 * matrix over pairs of codes, `sums` (f64 [8][levels]) = sums of the gradients by code. Left of the diagonal, stretch after
 * stretch of columns, rows are added up by code, then their columns. `scratch`: `1088 * levels` bytes.
 */
export function codeMoments(
  moments: usize,
  sums: usize,
  h: usize,
  gradients: usize,
  codes: usize,
  columns: usize,
  stride: usize,
  lanes: usize,
  levels: usize,
  scratch: usize,
): void {
  const own = scratch + (levels << 10);
  memory.fill(moments, 0, (lanes * levels * levels) << 3);
  memory.fill(sums, 0, (lanes * levels) << 3);
  memory.fill(own, 0, (lanes * levels) << 3);
  for (let i: usize = 0; i < columns; i++) {
    const diagonal = load<f64>(h + ((i * stride + i) << 3));
    for (let lane: usize = 0; lane < lanes; lane++) {
      const code = (lane * levels + <usize>load<u8>(codes + (i << 3) + lane)) << 3;
      store<f64>(own + code, load<f64>(own + code) + diagonal);
      store<f64>(sums + code, load<f64>(sums + code) + load<f64>(gradients + (i << 6) + (lane << 3)));
    }
  }
  for (let first: usize = 0; first + 1 < columns; first += STRETCH) {
    memory.fill(scratch, 0, (lanes * levels) << 7);
    addCorner(scratch, h + (first << 3), codes, first, min(first + STRETCH, columns), stride, lanes, levels);
    for (let i = first + STRETCH; i < columns; i++) {
      addRow(scratch, h + ((i * stride + first) << 3), codes + (i << 3), lanes, levels);
    }
    for (let lane: usize = 0; lane < lanes; lane++) {
      const own = moments + ((lane * levels * levels) << 3);
      for (let j = first; j < min(first + STRETCH, columns); j++) {
        const to = own + ((<usize>load<u8>(codes + (j << 3) + lane) * levels) << 3);
        addColumn(to, scratch + ((lane * levels) << 7) + ((j - first) << 3), levels);
      }
    }
  }
  for (let lane: usize = 0; lane < lanes; lane++) {
    fold(moments + ((lane * levels * levels) << 3), own + ((lane * levels) << 3), levels);
  }
}

// Rows that have part of the stretch left of the diagonal: at[lane][code of row i][j - first] += h[i][j] for first <= j < i.
function addCorner(
  at: usize,
  h: usize,
  codes: usize,
  first: usize,
  last: usize,
  stride: usize,
  lanes: usize,
  levels: usize,
): void {
  for (let i = first + 1; i < last; i++) {
    for (let lane: usize = 0; lane < lanes; lane++) {
      const to = at + ((lane * levels + <usize>load<u8>(codes + (i << 3) + lane)) << 7);
      for (let j: usize = 0; j < (i - first) << 3; j += 8) {
        store<f64>(to + j, load<f64>(to + j) + load<f64>(h + ((i * stride) << 3) + j));
      }
    }
  }
}

// at[lane][code][j] += row[j] for the code that the row has in each lane
// @ts-ignore: decorator
@inline
function addRow(at: usize, row: usize, codes: usize, lanes: usize, levels: usize): void {
  if (ASC_FEATURE_SIMD) {
    const r0 = v128.load(row);
    const r1 = v128.load(row, 16);
    const r2 = v128.load(row, 32);
    const r3 = v128.load(row, 48);
    const r4 = v128.load(row, 64);
    const r5 = v128.load(row, 80);
    const r6 = v128.load(row, 96);
    const r7 = v128.load(row, 112);
    for (const end = codes + lanes; codes < end; codes++, at += levels << 7) {
      const to = at + (<usize>load<u8>(codes) << 7);
      v128.store(to, f64x2.add(v128.load(to), r0));
      v128.store(to, f64x2.add(v128.load(to, 16), r1), 16);
      v128.store(to, f64x2.add(v128.load(to, 32), r2), 32);
      v128.store(to, f64x2.add(v128.load(to, 48), r3), 48);
      v128.store(to, f64x2.add(v128.load(to, 64), r4), 64);
      v128.store(to, f64x2.add(v128.load(to, 80), r5), 80);
      v128.store(to, f64x2.add(v128.load(to, 96), r6), 96);
      v128.store(to, f64x2.add(v128.load(to, 112), r7), 112);
    }
  } else {
    for (let lane: usize = 0; lane < lanes; lane++) {
      const to = at + ((lane * levels + <usize>load<u8>(codes + lane)) << 7);
      for (let j: usize = 0; j < STRETCH << 3; j += 8) store<f64>(to + j, load<f64>(to + j) + load<f64>(row + j));
    }
  }
}

// to[code] += sums[code][0]; a power of two of codes
// @ts-ignore: decorator
@inline
function addColumn(to: usize, sums: usize, levels: usize): void {
  if (ASC_FEATURE_SIMD) {
    for (const end = to + (levels << 3); to < end; to += 16, sums += 256) {
      const two = v128.load64_lane(sums, v128.load64_zero(sums), 1, 128);
      v128.store(to, f64x2.add(v128.load(to), two));
    }
  } else {
    for (let code: usize = 0; code < levels; code++) {
      store<f64>(to + (code << 3), load<f64>(to + (code << 3)) + load<f64>(sums + (code << 7)));
    }
  }
}

// Sums left of the diagonal, column's code by row's code, to those of the whole matrix.
function fold(moments: usize, own: usize, levels: usize): void {
  for (let u: usize = 0; u < levels; u++) {
    const twice = moments + ((u * levels + u) << 3);
    store<f64>(twice, load<f64>(own + (u << 3)) + 2 * load<f64>(twice));
    for (let v = u + 1; v < levels; v++) {
      const at = moments + ((u * levels + v) << 3);
      store<f64>(at, load<f64>(at) + load<f64>(moments + ((v * levels + u) << 3)));
    }
  }
}
