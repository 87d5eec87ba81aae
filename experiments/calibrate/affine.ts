// Affine: integers with a scale and a zero point, as the usual tools make them, in place of a model's weights.

import type { Model } from "../../src/formats/format.ts";
import type { Segment } from "../../src/io/segment.ts";

export interface AffineSetting {
  readonly bits: 8 | 4;
  /** What shares a scale: a tensor, an output channel, or 32 weights in a row. */
  readonly per: "tensor" | "channel" | "block";
}

export const AFFINE: readonly AffineSetting[] = [8, 4].flatMap((bits) =>
  (["tensor", "channel", "block"] as const).map((per) => ({ bits, per }) as AffineSetting),
);

const BLOCK = 32;

interface Affine {
  readonly values: Float32Array;
  /** One byte a code, or two codes in one. */
  readonly codes: Uint8Array;
  /** Of scales and zero points. */
  readonly tableBytes: number;
  /** Codes packed, a float32 scale and a zero point a group. */
  readonly bytes: number;
  /** The same with codes at their order-0 entropy. */
  readonly entropyBytes: number;
}

/** Every weight as the nearest of 2^bits even steps from its group's least value to its largest, zero among them. */
export function affine(weights: Float32Array, shape: readonly number[], axis: number, setting: AffineSetting): Affine {
  const levels = 2 ** setting.bits;
  const groupOf = groups(weights.length, shape, axis, setting.per);
  const low: number[] = [];
  const high: number[] = [];
  weights.forEach((w, i) => {
    const g = groupOf(i);
    low[g] = Math.min(low[g] ?? 0, w);
    high[g] = Math.max(high[g] ?? 0, w);
  });
  const counts = new Float64Array(levels);
  const perByte = 8 / setting.bits;
  const codes = new Uint8Array(Math.ceil(weights.length / perByte));
  const values = weights.map((w, i) => {
    const g = groupOf(i);
    const scale = ((high[g] as number) - (low[g] as number)) / (levels - 1);
    const zero = scale > 0 ? Math.round(-(low[g] as number) / scale) : 0;
    const code = scale > 0 ? Math.min(levels - 1, Math.max(0, Math.round(w / scale) + zero)) : 0;
    counts[code] = (counts[code] as number) + 1;
    const at = Math.floor(i / perByte);
    codes[at] = (codes[at] as number) | (code << (setting.bits * (i % perByte)));
    return (code - zero) * scale;
  });
  const table = Math.ceil(low.length * (4 + setting.bits / 8));
  const n = weights.length;
  const entropy = counts.reduce((sum, c) => (c > 0 ? sum + c * Math.log2(n / c) : sum), 0);
  return { values, codes, tableBytes: table, bytes: table + (n * setting.bits) / 8, entropyBytes: table + entropy / 8 };
}

/** The group of a weight by its place. Blocks run along the inputs of one output. */
function groups(
  count: number,
  shape: readonly number[],
  axis: number,
  per: AffineSetting["per"],
): (index: number) => number {
  if (per === "tensor") return () => 0;
  const outputs = shape[axis] as number;
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const output = (i: number): number => Math.floor(i / inner) % outputs;
  if (per === "channel") return output;
  const blocks = Math.ceil(count / outputs / BLOCK);
  // the place among an output's inputs: what lies before the axis, then what lies behind it
  const input = (i: number): number => Math.floor(i / (inner * outputs)) * inner + (i % inner);
  return (i) => output(i) * blocks + Math.floor(input(i) / BLOCK);
}

/** A model made affine: as a file that runs, its tensors' codes, and the bytes of both. */
interface AffineModel {
  readonly segments: readonly Segment[];
  readonly codes: readonly Uint8Array[];
  readonly tableBytes: number;
  readonly bytes: number;
  readonly entropyBytes: number;
}

/** The model with all named weights made affine; depthwise ones with 8 bits a channel. */
export async function affineModel(
  model: Pick<Model, "tensors" | "dense">,
  names: ReadonlySet<string>,
  depthwise: ReadonlySet<string>,
  setting: AffineSetting,
): Promise<AffineModel> {
  const payloads = new Map<string, Segment>();
  const codes: Uint8Array[] = [];
  let tableBytes = 0;
  let bytes = 0;
  let entropyBytes = 0;
  for (const { name, shape, axis, byteLength, read } of model.tensors) {
    if (!names.has(name)) continue;
    const weights = new Float32Array((await read(0, byteLength)).slice().buffer);
    const own: AffineSetting = depthwise.has(name) ? { bits: 8, per: "channel" } : setting;
    const made = affine(weights, shape, axis, own);
    payloads.set(name, new Uint8Array(made.values.buffer));
    codes.push(made.codes);
    tableBytes += made.tableBytes;
    bytes += made.bytes;
    entropyBytes += made.entropyBytes;
  }
  return { segments: (await model.dense(payloads)).main, codes, tableBytes, bytes, entropyBytes };
}
