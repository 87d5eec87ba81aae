// Graph: a TensorFlow.js graph model's layers, their weights as wlq reads them, and what they see.
import type { GraphModel } from "@tensorflow/tfjs-converter";
import { type io, type Tensor as TfTensor, transpose } from "@tensorflow/tfjs-core";
import { createObserver, type LayerObserver, type LayerOptions } from "../../src/calibrate/index.ts";
import type { Sink } from "../../src/io/sink.ts";
import { countElements, type Tensor } from "../../src/tensor.ts";

/** A node of the graph as the file has it, as far as it is needed here. */
interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: Readonly<Record<string, { readonly s?: string; readonly list?: { readonly i?: readonly string[] } }>>;
}

interface Convolution {
  /** Name of the first of all tensors with these values. */
  readonly weight: string;
  /** The node whose output it reads, `[batch, height, width, channels]`. */
  readonly input: string;
  readonly strides: readonly [y: number, x: number];
  readonly padded: boolean;
}

/** A model's float32 weights, each distinct tensor once; those of convolutions as `[out, in, height, width]`. */
export interface Graph {
  readonly weights: Readonly<Record<string, Tensor>>;
  readonly convolutions: readonly Convolution[];
  /** The model with other values. */
  withWeights(weights: Readonly<Record<string, Float32Array>>): io.ModelArtifacts;
}

const CONVOLUTIONS = new Set(["Conv2D", "_FusedConv2D"]);

export function openGraph(artifacts: io.ModelArtifacts): Graph {
  const { node: nodes } = artifacts.modelTopology as { node: readonly GraphNode[] };
  const specs = artifacts.weightSpecs as readonly io.WeightsManifestEntry[];
  const all = new Uint8Array(artifacts.weightData as ArrayBuffer);
  const kernels = new Set(nodes.flatMap(({ op, input }) => (CONVOLUTIONS.has(op) ? [input?.[1] as string] : [])));
  const weights: Record<string, Tensor> = {};
  // a filter bank that is applied to several octaves is there once for each
  const owners = new Map<string, string>();
  const ownerOf = new Map<string, string>();
  let at = 0;
  for (const { name, shape, dtype } of specs) {
    const bytes = all.slice(at, at + countElements(shape) * (dtype === "bool" ? 1 : 4));
    at += bytes.length;
    if (dtype !== "float32") continue;
    const key = `${shape} ${Buffer.from(bytes).toString("base64")}`;
    const owner = owners.get(key) ?? name;
    owners.set(key, owner);
    ownerOf.set(name, owner);
    if (owner !== name) continue;
    const data = new Float32Array(bytes.buffer);
    weights[name] = kernels.has(name) ? outermost(data, shape) : { data, shape };
  }
  const convolutions = nodes.flatMap(({ op, input, attr }): Convolution[] => {
    const weight = ownerOf.get(input?.[1] ?? "");
    if (!CONVOLUTIONS.has(op) || !weight) return [];
    const [, y = 1, x = 1] = (attr?.strides?.list?.i ?? []).map(Number);
    const padded = Buffer.from(attr?.padding?.s ?? "", "base64").toString() === "SAME";
    return [{ weight, input: input?.[0] as string, strides: [y, x], padded }];
  });
  return {
    weights,
    convolutions,
    withWeights(values) {
      const weightData = all.slice().buffer;
      let to = 0;
      for (const { name, shape, dtype } of specs) {
        const count = countElements(shape);
        const own = values[ownerOf.get(name) ?? ""];
        const at32 = to;
        to += count * (dtype === "bool" ? 1 : 4);
        if (dtype !== "float32" || !own) continue;
        const data = kernels.has(name) ? innermost(own, shape) : own;
        new Uint8Array(weightData).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at32);
      }
      return { ...artifacts, weightData };
    },
  };
}

/** `[height, width, in, out]` as `[out, in, height, width]`. */
function outermost(data: Float32Array, shape: readonly number[]): Tensor {
  const [height, width, inputs, outputs] = shape as [number, number, number, number];
  const places = height * width;
  const out = new Float32Array(data.length);
  data.forEach((w, i) => {
    const o = i % outputs;
    const c = Math.floor(i / outputs) % inputs;
    out[(o * inputs + c) * places + Math.floor(i / outputs / inputs)] = w;
  });
  return { data: out, shape: [outputs, inputs, height, width] };
}

