// What a model format must offer so that compress and decompress can stream its tensors.

import type { Place } from "../io/place.ts";
import type { Segment } from "../io/segment.ts";
import type { ByteSource, Resolve } from "../io/source.ts";

/** One tensor of a model file. Its payload is read in ranges, always as little-endian raw bytes. */
export interface TensorEntry {
  /** Unique within the model. */
  readonly name: string;
  /** In safetensors' spelling: F32, BF16, I64, F8_E4M3 …; dtypes that wlq does not know pass through. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Size of the raw payload in bytes. */
  readonly byteLength: number;
  /** Axis of the output channels, for `granularity: "channel"`: 0 for convolutions, 1 for an ONNX MatMul's `[in, out]`. */
  readonly axis: number;
  /** Why this tensor must stay as it is (already quantized, overridable graph input …); absent where it may be quantized. */
  readonly keep?: string;
  /** Whether the default selection takes it, size apart: false for biases, norms, look-up constants. */
  readonly weight: boolean;
  /** Where the payload lies as it is, if it can be read there without waiting, into given memory or by other threads. */
  readonly place?: Place | undefined;
  /** Payload bytes `start` to `end`. */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** The files of one output: the main one, and companions by relative name (ONNX external data). */
export interface OutputFiles {
  readonly main: readonly Segment[];
  readonly companions: ReadonlyMap<string, readonly Segment[]>;
}

/** A model that decodes its own weights. */
export interface InGraph {
  readonly files: OutputFiles;
  /** Tensors that were left as they are, since decoding them in the graph would not save bytes. */
  readonly left: readonly string[];
  /** What each coded tensor takes in the output, in bytes. */
  readonly bytes?: ReadonlyMap<string, number>;
}

/** An opened model file. */
export interface Model {
  readonly format: string;
  /** In file order. */
  readonly tensors: readonly TensorEntry[];
  /** Things the user should know: tensors left alone and why. */
  readonly warnings: readonly string[];
  /** safetensors' `__metadata__`, untouched. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** The whole file in its own format, with the payloads of the given tensors (own dtype, same size) replaced. */
  dense(payloads: ReadonlyMap<string, Segment>): Promise<OutputFiles>;
  /**
   * The file without the payloads of the `omit`ted tensors, such that `open` with `skeleton: true` lists them again
   * and `dense` puts them back. Absent for formats that are nothing but tensors (safetensors).
   */
  skeleton?(omit: ReadonlySet<string>): Promise<readonly Segment[]>;
  /** Whether the mean of a weight's outputs can be moved: there is a bias, or room for one. */
  shiftable?(weight: string): boolean;
  /** The model with what is given added to the outputs of these weights; tensors keep their names and order. */
  shifted?(shifts: ReadonlyMap<string, Float32Array>): Promise<Model>;
  /** The file with the given tensors decoded inside the model; absent for formats without a graph. */
  inGraph?(coded: ReadonlyMap<string, CodedTensor>): Promise<InGraph>;
  /** Bytes of the companion files that the model refers to. */
  readonly companionBytes?: number;
}

/** Options of {@link Format.open}. */
export interface OpenOptions {
  /** Finds companion files; absent: a model that needs one is refused. */
  readonly resolve?: Resolve;
  /** The bytes are what `Model.skeleton` made: payloads may be missing. */
  readonly skeleton?: boolean;
}

/** A model format, handed to `compress` as `formats: [onnx()]`. */
export interface Format {
  readonly name: string;
  /** Whether a file that begins with `head` (up to 64 bytes) and has `byteLength` bytes may be of this format. */
  detect(head: Uint8Array, byteLength: number): boolean;
  open(source: ByteSource, options: OpenOptions): Promise<Model>;
}

/** A tensor as codes and values, for writers that decode inside the model (`--to onnx`). */
export interface CodedTensor {
  readonly levels: number;
  readonly granularity: "tensor" | "channel" | "group";
  /** Channel granularity or channel scale: the axis, 0 <= axis < rank. */
  readonly axis: number;
  /** Group granularity or group scale: weights a group, consecutive in row-major order; the last may be short. */
  readonly groupSize: number;
  /** `groups x levels` values, each group ascending. */
  readonly codebook: Float32Array;
  /** A factor per channel or group before a shared codebook: weight = fround(scale * value), rounded to the dtype. */
  readonly scale?: { readonly per: "channel" | "group"; readonly values: Float32Array };
  /** One byte a code, in the tensor's row-major order; `byteLength` is the element count. */
  readonly codes: Segment;
}
