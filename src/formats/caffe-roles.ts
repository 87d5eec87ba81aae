// What a Caffe layer does with a blob: its name, whether it is a weight, and where its output channels lie.
import type { Layer } from "./caffe-net.ts";

export interface BlobRole {
  /** Appended to the layer's name. */
  readonly suffix: string;
  /** A weight matrix or filter bank. */
  readonly weight: boolean;
  readonly axis: number;
}

/** Layers whose blobs are all inner products of a recurrence: input, state, bias. */
const RECURRENT: ReadonlySet<string> = new Set(["lstm", "rnn", "gru", "recurrent"]);

/** The role of blob `index` of a layer. Forks add words to a type (`DepthwiseConvolution`): they share the role. */
export function roleOf(layer: Layer, index: number, shape: readonly number[]): BlobRole {
  const type = layer.type.toLowerCase();
  const isMatrix = shape.filter((dim) => dim > 1).length >= 2;
  if (RECURRENT.has(type)) return { suffix: `blob${index}`, weight: isMatrix, axis: 0 };
  const isInnerProduct = type.includes("innerproduct");
  if (!isInnerProduct && !type.includes("convolution") && type !== "embed")
    return { suffix: `blob${index}`, weight: false, axis: 0 };
  const suffix = index === 0 ? "weight" : index === 1 ? "bias" : `blob${index}`;
  const weight = index === 0 && isMatrix;
  if (!weight) return { suffix, weight, axis: 0 };
  // The old generations write a matrix as 1 x 1 x N x M.
  if (isInnerProduct) return { suffix, weight, axis: shape.length - (layer.transpose ? 1 : 2) };
  // [in, out / groups, …]; where every input channel is a group of its own, that channel is the output's.
  return { suffix, weight, axis: type.includes("deconvolution") && shape[1] !== 1 ? 1 : 0 };
}