/** The way back. */
function innermost(data: Float32Array, shape: readonly number[]): Float32Array {
  const [height, width, inputs, outputs] = shape as [number, number, number, number];
  const places = height * width;
  return Float32Array.from(data, (_, i) => {
    const o = i % outputs;
    const c = Math.floor(i / outputs) % inputs;
    return data[(o * inputs + c) * places + Math.floor(i / outputs / inputs)] as number;
  });
}

/** Runs the model on samples and writes the statistics of what its convolutions read. */
export async function calibrateGraph(
  model: GraphModel,
  { weights, convolutions }: Graph,
  samples: Iterable<TfTensor>,
  sink: Sink,
): Promise<number> {
  const names = [...new Set(convolutions.map(({ input }) => input))];
  let observer: LayerObserver | undefined;
  for (const sample of samples) {
    const values = [model.execute(sample, names)].flat();
    const seen = new Map<string, Tensor>();
    for (const [i, value] of values.entries()) seen.set(names[i] as string, await channelsFirst(value));
    const each = convolutions.map((one) => {
      const input = seen.get(one.input) as Tensor;
      return { weight: one.weight, input, layer: geometry(one, (weights[one.weight] as Tensor).shape, input.shape) };
    });
    // a weight has one geometry: one that is read in several is shown what each reads, cut out
    const shared = new Set(
      each.flatMap(({ weight }, i) => (each.some((b, j) => j < i && b.weight === weight) ? weight : [])),
    );
    observer ??= await createObserver(
      Object.fromEntries(
        each.map(({ weight, layer }) => [
          weight,
          shared.has(weight) ? { shape: layer.shape, strides: layer.shape.slice(2) } : layer,
        ]),
      ),
    );
    for (const { weight, input, layer } of each) {
      observer.observe(weight, shared.has(weight) ? cutOut(input, layer) : input);
    }
    for (const value of values) value.dispose();
  }
  if (!observer) throw new RangeError("there are no samples");
  return observer.save(sink);
}

async function channelsFirst(value: TfTensor): Promise<Tensor> {
  const [batch, height, width, channels] = value.shape as [number, number, number, number];
  const turned = transpose(value, [0, 3, 1, 2]);
  const data = (await turned.data()) as Float32Array;
  turned.dispose();
  return { data, shape: [batch, channels, height, width] };
}

type Geometry = Required<Pick<LayerOptions, "shape" | "strides" | "pads">>;

/** What `wlq/calibrate` is told of a convolution; "SAME" pads as much as gives an output for every step. */
function geometry({ strides, padded }: Convolution, kernel: readonly number[], input: readonly number[]): Geometry {
  const pads = [0, 1].map((d) => {
    const [size = 1, k = 1, stride = 1] = [input[d + 2], kernel[d + 2], strides[d]];
    return padded ? Math.max(0, (Math.ceil(size / stride) - 1) * stride + k - size) : 0;
  });
  const before = pads.map((p) => Math.floor(p / 2));
  return { shape: kernel, strides, pads: [...before, ...pads.map((p, d) => p - (before[d] as number))] };
}

/** All that a kernel of one row gets to see, side by side, so that it steps from one to the next by its own width. */
function cutOut({ data, shape }: Tensor, { shape: kernel, strides, pads }: Geometry): Tensor {
  const [batch, channels, height, width] = shape as [number, number, number, number];
  const [, , rows, columns] = kernel as [number, number, number, number];
  if (batch !== 1 || height !== 1 || rows !== 1) throw new RangeError("weights in two places: of one row only");
  const stride = strides[1] as number;
  const left = pads[1] as number;
  const count = Math.floor((width + left + (pads[3] as number) - columns) / stride) + 1;
  const out = new Float32Array(channels * count * columns);
  for (let c = 0; c < channels; c++) {
    for (let n = 0; n < count; n++) {
      const from = n * stride - left;
      const part = data.subarray(c * width + Math.max(0, from), c * width + Math.min(width, from + columns));
      out.set(part, (c * count + n) * columns + Math.max(0, -from));
    }
  }
  return { data: out, shape: [1, channels, 1, count * columns] };
}
