// A plain uniform quantizer for the ONNX tests: codes, and the dense payload that the same codes stand for.
import type { CodedTensor, TensorEntry } from "../../src/formats/format.ts";
import type { Segment } from "../../src/io/segment.ts";
import { bytesOf, fromHalf, toHalf } from "./onnx-fixture.ts";

export interface CodingOptions {
  readonly levels: number;
  readonly granularity?: "tensor" | "channel" | "group";
  readonly scale?: "channel" | "group";
  readonly axis?: number;
  readonly groupSize?: number;
  /** Codes come in chunks of this many. */
  readonly chunk?: number;
}

export interface Coded {
  readonly coded: CodedTensor;
  /** In the tensor's own dtype. */
  readonly dense: Uint8Array;
  readonly values: Float32Array;
}

export function decodeFloats(dtype: string, bytes: Uint8Array): Float32Array {
  const { buffer } = bytes.slice();
  if (dtype === "F16") return Float32Array.from(new Uint16Array(buffer), fromHalf);
  if (dtype === "BF16") return new Float32Array(Uint32Array.from(new Uint16Array(buffer), (x) => x << 16).buffer);
  return dtype === "F64" ? Float32Array.from(new Float64Array(buffer)) : new Float32Array(buffer);
}

export function encodeFloats(dtype: string, values: Float32Array): Uint8Array {
  if (dtype === "F16") return bytesOf(toHalf(values));
  if (dtype === "BF16") return bytesOf(Uint16Array.from(values, (x) => toBfloat(x)));
  return bytesOf(dtype === "F64" ? Float64Array.from(values) : values);
}

function toBfloat(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0]!;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

const rounded = (dtype: string, values: Float32Array): Float32Array => decodeFloats(dtype, encodeFloats(dtype, values));

export async function code(entry: TensorEntry, options: CodingOptions): Promise<Coded> {
  const { levels, granularity = "tensor", scale, axis = entry.axis, groupSize = 64, chunk = 1000 } = options;
  const { dtype, shape } = entry;
  const weights = decodeFloats(dtype, await entry.read(0, entry.byteLength));
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const groupOf = (by: string | undefined, i: number): number =>
    by === "channel" ? Math.floor(i / inner) % (shape[axis] ?? 1) : by === "group" ? Math.floor(i / groupSize) : 0;
  const groups = (by: string | undefined): number =>
    by === "channel" ? shape[axis]! : by === "group" ? Math.ceil(weights.length / groupSize) : 1;

  // Scales that are halves, except a last one that is not: both ways of storing them are met.
  const factors = new Float32Array(groups(scale)).fill(1);
  if (scale) {
    weights.forEach((w, i) => {
      const g = groupOf(scale, i);
      factors[g] = Math.max(factors[g]!, Math.ceil(Math.abs(w) * 8) / 8);
    });
    if (groupSize % 2 === 1) factors[factors.length - 1]! *= 1.0001;
  }
  const low = new Float32Array(groups(granularity)).fill(Infinity);
  const high = new Float32Array(groups(granularity)).fill(-Infinity);
  weights.forEach((w, i) => {
    const g = groupOf(granularity, i);
    const x = w / factors[groupOf(scale, i)]!;
    low[g] = Math.min(low[g]!, x);
    high[g] = Math.max(high[g]!, x);
  });
  let codebook: Float32Array = new Float32Array(low.length * levels);
  for (let g = 0; g < low.length; g++) {
    for (let k = 0; k < levels; k++) codebook[g * levels + k] = low[g]! + ((high[g]! - low[g]!) * (k + 0.5)) / levels;
  }
  if (!scale) codebook = rounded(dtype, codebook);
  const codes = Uint8Array.from(weights, (w, i) => {
    const g = groupOf(granularity, i);
    const x = (w / factors[groupOf(scale, i)]! - low[g]!) / (high[g]! - low[g]! || 1);
    return Math.min(levels - 1, Math.max(0, Math.floor(x * levels)));
  });
  const values = rounded(
    dtype,
    Float32Array.from(
      codes,
      (c, i) => codebook[groupOf(granularity, i) * levels + c]! * (scale ? factors[groupOf(scale, i)]! : 1),
    ),
  );
  const segment: Segment = {
    byteLength: codes.length,
    async *chunks() {
      for (let at = 0; at < codes.length; at += chunk) yield codes.slice(at, at + chunk);
    },
  };
  const coded: CodedTensor = {
    levels,
    granularity,
    axis,
    groupSize,
    codebook,
    codes: segment,
    ...(scale ? { scale: { per: scale, values: factors } } : {}),
  };
  return { coded, dense: encodeFloats(dtype, values), values };
}
