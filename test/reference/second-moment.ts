// Second moment: panels of columns, sums in float64, products in float32 within a call and float64 between calls.

/** Rows x columns, row-major, as panels of eight columns, zeros behind the last. */
export function panelsOf(rows: Float32Array, columns: number): Float32Array {
  const count = rows.length / columns;
  const panels = Math.ceil(columns / 8);
  const out = new Float32Array(panels * 8 * count);
  for (let r = 0; r < count; r++) {
    for (let c = 0; c < columns; c++) out[((c >> 3) * count + r) * 8 + (c & 7)] = rows[r * columns + c] as number;
  }
  return out;
}

export interface Conv {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly kernel: readonly [number, number];
  readonly strides: readonly [number, number];
  /** Before and behind. */
  readonly pads: readonly [number, number, number, number];
  readonly dilations: readonly [number, number];
}

/** Rows of what a convolution sees, one an output position: channels, kernel rows, kernel columns. */
export function patches(image: Float32Array, conv: Conv): { rows: Float32Array; outWidth: number; positions: number } {
  const { channels, height, width, kernel, strides, pads, dilations } = conv;
  const size = (axis: 0 | 1): number => {
    const length = axis === 0 ? height : width;
    const room = length + pads[axis] + pads[axis + 2]! - (kernel[axis] - 1) * dilations[axis] - 1;
    return Math.floor(room / strides[axis]) + 1;
  };
  const [outHeight, outWidth] = [size(0), size(1)];
  const rows: number[] = [];
  for (let oy = 0; oy < outHeight; oy++) {
    for (let ox = 0; ox < outWidth; ox++) {
      for (let c = 0; c < channels; c++) {
        for (let ky = 0; ky < kernel[0]; ky++) {
          for (let kx = 0; kx < kernel[1]; kx++) {
            const y = oy * strides[0] - pads[0] + ky * dilations[0];
            const x = ox * strides[1] - pads[1] + kx * dilations[1];
            const inside = y >= 0 && y < height && x >= 0 && x < width;
            rows.push(inside ? (image[(c * height + y) * width + x] as number) : 0);
          }
        }
      }
    }
  }
  return { rows: Float32Array.from(rows), outWidth, positions: outHeight * outWidth };
}

/** Adds the rows' products to `sums` (columns x columns). */
export function addProducts(sums: Float64Array, rows: Float32Array, columns: number): void {
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let r = 0; r < rows.length; r += columns) {
        sum = Math.fround(sum + Math.fround((rows[r + i] as number) * (rows[r + j] as number)));
      }
      sums[i * columns + j] = (sums[i * columns + j] as number) + sum;
    }
  }
}

/** The covariance's triangle from sums over `n` rows. */
export function covarianceOf(products: Float64Array, sums: Float64Array, columns: number, n: number): Float32Array {
  const out: number[] = [];
  for (let i = 0; i < columns; i++) {
    for (let j = i; j < columns; j++) {
      out.push((products[i * columns + j] as number) / n - ((sums[i] as number) / n) * ((sums[j] as number) / n));
    }
  }
  return Float32Array.from(out);
}
