// Options: how a tensor is to be quantized, the defaults, and every choice made and checked.
import type { Granularity, ScalePer } from "./codebook.ts";
import type { RoundFormat } from "./tensor.ts";

/**
 * How a codebook is found. `optimal` is the global minimum of the squared error up to the resolution of the bins; `ecsq`
 * weighs the error against the entropy-coded size.
 */
export type Method = "optimal" | "lloyd" | "uniform" | "ecsq";
/** Where `lloyd` begins: equal steps over the range, or quantiles. */
export type LloydStart = "linear" | "quantile";

/** What `ecsq` is to reach: bits a weight (codes and codebook), decibels, or a cost of a bit in squared error. */
export interface RateTarget {
  readonly kind: "bits" | "sqnr" | "lambda";
  readonly value: number;
}

export interface ClusterOptions {
  readonly levels: number;
  readonly method: Method;
  /** Values that the codebook has in any case, ascending: zero, frozen values. At most `levels`. */
  readonly pins: readonly number[];
  /** Dtype to which centroids are rounded before any weight is assigned. */
  readonly format: RoundFormat;
  readonly start: LloydStart;
  /** Most Lloyd steps. */
  readonly steps: number;
  /** For `ecsq`, without it the error alone counts. */
  readonly target?: RateTarget | undefined;
}

/** How a tensor is to be quantized. */
export interface QuantizeOptions {
  /** Values a codebook, 2 to 256; with `method: "ecsq"` the most of them. Default 16, with `ecsq` 256. */
  readonly levels?: number;
  /** Instead of `levels`: 1 to 8, meaning 2^bits levels. */
  readonly bits?: number;
  /** Which weights share a codebook. Default `tensor`. */
  readonly granularity?: Granularity;
  /** Axis of the channels, for granularity or scale `channel`; may be negative. Default 0. */
  readonly axis?: number;
  /** Consecutive weights a group, for granularity or scale `group`. Default 64. */
  readonly groupSize?: number;
  /** A factor per channel or group before one shared codebook. Default `none`. */
  readonly scale?: ScalePer;
  /** Zero is one of the values, so that zeros stay zeros. Default false. */
  readonly pinZero?: boolean;
  /** How the codebook is found. Default `optimal`. */
  readonly method?: Method;
  /** Where `method: "lloyd"` starts. Default `linear`. */
  readonly start?: LloydStart;
  /** Most steps of `method: "lloyd"`. Default 100. */
  readonly steps?: number;
  /**
   * For `method: "ecsq"`: bits a weight after entropy coding, codebook and scales counted. What cannot be reached, since
   * codebooks alone are larger, is approached.
   */
  readonly targetBits?: number;
  /** For `method: "ecsq"`: 10 log10(sum h w^2 / sum h (w - q)^2) in dB, h the importance. */
  readonly targetSqnr?: number;
  /** For `method: "ecsq"`: what a bit costs, in squared error. */
  readonly lambda?: number;
  /** A non-negative weight per weight (Fisher information, squared gradient): what an error there costs. */
  readonly importance?: Float32Array;
}

/** The defaults of {@link QuantizeOptions}; the command line shows the same. */
export const QUANTIZE_DEFAULTS: Readonly<
  Required<Omit<QuantizeOptions, "bits" | "importance" | "targetBits" | "targetSqnr" | "lambda">>
> = {
  levels: 16,
  granularity: "tensor",
  axis: 0,
  groupSize: 64,
  scale: "none",
  pinZero: false,
  method: "optimal",
  start: "linear",
  steps: 100,
};

/** Most values of a codebook that an entropy coder follows, unless `levels` says less. */
export const ECSQ_LEVELS = 256;

/** Options with every choice made and checked against a shape. */
export interface QuantizePlan {
  readonly levels: number;
  readonly granularity: Granularity;
  readonly scale: ScalePer;
  readonly axis: number;
  readonly groupSize: number;
  readonly shape: readonly number[];
  readonly cluster: ClusterOptions;
}

