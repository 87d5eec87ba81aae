// Statistics of layer inputs, and their file: safetensors, of which each weight's importance is an ordinary tensor.
import { fieldsOf, isObject, parseObject } from "../container/json.ts";
import {
  checkTensor,
  isSizes,
  type NewTensor,
  readSafetensors,
  type SafeTensor,
  safetensorsHead,
} from "../container/safetensors.ts";
import { malformed, WlqError } from "../error.ts";
import type { Layer } from "../formats/layer.ts";
import { countOutputs } from "../formats/layer.ts";
import type { Sink } from "../io/sink.ts";
import { writeAll } from "../io/sink.ts";
import { type ByteSource, byteSource, type Source } from "../io/source.ts";
import { isSize } from "../tensor.ts";

/** What inputs are like on average. */
export interface Moments {
  /** Inputs seen: positions of a convolution, rows of a product. */
  readonly samples: number;
  /** Mean of each column, groups x columns. */
  readonly mean: Float32Array;
  /** Mean square of each column, groups x columns. */
  readonly square: Float32Array;
  /** Covariance per group as a triangle: (0, 0) (0, 1) … (1, 1) (1, 2) …; absent where it was not asked for. */
  readonly covariance?: Float32Array;
}

/** What is known of a layer's inputs. */
export interface LayerStatistics extends Moments {
  readonly layer: Layer;
  /** Of inputs that no code is chosen by: they tell what the others are worth. */
  readonly heldOut?: Moments;
}

const KEY = "wlq.statistics";
const HELD_OUT = ".held-out";

/** The importance of a weight tensor: what an error costs in the layer's output, in a shape that broadcasts to it. */
function importanceOf({ layer, square }: LayerStatistics): { shape: readonly number[]; data: Float32Array } {
  const { shape, layout, groups, columns } = layer;
  if (layout === "inner") return { shape: [...shape.slice(0, -1), 1], data: square };
  if (groups === 1) return { shape: [1, ...shape.slice(1)], data: square };
  const outputs = countOutputs(layer);
  const data = new Float32Array(outputs * columns);
  for (let o = 0; o < outputs; o++) {
    const g = Math.floor((o * groups) / outputs);
    data.set(square.subarray(g * columns, (g + 1) * columns), o * columns);
  }
  return { shape, data };
}

/** Writes a statistics file: per weight its importance under its own name, `.mean` and `.covariance` beside it, `.held-out…` of others. */
export async function saveStatistics(list: readonly LayerStatistics[], sink: Sink): Promise<number> {
  const tensors: NewTensor[] = [];
  const content: Uint8Array[] = [];
  const layers: Record<string, unknown> = {};
  const add = (name: string, shape: readonly number[], data: Float32Array): void => {
    tensors.push({ name, dtype: "F32", shape, byteLength: data.byteLength });
    content.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  };
  for (const statistics of list) {
    const { layer, samples, mean, covariance, heldOut } = statistics;
    const { weight, groups, columns, layout, shape, kind, logits } = layer;
    const importance = importanceOf(statistics);
    add(weight, importance.shape, importance.data);
    if (kind !== "lookup") add(`${weight}.mean`, [groups, columns], mean);
    if (covariance) add(`${weight}.covariance`, [groups, covariance.length / groups], covariance);
    const others: Partial<Moments> = heldOut && heldOut.samples > 0 ? heldOut : {};
    if (others.square) add(`${weight}${HELD_OUT}`, [groups, columns], others.square);
    if (others.mean && kind !== "lookup") add(`${weight}${HELD_OUT}.mean`, [groups, columns], others.mean);
    if (others.covariance) {
      add(`${weight}${HELD_OUT}.covariance`, [groups, others.covariance.length / groups], others.covariance);
    }
    const extra = { ...(others.samples ? { heldOut: others.samples } : {}), ...(logits ? { logits } : {}) };
    layers[weight] = { kind, shape, layout, groups, samples, ...extra };
  }
  const head = safetensorsHead(tensors, { [KEY]: JSON.stringify(layers) });
  return await writeAll([{ sink, segments: [head, ...content] }]);
}

/** A layer with the number of inputs that were seen; its geometry is not in the file. */
type KnownLayer = Layer & { readonly samples: number; readonly heldOut?: number };

/** A statistics file, opened: tensors are read when they are wanted. */
export class StatisticsFile {
  readonly #source: ByteSource;
  readonly #tensors: ReadonlyMap<string, SafeTensor>;
  readonly #layers: ReadonlyMap<string, KnownLayer>;

  private constructor(
    source: ByteSource,
    tensors: ReadonlyMap<string, SafeTensor>,
    layers: ReadonlyMap<string, KnownLayer>,
  ) {
    this.#source = source;
    this.#tensors = tensors;
    this.#layers = layers;
  }

