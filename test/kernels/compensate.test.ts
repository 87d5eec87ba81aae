// Compensate: sums of the matrix by codes, forms of a block and the matrix after its factor, against plain loops.
import { expect, test } from "vitest";
import { onCalibrate, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

const LANES = 8;
const SIZES = [1, 2, 3, 15, 16, 17, 18, 33, 70];

/** A symmetric matrix of rows, positive definite, with zeros behind its columns. */
function matrixOf(random: Random, columns: number): { h: Float64Array; stride: number } {
  const stride = (columns + 3) & ~3;
  const h = new Float64Array(stride * stride);
  const rows = random.normals(columns * columns);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = i === j ? 0.1 : 0;
      for (let k = 0; k < columns; k++) sum += (rows[i * columns + k] as number) * (rows[j * columns + k] as number);
      h[i * stride + j] = sum;
      h[j * stride + i] = sum;
    }
  }
  return { h, stride };
}

test("moments of codes: rows by code in stretches of 16 columns, then columns by code", () => {
  const random = new Random(5);
  for (const columns of SIZES) {
    for (const [levels, lanes] of [
      [2, 8],
      [4, 3],
      [16, 8],
    ] as const) {
      const { h, stride } = matrixOf(random, columns);
      const gradients = Float64Array.from(random.normals(columns * LANES));
      const codes = Uint8Array.from(random.normals(columns * LANES), (x) => Math.abs(Math.round(x * 7)) % levels);
      const wantMoments = new Float64Array(lanes * levels * levels);
      const wantSums = new Float64Array(lanes * levels);
      for (let lane = 0; lane < lanes; lane++) {
        const code = (i: number): number => codes[i * LANES + lane] as number;
        const own = new Float64Array(levels);
        const left = new Float64Array(levels * levels);
        for (let i = 0; i < columns; i++) {
          own[code(i)]! += h[i * stride + i] as number;
          wantSums[lane * levels + code(i)]! += gradients[i * LANES + lane] as number;
        }
        for (let first = 0; first < columns; first += 16) {
          for (let j = first; j < Math.min(first + 16, columns); j++) {
            for (let u = 0; u < levels; u++) {
              let sum = 0;
              for (let i = j + 1; i < columns; i++) if (code(i) === u) sum += h[i * stride + j] as number;
              left[u * levels + code(j)]! += sum;
            }
          }
        }
        for (let u = 0; u < levels; u++) {
          for (let v = u; v < levels; v++) {
            const [a, b] = [left[u * levels + v] as number, left[v * levels + u] as number];
            wantMoments[(lane * levels + u) * levels + v] = u === v ? (own[u] as number) + 2 * a : a + b;
          }
        }
      }
      const got = onCalibrate((i) => {
        const moments = i.output(wantMoments.byteLength);
        const sums = i.output(wantSums.byteLength);
        const [at, g, c] = [i.input(h), i.input(gradients), i.input(codes)];
        const scratch = i.output(1088 * levels);
        i.kernels.codeMoments(moments, sums, at, g, c, columns, stride, lanes, levels, scratch);
        const upper = i.f64(moments, wantMoments.length).map((x, e) => {
          return Math.floor(e / levels) % levels <= e % levels ? x : 0;
        });
        return [upper, i.f64(sums, wantSums.length)];
      });
      sameBits(got, [wantMoments, wantSums], `${columns} columns, ${levels} levels`);
    }
  }
});

test("forms of a block, by the upper triangle", () => {
  const random = new Random(6);
  for (const columns of SIZES) {
    const { h, stride } = matrixOf(random, columns);
    const block = Float64Array.from(random.normals(columns * LANES));
    const want = new Float64Array(LANES);
    for (let i = 0; i < columns; i++) {
      for (let lane = 0; lane < LANES; lane++) {
        let sum = 0;
        for (let j = i + 1; j < columns; j++) {
          sum += (h[i * stride + j] as number) * (block[j * LANES + lane] as number);
        }
        const x = block[i * LANES + lane] as number;
        want[lane]! += x * ((h[i * stride + i] as number) * x + 2 * sum);
      }
    }
    const upper = h.map((x, e) => (e % stride >= Math.floor(e / stride) ? x : Number.NaN));
    const got = onCalibrate((i) => {
      const dst = i.output(want.byteLength);
      i.kernels.blockForms(dst, i.input(upper), i.input(block), columns, stride);
      return i.f64(dst, LANES);
    });
    sameBits(got, want, `${columns} columns`);
  }
});

test("a matrix from its triangle, factored, and as it was before", () => {
  const random = new Random(7);
  for (const columns of SIZES) {
    const { h, stride } = matrixOf(random, columns);
    const order = random.normals(columns);
    const places = Int32Array.from({ length: columns }, (_, c) => c).sort(
      (a, b) => (order[a] as number) - (order[b] as number),
    );
    const triangle: number[] = [];
    for (let i = 0; i < columns; i++) for (let j = i; j < columns; j++) triangle.push(h[i * stride + j] as number);
    const want = new Float64Array(stride * stride);
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) {
        const x = Math.fround(h[(places[i] as number) * stride + (places[j] as number)] as number);
        want[i * stride + j] = i === j ? x + 0.25 : x;
      }
    }
    const [filled, factor, restored] = onCalibrate((i) => {
      const at = i.output(want.byteLength);
      i.kernels.fillMatrix(at, i.input(Float32Array.from(triangle)), 0, i.input(places), columns, stride, 0.25);
      const before = i.f64(at, want.length);
      const tiles = i.output(32 * stride);
      i.kernels.keepDiagonal(tiles, at, stride);
      expect(i.kernels.cholesky(at, columns, stride, 0, i.output(256 * stride))).toBe(columns);
      const upper = i.f64(at, want.length).map((x, e) => (e % stride >= Math.floor(e / stride) ? x : 0));
      i.kernels.restoreMatrix(at, tiles, stride);
      return [before, upper, i.f64(at, want.length)];
    }) as [Float64Array, Float64Array, Float64Array];
    sameBits(filled, want, `${columns} columns, filled`);
    sameBits(restored, want, `${columns} columns, restored`);
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) {
        let sum = 0;
        for (let k = 0; k <= Math.min(i, j); k++) {
          sum += (factor[k * stride + i] as number) * (factor[k * stride + j] as number);
        }
        expect(Math.abs(sum - (want[i * stride + j] as number))).toBeLessThan(1e-9 * columns);
      }
    }
  }
});
