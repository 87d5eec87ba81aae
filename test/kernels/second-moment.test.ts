// Second moment: panels of rows and of patches, their sums and products, against plain loops.
import { expect, test } from "vitest";
import { addProducts, type Conv, covarianceOf, panelsOf, patches } from "../reference/second-moment.ts";
import { onCalibrate, sameBits } from "./instances.ts";
import { Random } from "./random.ts";

test("rows to panels", () => {
  const random = new Random(1);
  for (const columns of [1, 7, 8, 9, 16, 21]) {
    for (const rows of [1, 2, 5]) {
      const values = random.normals(rows * columns);
      const want = panelsOf(values, columns);
      const got = onCalibrate((i) => {
        const out = i.output(want.byteLength);
        i.kernels.packRows(out, i.input(values), rows, columns, columns * 4);
        return i.f32(out, want.length);
      });
      sameBits(got, want, `${rows} rows of ${columns}`);
    }
  }
});

const CONVS: readonly Conv[] = [
  { channels: 3, height: 4, width: 5, kernel: [1, 1], strides: [1, 1], pads: [0, 0, 0, 0], dilations: [1, 1] },
  { channels: 13, height: 3, width: 7, kernel: [1, 1], strides: [1, 1], pads: [0, 0, 0, 0], dilations: [1, 1] },
  { channels: 8, height: 4, width: 5, kernel: [1, 1], strides: [1, 1], pads: [0, 0, 2, 0], dilations: [1, 1] },
  { channels: 2, height: 5, width: 6, kernel: [3, 3], strides: [1, 1], pads: [1, 1, 1, 1], dilations: [1, 1] },
  { channels: 3, height: 7, width: 9, kernel: [3, 2], strides: [2, 3], pads: [0, 2, 1, 0], dilations: [2, 1] },
  { channels: 1, height: 1, width: 11, kernel: [1, 5], strides: [1, 2], pads: [0, 2, 0, 2], dilations: [1, 2] },
];

test("patches to panels, from every position on", () => {
  const random = new Random(2);
  for (const conv of CONVS) {
    const { channels, height, width, kernel, strides, pads, dilations } = conv;
    const image = random.normals(channels * height * width);
    const { rows, outWidth, positions } = patches(image, conv);
    const columns = channels * kernel[0] * kernel[1];
    for (let first = 0; first < positions; first++) {
      const count = Math.min(6, positions - first);
      const want = panelsOf(rows.subarray(first * columns, (first + count) * columns), columns);
      const got = onCalibrate((i) => {
        const out = i.output(want.byteLength);
        const src = i.input(image);
        const [a, b] = [
          [channels, height, width, ...kernel],
          [...strides, pads[0], pads[1], ...dilations],
        ] as [[number, number, number, number, number], [number, number, number, number, number, number]];
        i.kernels.packPatches(out, src, ...a, ...b, outWidth, first, count);
        return i.f32(out, want.length);
      });
      sameBits(got, want, `${JSON.stringify(conv)} from ${first}`);
    }
  }
});

test("sums, squares, products and covariance, one stretch after another", () => {
  const random = new Random(3);
  for (const columns of [1, 3, 8, 11, 24]) {
    const panels = Math.ceil(columns / 8);
    const parts = [1, 2, 128, 5].map((rows) => random.normals(rows * columns));
    const sums = new Float64Array(panels * 8);
    const squares = new Float64Array(panels * 8);
    const products = new Float64Array(columns * columns);
    let n = 0;
    for (const rows of parts) {
      addProducts(products, rows, columns);
      n += rows.length / columns;
      rows.forEach((x, e) => {
        sums[e % columns] = (sums[e % columns] as number) + x;
        squares[e % columns] = (squares[e % columns] as number) + x * x;
      });
    }
    const want = covarianceOf(products, sums, columns, n);
    const got = onCalibrate((i) => {
      const s = i.inout(new Float64Array(panels * 8));
      const q = i.inout(new Float64Array(panels * 8));
      const p = i.inout(new Float64Array(panels * (panels + 1) * 32));
      const dst = i.output(want.byteLength);
      for (const rows of parts) {
        const at = i.input(panelsOf(rows, columns));
        i.kernels.columnSums(s, q, at, panels, rows.length / columns);
        i.kernels.rankUpdate(p, at, panels, rows.length / columns);
      }
      i.kernels.covariance(dst, p, s, columns, n);
      const waited = i.inout(new Float64Array(panels * (panels + 1) * 32));
      const all = i.input(Float32Array.from(parts.flatMap((rows) => [...panelsOf(rows, columns)])));
      const counts = i.input(Uint32Array.from(parts, (rows) => rows.length / columns));
      i.kernels.rankUpdates(waited, all, panels, counts, parts.length);
      sameBits(i.f64(waited, panels * (panels + 1) * 32), i.f64(p, panels * (panels + 1) * 32), "rows that waited");
      return [i.f64(s, panels * 8), i.f64(q, panels * 8), i.f32(dst, want.length)];
    });
    sameBits(got, [sums, squares, want], `${columns} columns`);
    expect(want[0]).toBeGreaterThan(0);
  }
});
