// A codebook and its codes: one tensor after quantization, and which of its weights share what.
import { countElements } from "./tensor.ts";

/** Which weights share a codebook. */
export type Granularity = "tensor" | "channel" | "group";
/** What a factor before a shared codebook belongs to. */
export type ScalePer = "none" | "channel" | "group";

/** Factors before a shared codebook: weight = fround(scale * value). */
export interface Scale {
  readonly per: "channel" | "group";
  /** One factor a channel or group, each a float16 value. */
  readonly values: Float32Array;
}

/** What a quantization did to the weights. */
export interface QuantizationStats {
  /** Number of weights. */
  readonly count: number;
  /** Sum of squared weights. */
  readonly sumSquares: number;
  /** Mean squared error per weight. */
  readonly mse: number;
  /** 10 log10(sum w^2 / sum (w - q)^2) in dB; `null` where the error is zero. */
  readonly sqnrDb: number | null;
  /** Largest |w - q|. */
  readonly maxError: number;
  /** Cosine of the angle between w and q; 1 for an all-zero tensor. */
  readonly cosine: number;
  /** Stored bits per weight, codebook and scales counted. */
  readonly bitsPerWeight: number;
  /** The share of codebook and scales in it. */
  readonly tableBitsPerWeight: number;
  /** Order-0 entropy of the codes, in bits per weight: what an entropy coder could reach. */
  readonly entropyBits: number;
  /** Weights per code, over all codebooks. */
  readonly counts: Float64Array;
  /** Squared error per code, over all codebooks. */
  readonly errors: Float64Array;
  /** The same error where weights have an importance h. */
  readonly weighted?: WeightedError;
}

/** Error where weights do not count the same. */
export interface WeightedError {
  /** Sum of h (w - q)^2. */
  readonly error: number;
  /** Sum of h w^2. */
  readonly signal: number;
  /** 10 log10(signal / error) in dB; `null` where the error is zero. */
  readonly sqnrDb: number | null;
}

/** 10 log10(signal / error) in dB; `null` where the error is zero. */
export function sqnrOf(signal: number, error: number): number | null {
  return error > 0 ? 10 * Math.log10(signal / error) : null;
}

/** One codebook as it was found. */
export interface Clustering {
  /** Ascending values. */
  readonly codebook: Float32Array;
  /** Between them, where codes are not those of the nearest value: code = number of thresholds below the weight. */
  readonly thresholds?: Float32Array;
}

/** How a quantized tensor is coded; enough, with codebook, scale and codes, to decode it. */
export interface Coding {
  /** Values a codebook, 2 to 256. */
  readonly levels: number;
  readonly granularity: Granularity;
  readonly scale?: Scale;
  /** Channel axis, for channel granularity or scale; 0 otherwise. */
  readonly axis: number;
  /** Weights a group, for group granularity or scale; 0 otherwise. */
  readonly groupSize: number;
  readonly shape: readonly number[];
  /** groups x levels values, each group ascending; unused entries repeat their neighbour. */
  readonly codebook: Float32Array;
  /**
   * groups x (levels - 1) float32, each group ascending, where codes are not those of the nearest value: code = number of
   * thresholds below the weight (divided by its scale). Decoding does without.
   */
  readonly thresholds?: Float32Array;
  /** Codes that are chosen already, one byte each, row-major; absent: thresholds or the nearest value choose. */
  readonly chosen?: Uint8Array;
}

/** A coding without its values: what is known before any weight is seen. */
export interface Layout extends Omit<Coding, "codebook" | "scale"> {
  readonly scale: ScalePer;
}

export function layoutOf({ codebook: _, scale, ...layout }: Coding): Layout {
  return { ...layout, scale: scale?.per ?? "none" };
}

/** One quantized tensor. */
export interface QuantizedTensor extends Coding {
  /** Bits a stored code. */
  readonly bits: number;
  /** Codes, `bits` each, least-significant bit first, in row-major order. */
  readonly codes: Uint8Array;
  readonly stats: QuantizationStats;
}

/** Stored bits of a code for this many levels: ceil(log2(levels)), at least 1. */
export function bitsForLevels(levels: number): number {
  return 32 - Math.clz32((levels - 1) | 1);
}

/** Bytes of `count` packed codes. */
export function packedBytes(count: number, bits: number): number {
  return Math.ceil((count * bits) / 8);
}

/**
 * Which group a weight is in: weight e (row-major) lies in group floor(e / inner) mod groups.
 * tensor: 1 group; channel: one a position of the axis; group: consecutive stretches, the last may be short.
 */
export interface Grouping {
  readonly count: number;
  readonly groups: number;
  readonly inner: number;
  /** Times the groups repeat: the dimensions before the axis. */
  readonly outer: number;
}

export function groupingOf(
  by: Granularity,
  shape: readonly number[],
  axis: number,
  groupSize: number,
  tensor?: string,
): Grouping {
  const count = countElements(shape, tensor);
  let groups = 1;
  let inner = count;
  let outer = 1;
  if (by === "channel") {
    groups = shape[axis] ?? 1;
    inner = countElements(shape.slice(axis + 1));
    outer = count && count / (groups * inner);
  } else if (by === "group") {
    groups = Math.ceil(count / groupSize);
    inner = groupSize;
  }
  return { count, groups, inner: Math.max(1, inner), outer };
}

/** Most groups whose codebooks are at hand at once, so that {@link runPlace} fits. */
export const MOST_GROUPS = 65535;

/**
 * A weight's place among runs of `inner` as kernels take it, which count in 32 bits: of a run that is longer than any
 * tile only 65,536 weights are counted, the last of them if the place is before those. Right for {@link MOST_GROUPS}.
 */
export function runPlace(inner: number, place: number): { readonly inner: number; readonly first: number } {
  const run = Math.min(inner, 65536);
  const end = Math.floor(place / inner) + 1;
  return { inner: run, first: end * run - Math.min(run, end * inner - place) };
}

/** Which weights decode with the same values: the scale's grouping where there is one, else the codebook's. */
export function decodeGrouping(coding: Omit<Coding, "codebook">): Grouping {
  return groupingOf(coding.scale?.per ?? coding.granularity, coding.shape, coding.axis, coding.groupSize);
}

/** Number of scale values, where there are any. */
export function scaleGroups({ scale, shape, axis, groupSize }: Layout): number {
  return scale === "none" ? 0 : groupingOf(scale, shape, axis, groupSize).groups;
}

/** Number of codebooks. */
export function codebookGroups(coding: Omit<Coding, "codebook" | "scale">): number {
  return groupingOf(coding.granularity, coding.shape, coding.axis, coding.groupSize).groups;
}
