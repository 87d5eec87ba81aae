// Columns: a layer's inputs, one row a position, in panels of eight columns as the second moment reads them.
//
//   panel 0            panel 1
//   row 0: c0 .. c7    row 0: c8 .. c15
//   row 1: c0 .. c7    row 1: c8 .. c15        columns behind the last are zero
//   ...                ...

/**
 * Panels of the `rows` rows from `src` on, each of `columns` consecutive float32, rows `stride` bytes apart.
 * Writes `32 * rows` bytes for each eight columns.
 */
export function packRows(dst: usize, src: usize, rows: usize, columns: usize, stride: usize): void {
  for (let c: usize = 0; c < columns; c += 8) {
    const panel = dst + c * (rows << 2);
    const from = src + (c << 2);
    const n = min<usize>(8, columns - c);
    for (let r: usize = 0; r < rows; r++) {
      const to = panel + (r << 5);
      const at = from + r * stride;
      if (n == 8) {
        if (ASC_FEATURE_SIMD) {
          v128.store(to, v128.load(at));
          v128.store(to, v128.load(at, 16), 16);
        } else memory.copy(to, at, 32);
      } else for (let i: usize = 0; i < 8; i++) store<f32>(to + (i << 2), i < n ? load<f32>(at + (i << 2)) : 0);
    }
  }
}

/**
 * Panels of what a convolution sees at the output positions `first` to `first + rows` (row-major over the output), one
 * column for each channel and kernel place, channels outermost; places in the padding are zero. `src`: float32
 * channels x height x width. Output position (y, x) sees input (y * strideY - padY + ky * dilationY, and so for x).
 * Writes `32 * rows` bytes for each eight columns.
 */
export function packPatches(
  dst: usize,
  src: usize,
  channels: i32,
  height: i32,
  width: i32,
  kernelY: i32,
  kernelX: i32,
  strideY: i32,
  strideX: i32,
  padY: i32,
  padX: i32,
  dilationY: i32,
  dilationX: i32,
  outWidth: i32,
  first: i32,
  rows: i32,
): void {
  const columns = channels * kernelY * kernelX;
  const plane = <usize>height * width;
  if (ASC_FEATURE_SIMD) {
    const inside = (padY | padX) == 0 && outWidth == width && <usize>first + rows <= plane;
    if (inside && kernelY * kernelX == 1 && strideY * strideX == 1) {
      packPlanes(dst, src + (<usize>first << 2), <usize>channels, plane << 2, <usize>rows);
      return;
    }
  }
  const startY = first / outWidth;
  const startX = first - startY * outWidth;
  let column = 0;
  for (let c = 0; c < channels; c++) {
    const base = src + ((<usize>c * plane) << 2);
    for (let ky = 0; ky < kernelY; ky++) {
      for (let kx = 0; kx < kernelX; kx++, column++) {
        let to = dst + <usize>(column >> 3) * (<usize>rows << 5) + ((column & 7) << 2);
        const offX = kx * dilationX - padX;
        let y = startY * strideY + ky * dilationY - padY;
        let x = startX;
        for (let r = 0; r < rows; r++, to += 32) {
          const at = x * strideX + offX;
          const inside = <u32>y < <u32>height && <u32>at < <u32>width;
          store<f32>(to, inside ? load<f32>(base + ((<usize>y * width + at) << 2)) : 0);
          if (++x == outWidth) {
            x = 0;
            y += strideY;
          }
        }
      }
    }
  }
  for (; (column & 7) != 0; column++) {
    let to = dst + <usize>(column >> 3) * (<usize>rows << 5) + ((column & 7) << 2);
    for (let r = 0; r < rows; r++, to += 32) store<f32>(to, 0);
  }
}

// Panels of channels `step` bytes apart, `rows` values each: four rows of four channels at a time.
function packPlanes(dst: usize, src: usize, channels: usize, step: usize, rows: usize): void {
  for (let c: usize = 0; c < (channels + 7) >> 3 << 3; c += 4) {
    const to = dst + (c >> 3) * (rows << 5) + ((c & 4) << 2);
    const at = src + c * step;
    const n = c < channels ? min<usize>(4, channels - c) : 0;
    let r: usize = 0;
    for (; n == 4 && r + 3 < rows; r += 4) {
      const v0 = v128.load(at + (r << 2));
      const v1 = v128.load(at + step + (r << 2));
      const v2 = v128.load(at + 2 * step + (r << 2));
      const v3 = v128.load(at + 3 * step + (r << 2));
      const low01 = v128.shuffle<u32>(v0, v1, 0, 4, 1, 5);
      const low23 = v128.shuffle<u32>(v2, v3, 0, 4, 1, 5);
      v128.store(to + (r << 5), v128.shuffle<u64>(low01, low23, 0, 2));
      v128.store(to + (r << 5), v128.shuffle<u64>(low01, low23, 1, 3), 32);
      const high01 = v128.shuffle<u32>(v0, v1, 2, 6, 3, 7);
      const high23 = v128.shuffle<u32>(v2, v3, 2, 6, 3, 7);
      v128.store(to + (r << 5), v128.shuffle<u64>(high01, high23, 0, 2), 64);
      v128.store(to + (r << 5), v128.shuffle<u64>(high01, high23, 1, 3), 96);
    }
    for (; r < rows; r++) {
      for (let i: usize = 0; i < 4; i++) {
        store<f32>(to + (r << 5) + (i << 2), i < n ? load<f32>(at + i * step + (r << 2)) : 0);
      }
    }
  }
}
