// Observer: what the inputs of layers are like on average, summed up in Wasm memory as they come.
import { WlqError } from "../error.ts";
import type { Layer } from "../formats/layer.ts";
import { type CalibrateScope, calibrateScope } from "../wasm/calibrate.ts";
import type { LayerStatistics } from "./statistics.ts";

/** A layer's inputs, in the shape that its kind says. Row numbers of a lookup may be of any integer type. */
export interface Inputs {
  readonly data: Float32Array | Int32Array | BigInt64Array;
  readonly shape: readonly number[];
}

// Rows that the kernels take at a time: their sums are float32 within so many.
const ROWS = 128;

// Rows of a layer whose products do not fit into a cache: so many wait for each other.
const WAITING_ROWS = 256;
const WIDE = 256;

/** Bytes of sums that a layer takes, and of rows that wait to be added. */
export function sumsBytes(layer: Layer, full: boolean): number {
  if (layer.kind === "lookup") return layer.columns * 8;
  return layer.groups * groupBytes(layer, full) + (full && waits(layer) ? waitingBytes(layer) : 0);
}

function groupBytes({ columns }: Layer, full: boolean): number {
  const panels = Math.ceil(columns / 8);
  return panels * 128 + (full ? 256 * panels * (panels + 1) : 0);
}

function waits({ columns, groups }: Layer): boolean {
  return groups === 1 && columns > WIDE;
}

// numbers of rows behind the rows, at most one each
function waitingBytes({ columns }: Layer): number {
  return Math.ceil(columns / 8) * WAITING_ROWS * 32 + WAITING_ROWS * 4;
}

interface Sums {
  readonly layer: Layer;
  /** Per group: sums, then squares, then products; behind them rows that wait. */
  readonly at: number;
  readonly bytes: number;
  readonly full: boolean;
  /** Where rows wait; 0: they do not. */
  readonly waiting: number;
  readonly batches: number[];
  samples: number;
}

/** Adds up the inputs of some layers. Its memory goes with it. */
export class Observer {
  readonly #scope: CalibrateScope = calibrateScope();
  readonly #layers: Map<string, Sums> = new Map();
  readonly #panels: number;

  /** `full`: whether a layer gets all products of its inputs, or their squares alone. */
  constructor(layers: readonly Layer[], full: (layer: Layer) => boolean) {
    const kept = layers.map((layer) => ({ layer, full: layer.kind !== "lookup" && full(layer) }));
    let widest = 0;
    // all at once: a memory that grows often is copied often. It is fresh, so the sums are zeros.
    let at = this.#scope.reserve(kept.reduce((sum, one) => sum + sumsBytes(one.layer, one.full), 0));
    for (const { layer, full: all } of kept) {
      const bytes = groupBytes(layer, all);
      const waiting = all && waits(layer) ? at + bytes : 0;
      this.#layers.set(layer.weight, { layer, at, bytes, full: all, waiting, batches: [], samples: 0 });
      at += sumsBytes(layer, all);
      if (layer.kind !== "lookup") widest = Math.max(widest, layer.columns);
    }
    this.#panels = this.#scope.reserve(Math.ceil(widest / 8) * ROWS * 32);
  }

  /** Adds inputs of the layer with that weight. */
  observe(weight: string, { data, shape }: Inputs): void {
    const sums = this.#layers.get(weight);
    if (!sums) throw new RangeError(`no layer with the weight "${weight}" is observed`);
    const mark = this.#scope.mark();
    try {
      if (sums.layer.kind === "lookup") this.#lookup(sums, data);
      else if (!(data instanceof Float32Array)) throw new TypeError(`inputs of "${weight}" must be a Float32Array`);
      else if (sums.layer.conv) this.#convolution(sums, data, shape);
      else this.#product(sums, data, shape);
    } finally {
      this.#scope.release(mark);
    }
  }

