// A layer as calibration sees it: which weight it has, how it reads its inputs, and how the weight lies in memory.
import { countElements } from "../tensor.ts";

/** A convolution's geometry over height and width; one-dimensional ones have height 1. */
export interface ConvGeometry {
  readonly kernel: readonly [y: number, x: number];
  readonly strides: readonly [y: number, x: number];
  /** Padding before and behind. */
  readonly pads: readonly [top: number, left: number, bottom: number, right: number];
  readonly dilations: readonly [y: number, x: number];
}

/** A layer that multiplies its inputs with a weight, or looks rows of it up. */
export interface Layer {
  /** Name of the weight tensor. */
  readonly weight: string;
  readonly shape: readonly number[];
  /** `outer`: all weights of an output lie together (convolutions); `inner`: `[in, out]`, as in a matrix product x W. */
  readonly layout: "outer" | "inner";
  /** Weights of one output: the inputs that it sees. */
  readonly columns: number;
  /** Groups of a convolution: outputs of a group see the same inputs, those of another see others. */
  readonly groups: number;
  /** `conv`: inputs `[batch, channels, height, width]` or `[batch, channels, width]`; `product`: `[…, columns]`; `lookup`: indices. */
  readonly kind: "conv" | "product" | "lookup";
  /** Present for a convolution. */
  readonly conv?: ConvGeometry;
  /** Whether its outputs become the model's probabilities: then their error counts as it is, not beside their power. */
  readonly logits?: boolean;
}

/** Outputs of a layer. */
export function countOutputs({ shape, layout }: Layer): number {
  return (layout === "outer" ? shape[0] : shape.at(-1)) ?? 1;
}

/** Whether every group is one channel: few weights an output, of which each has a codebook's worth. */
export function isDepthwise({ groups, shape, kind }: Layer): boolean {
  return kind === "conv" && groups > 1 && shape[1] === 1;
}

/** A layer whose inputs are to be observed. */
export interface LayerOptions {
  /** Shape of its weight: `[out, in / groups, height, width]` or `[out, in / groups, width]` of a convolution, else two dimensions. */
  readonly shape: readonly number[];
  /** `outer` (default): `[out, in]`, the weights of an output lie together; `inner`: `[in, out]`. */
  readonly layout?: "outer" | "inner";
  /** `true` for an embedding: `[rows, values]`, inputs are row numbers. */
  readonly lookup?: boolean;
  /** Of a convolution. Default 1. */
  readonly groups?: number;
  /** Of a convolution, per dimension. Default 1. */
  readonly strides?: readonly number[];
  /** Of a convolution: before each dimension, then behind each, as in ONNX. Default 0. */
  readonly pads?: readonly number[];
  /** Of a convolution, per dimension. Default 1. */
  readonly dilations?: readonly number[];
}

/** The layer that options describe; throws RangeError with what is wrong. */
export function planLayer(weight: string, options: LayerOptions): Layer {
  const { shape, layout = "outer", groups = 1 } = options;
  const wrong = (what: string): RangeError => new RangeError(`layer "${weight}": ${what}`);
  countElements(shape, weight);
  const rank = shape.length;
  if (rank < 2 || rank > 4 || shape.some((dim) => dim < 1)) {
    throw wrong(`a weight has 2 to 4 dimensions that are not 0, got [${shape.join(", ")}]`);
  }
  if (options.lookup) {
    if (rank !== 2) throw wrong(`an embedding has 2 dimensions, got [${shape.join(", ")}]`);
    return { weight, shape, layout: "inner", columns: shape[0]!, groups: 1, kind: "lookup" };
  }
  if (rank === 2) {
    if (groups !== 1) throw wrong(`groups are for convolutions, got ${groups} and two dimensions`);
    const columns = layout === "inner" ? shape[0]! : shape[1]!;
    return { weight, shape, layout, columns, groups, kind: "product" };
  }
  if (layout !== "outer") throw wrong("a convolution's weight has its outputs outermost");
  if (!Number.isInteger(groups) || groups < 1 || shape[0]! % groups !== 0) {
    throw wrong(`${groups} groups do not divide ${shape[0]} outputs`);
  }
  const columns = countElements(shape.slice(1));
  return { weight, shape, layout, columns, groups, kind: "conv", conv: geometry(shape.slice(2), options, wrong) };
}

function geometry(kernel: readonly number[], options: LayerOptions, wrong: (what: string) => RangeError): ConvGeometry {
  const rank = kernel.length;
  const list = (name: "strides" | "pads" | "dilations", least: number, size: number): readonly number[] => {
    const given = options[name] ?? new Array<number>(size).fill(least);
    if (given.length === size && given.every((x) => Number.isInteger(x) && x >= least)) return given;
    throw wrong(`${name} must be ${size} integers from ${least}, got [${given.join(", ")}]`);
  };
  const pair = (values: readonly number[], flat: number): [number, number] =>
    rank === 2 ? [values[0]!, values[1]!] : [flat, values[0]!];
  const pads = list("pads", 0, 2 * rank);
  return {
    kernel: pair(kernel, 1),
    strides: pair(list("strides", 1, rank), 1),
    dilations: pair(list("dilations", 1, rank), 1),
    pads: [...pair(pads.slice(0, rank), 0), ...pair(pads.slice(rank), 0)],
  };
}