  /** @throws WlqError `malformed`, `truncated`; `unsupported` where the file has no statistics */
  static async open(source: Source): Promise<StatisticsFile> {
    const bytes = byteSource(source);
    const { tensors, metadata } = await readSafetensors(bytes);
    const text = Object.hasOwn(metadata, KEY) ? metadata[KEY] : undefined;
    if (text === undefined) throw new WlqError("unsupported", `the file has no ${KEY}: it was not made by calibration`);
    const layers = new Map<string, KnownLayer>();
    for (const [weight, entry] of Object.entries(parseObject(KEY, () => text))) {
      const field = fieldsOf(weight, isObject(entry) ? entry : {});
      const shape = field("shape", isSizes);
      const groups = field("groups", isSize);
      const layout = field("layout", (x): x is Layer["layout"] => x === "outer" || x === "inner");
      const kind = field("kind", (x): x is Layer["kind"] => x === "conv" || x === "product" || x === "lookup");
      const samples = field("samples", isSize);
      const heldOut = field("heldOut", (x): x is number | undefined => x === undefined || isSize(x));
      const logits = field("logits", (x): x is boolean | undefined => x === undefined || typeof x === "boolean");
      const columns = layout === "inner" ? shape.slice(0, -1) : shape.slice(1);
      const product = columns.reduce((a, b) => a * b, 1);
      if (groups < 1 || (layout === "inner" && groups !== 1) || (shape[0] ?? 0) % groups !== 0)
        throw malformed(weight, `${groups} groups in the statistics`);
      layers.set(weight, {
        weight,
        shape,
        layout,
        kind,
        groups,
        columns: product,
        samples,
        ...(heldOut ? { heldOut } : {}),
        ...(logits ? { logits } : {}),
      });
    }
    return new StatisticsFile(bytes, tensors, layers);
  }

  /** Weights that the file knows. */
  get weights(): Iterable<string> {
    return this.#layers.keys();
  }

  /** The layer with that weight, if it is known. */
  layer(weight: string): KnownLayer | undefined {
    return this.#layers.get(weight);
  }

  /** Reads what is known of a weight's inputs. */
  async read(weight: string): Promise<LayerStatistics> {
    const layer = this.#layers.get(weight);
    if (!layer) throw new WlqError("not-found", `the statistics have no weight "${weight}"`, { tensor: weight });
    const { columns, groups, samples, layout, kind } = layer;
    if (kind === "lookup") {
      const square = await this.#floats(weight, columns);
      return { layer, samples, mean: square, square };
    }
    const mean = await this.#floats(`${weight}.mean`, groups * columns);
    const outputs = layout === "outer" && groups > 1 ? countOutputs(layer) : 1;
    const importance = await this.#floats(weight, columns * outputs);
    const square = new Float32Array(groups * columns);
    for (let g = 0; g < groups; g++) {
      const from = Math.floor((g * outputs) / groups) * columns;
      square.set(importance.subarray(from, from + columns), g * columns);
    }
    return { layer, samples, mean, square, ...(await this.#covariance(weight, layer)) };
  }

  /** Reads what is known of inputs that were held out, if any were. */
  async heldOut(weight: string): Promise<Moments | undefined> {
    const layer = this.#layers.get(weight);
    if (!layer?.heldOut) return undefined;
    const { groups, columns, kind, heldOut: samples } = layer;
    const name = `${weight}${HELD_OUT}`;
    const square = await this.#floats(name, groups * columns);
    if (kind === "lookup") return { samples, mean: square, square };
    const mean = await this.#floats(`${name}.mean`, groups * columns);
    return { samples, mean, square, ...(await this.#covariance(name, layer)) };
  }

  async #covariance(of: string, { groups, columns }: Layer): Promise<Pick<Moments, "covariance">> {
    const name = `${of}.covariance`;
    if (!this.#tensors.has(name)) return {};
    return { covariance: await this.#floats(name, (groups * columns * (columns + 1)) / 2) };
  }

  async #floats(name: string, count: number): Promise<Float32Array> {
    const { offset, byteLength } = checkTensor(this.#tensors, name, "F32", count * 4);
    const bytes = await this.#source.read(offset, offset + byteLength);
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    const out = new Float32Array(aligned.buffer, aligned.byteOffset, count);
    // not findIndex: millions of values, a function call each
    for (let i = 0; i < count; i++) {
      if (Number.isFinite(out[i])) continue;
      throw new WlqError("non-finite", `tensor "${name}": value ${i} is ${out[i]}`, { tensor: name });
    }
    return out;
  }
}