  #lookup(sums: Sums, indices: Inputs["data"]): void {
    const { columns, weight } = sums.layer;
    const counts = this.#scope.f64(sums.at, columns);
    for (const value of indices) {
      const index = Number(value);
      // ONNX counts negative ones from the end
      const row = index < 0 ? index + columns : index;
      if (!(row in counts)) throw new RangeError(`inputs of "${weight}" ask for row ${index}, it has ${columns}`);
      counts[row] = (counts[row] as number) + 1;
    }
    sums.samples += indices.length;
  }

  #product(sums: Sums, data: Float32Array, shape: readonly number[]): void {
    const { columns, weight } = sums.layer;
    if (shape.at(-1) !== columns || data.length % columns !== 0) throw wrongInputs(weight, shape, `[…, ${columns}]`);
    const scope = this.#scope;
    const rows = data.length / columns;
    const src = scope.reserve(ROWS * columns * 4);
    for (let first = 0; first < rows; first += ROWS) {
      const n = Math.min(ROWS, rows - first);
      const part = data.subarray(first * columns, (first + n) * columns);
      scope.f32(src, part.length).set(part);
      const panels = this.#room(sums, n);
      scope.kernels.packRows(panels, src, n, columns, columns * 4);
      this.#add(sums, 0, panels, n);
    }
    sums.samples += rows;
  }

  #convolution(sums: Sums, data: Float32Array, shape: readonly number[]): void {
    const { groups, columns, weight, conv } = sums.layer;
    const { kernel, strides, pads, dilations } = conv!;
    const [batch = 0, all = 0, height = 0, width = 0] = shape.length === 3 ? [shape[0], shape[1], 1, shape[2]] : shape;
    const channels = columns / (kernel[0] * kernel[1]);
    const outHeight = outSize(height, kernel[0], strides[0], pads[0] + pads[2], dilations[0]);
    const outWidth = outSize(width, kernel[1], strides[1], pads[1] + pads[3], dilations[1]);
    if (all !== channels * groups || data.length !== batch * all * height * width || outHeight < 1 || outWidth < 1) {
      throw wrongInputs(weight, shape, `[batch, ${channels * groups}, height, width] with room for the kernel`);
    }
    const scope = this.#scope;
    const size = channels * height * width;
    const src = scope.reserve(size * 4);
    const positions = outHeight * outWidth;
    for (let b = 0; b < batch; b++) {
      for (let g = 0; g < groups; g++) {
        const from = (b * groups + g) * size;
        scope.f32(src, size).set(data.subarray(from, from + size));
        for (let first = 0; first < positions; first += ROWS) {
          const n = Math.min(ROWS, positions - first);
          const panels = this.#room(sums, n);
          scope.kernels.packPatches(
            panels,
            src,
            channels,
            height,
            width,
            kernel[0],
            kernel[1],
            strides[0],
            strides[1],
            pads[0],
            pads[1],
            dilations[0],
            dilations[1],
            outWidth,
            first,
            n,
          );
          this.#add(sums, g, panels, n);
        }
      }
    }
    sums.samples += batch * positions;
  }

  /** Where panels of so many rows go. */
  #room(sums: Sums, rows: number): number {
    if (!sums.waiting) return this.#panels;
    if (rowsOf(sums) + rows > WAITING_ROWS) this.#flush(sums);
    return sums.waiting + Math.ceil(sums.layer.columns / 8) * rowsOf(sums) * 32;
  }

  #add(sums: Sums, group: number, from: number, rows: number): void {
    const { layer, bytes, full, waiting, batches } = sums;
    const { kernels } = this.#scope;
    const panels = Math.ceil(layer.columns / 8);
    const at = sums.at + group * bytes;
    kernels.columnSums(at, at + panels * 64, from, panels, rows);
    if (waiting) batches.push(rows);
    else if (full) kernels.rankUpdate(at + panels * 128, from, panels, rows);
  }

  /** Adds the products of rows that wait. */
  #flush({ layer, at, waiting, batches }: Sums): void {
    if (batches.length === 0) return;
    const panels = Math.ceil(layer.columns / 8);
    const rows = waiting + panels * WAITING_ROWS * 32;
    this.#scope.i32(rows, batches.length).set(batches);
    this.#scope.kernels.rankUpdates(at + panels * 128, waiting, panels, rows, batches.length);
    batches.length = 0;
  }

  /** What came together for a layer. */
  statistics(weight: string): LayerStatistics {
    const own = this.#layers.get(weight) as Sums;
    this.#flush(own);
    const { layer, at, bytes, full, samples } = own;
    if (layer.kind === "lookup") {
      const square = Float32Array.from(this.#scope.f64(at, layer.columns), (count) => count / Math.max(1, samples));
      return { layer, samples, mean: square, square };
    }
    const { columns, groups } = layer;
    const scope = this.#scope;
    const panels = Math.ceil(columns / 8);
    const mean = new Float32Array(groups * columns);
    const square = new Float32Array(groups * columns);
    const triangle = (columns * (columns + 1)) / 2;
    const covariance = full ? new Float32Array(groups * triangle) : undefined;
    const n = Math.max(1, samples);
    for (let g = 0; g < groups; g++) {
      const sums = at + g * bytes;
      const [s, q] = [scope.f64(sums, columns), scope.f64(sums + panels * 64, columns)];
      for (let c = 0; c < columns; c++) {
        mean[g * columns + c] = (s[c] as number) / n;
        square[g * columns + c] = (q[c] as number) / n;
        if (!((q[c] as number) < Number.POSITIVE_INFINITY)) {
          throw new WlqError("non-finite", `inputs of "${weight}" have a NaN or infinity in column ${c}`, {
            tensor: weight,
          });
        }
      }
      if (covariance) {
        const mark = scope.mark();
        const to = scope.reserve(triangle * 4);
        scope.kernels.covariance(to, sums + panels * 128, sums, columns, n);
        covariance.set(scope.f32(to, triangle), g * triangle);
        scope.release(mark);
      }
    }
    return { layer, samples, mean, square, ...(covariance ? { covariance } : {}) };
  }
}

function rowsOf({ batches }: Sums): number {
  return batches.reduce((sum, rows) => sum + rows, 0);
}

function outSize(size: number, kernel: number, stride: number, pads: number, dilation: number): number {
  return Math.floor((size + pads - (kernel - 1) * dilation - 1) / stride) + 1;
}

function wrongInputs(weight: string, shape: readonly number[], wanted: string): RangeError {
  return new RangeError(`inputs of "${weight}" have the shape [${shape.join(", ")}], wanted: ${wanted}`);
}