/** Checks options against a shape. Throws `RangeError` or `TypeError` with the value that is wrong. */
export function planQuantize(shape: readonly number[], options: QuantizeOptions, format: RoundFormat): QuantizePlan {
  const { bits } = options;
  if (bits !== undefined && (!Number.isInteger(bits) || bits < 1 || bits > 8)) {
    throw new RangeError(`bits must be an integer from 1 to 8, got ${bits}`);
  }
  const method = oneOf("method", options.method ?? "optimal", ["optimal", "lloyd", "uniform", "ecsq"]);
  const usual = method === "ecsq" ? ECSQ_LEVELS : QUANTIZE_DEFAULTS.levels;
  const levels = options.levels ?? (bits === undefined ? usual : 2 ** bits);
  if (!Number.isInteger(levels) || levels < 2 || levels > 256) {
    throw new RangeError(`levels must be an integer from 2 to 256, got ${levels}`);
  }
  if (bits !== undefined && levels !== 2 ** bits) {
    throw new RangeError(`levels ${levels} and bits ${bits} contradict each other: give one of them`);
  }
  const granularity = oneOf("granularity", options.granularity ?? "tensor", ["tensor", "channel", "group"]);
  const scale = oneOf("scale", options.scale ?? "none", ["none", "channel", "group"]);
  const start = oneOf("start", options.start ?? "linear", ["linear", "quantile"]);
  if (scale !== "none" && granularity !== "tensor") {
    throw new RangeError(
      `a scale stands before one shared codebook: scale "${scale}" needs granularity "tensor", got "${granularity}"`,
    );
  }
  const rank = shape.length;
  let axis = options.axis ?? 0;
  if (axis < 0) axis += rank;
  if (!Number.isInteger(axis) || axis < 0 || (rank > 0 && axis >= rank)) {
    throw new RangeError(`axis ${options.axis} is outside the shape [${shape.join(", ")}]`);
  }
  const groupSize = options.groupSize ?? QUANTIZE_DEFAULTS.groupSize;
  if (!Number.isSafeInteger(groupSize) || groupSize < 1) {
    throw new RangeError(`groupSize must be a positive integer, got ${groupSize}`);
  }
  const steps = options.steps ?? QUANTIZE_DEFAULTS.steps;
  if (!Number.isInteger(steps) || steps < 0) throw new RangeError(`steps must be a non-negative integer, got ${steps}`);
  const by = scale === "none" ? granularity : scale;
  return {
    levels,
    granularity,
    scale,
    axis: by === "channel" && rank > 0 ? axis : 0,
    groupSize: by === "group" ? groupSize : 0,
    shape,
    cluster: {
      levels,
      method,
      pins: options.pinZero ? [0] : [],
      format,
      start,
      steps,
      target: targetOf(options, method),
    },
  };
}

const TARGETS = { targetBits: "bits", targetSqnr: "sqnr", lambda: "lambda" } as const;

function targetOf(options: QuantizeOptions, method: Method): RateTarget | undefined {
  const given = (Object.keys(TARGETS) as (keyof typeof TARGETS)[]).filter((key) => options[key] !== undefined);
  const [key] = given;
  if (method !== "ecsq") {
    if (key) throw new RangeError(`${key} needs method "ecsq", got "${method}"`);
    return undefined;
  }
  if (!key || given.length > 1) {
    throw new RangeError(
      `method "ecsq" needs one of targetBits, targetSqnr and lambda, got ${given.join(", ") || "none"}`,
    );
  }
  const value = options[key] as number;
  const least = key === "lambda" ? 0 : Number.MIN_VALUE;
  if (!(value >= least && value < Number.POSITIVE_INFINITY)) {
    throw new RangeError(`${key} must be a ${key === "lambda" ? "non-negative" : "positive"} number, got ${value}`);
  }
  return { kind: TARGETS[key], value };
}

/** `value` where it is allowed; a RangeError with both otherwise. */
export function oneOf<T extends string>(name: string, value: T, allowed: readonly T[]): T {
  if (!allowed.includes(value))
    throw new RangeError(`${name} must be one of ${allowed.join(", ")}, got ${String(value)}`);
  return value;
}
