// Select: which tensors of a model are quantized, and with which options.
import { WlqError } from "./error.ts";
import type { TensorEntry } from "./formats/format.ts";
import type { QuantizeOptions } from "./options.ts";
import { countElements, isFloatDtype } from "./tensor.ts";

/** How a tensor of a model file is quantized. */
export interface TensorOptions extends Omit<QuantizeOptions, "importance"> {
  /**
   * Share of the weights, up to 0.5, that are stored exactly beside the codes: the largest by magnitude or, with
   * importance h, by h w^2. Codebooks and scales are made without them. In containers and for `to: "dense"`. Default 0.
   */
  readonly outliers?: number;
}

/** Options for the tensors whose name matches. */
export interface TensorRule {
  readonly match: RegExp;
  readonly options: TensorOptions;
}

export interface SelectOptions extends TensorOptions {
  /** Quantize what matches, whatever its size or kind; without it: weights of at least `minSize` elements. */
  readonly include?: RegExp;
  /** Never quantize what matches. */
  readonly exclude?: RegExp;
  /** Fewest elements that pay. */
  readonly minSize?: number;
  /** Options for some tensors; the last rule that matches a name wins, over the general options. */
  readonly tensors?: readonly TensorRule[];
}

/**
 * Defaults for model files, where a weight's place matters more than in a lone tensor: 64 levels and a scale a channel
 * keep a real model at work without re-training or calibration; 16 levels do not (see docs/algorithms.md).
 */
export const COMPRESS_DEFAULTS = { levels: 64, scale: "channel", minSize: 2048 } as const;

// A float16 scale for fewer weights than this costs more than half a bit a weight.
const WORTH_A_SCALE = 32;

/** Options of one tensor: a rule's over the general ones, defaults for what neither says. */
function optionsFor(
  general: TensorOptions,
  rule: TensorOptions | undefined,
  shape: readonly number[],
  axis: number,
): TensorOptions {
  const merged: { -readonly [K in keyof TensorOptions]: TensorOptions[K] } = { ...general, ...rule };
  // levels and bits are one knob, granularity and scale exclude each other: what the rule says replaces the general word
  if (rule?.levels !== undefined && rule.bits === undefined) delete merged.bits;
  if (rule?.bits !== undefined && rule.levels === undefined) delete merged.levels;
  if (rule?.granularity !== undefined && rule.scale === undefined) delete merged.scale;
  if (rule?.scale !== undefined && rule.granularity === undefined) delete merged.granularity;
  if (merged.levels === undefined && merged.bits === undefined && merged.method !== "ecsq") {
    merged.levels = COMPRESS_DEFAULTS.levels;
  }
  merged.axis ??= axis;
  if (merged.scale === undefined && merged.granularity === undefined) {
    const perChannel = countElements(shape) / (shape.at(merged.axis) ?? 1);
    merged.scale = perChannel >= WORTH_A_SCALE ? COMPRESS_DEFAULTS.scale : "none";
  }
  return merged;
}

/** What is to become of a tensor; `fixed` where a rule says its levels. */
export type Choice =
  | { readonly quantize: true; readonly named: boolean; readonly fixed: boolean; readonly options: TensorOptions }
  | { readonly quantize: false; readonly reason: string };

/** The choice for one tensor. Throws `unsupported` where the user names one that cannot be quantized. */
export function choose(entry: TensorEntry, options: SelectOptions): Choice {
  const { name, dtype, shape } = entry;
  const { include, exclude, minSize = COMPRESS_DEFAULTS.minSize, tensors = [], ...general } = options;
  const rule = tensors.findLast(({ match }) => test(match, name))?.options;
  if (exclude && test(exclude, name)) return { quantize: false, reason: "excluded" };
  const named = rule !== undefined || (include !== undefined && test(include, name));
  if (named) checkQuantizable(entry);
  else {
    if (include) return { quantize: false, reason: "not included" };
    if (!isFloatDtype(dtype)) return { quantize: false, reason: `dtype ${dtype}` };
    if (entry.keep !== undefined) return { quantize: false, reason: entry.keep };
    if (!entry.weight) return { quantize: false, reason: "not a weight matrix" };
    const count = countElements(shape, name);
    if (count < minSize) return { quantize: false, reason: `fewer than ${minSize} elements` };
  }
  const fixed = (rule?.levels ?? rule?.bits) !== undefined;
  return { quantize: true, named, fixed, options: optionsFor(general, rule, shape, entry.axis) };
}

/** Throws `unsupported` for a tensor that is named to be quantized and cannot be. */
export function checkQuantizable({ name, dtype, keep }: TensorEntry): void {
  const reason = isFloatDtype(dtype) ? keep : `its dtype is ${dtype}`;
  if (reason === undefined) return;
  throw new WlqError("unsupported", `tensor "${name}" is named to be quantized, but ${reason}`, { tensor: name });
}

// A regular expression with the g flag would remember where it was.
function test(pattern: RegExp, name: string): boolean {
  pattern.lastIndex = 0;
  return pattern.test(name);
}
