// Select: which tensors of a model are quantized, and with which options.
import { WlqError } from "./error.ts";
import type { TensorEntry } from "./formats/format.ts";
import type { QuantizeOptions } from "./quantize.ts";
import { countElements, isFloatDtype } from "./tensor.ts";

/** Options for the tensors whose name matches. */
export interface TensorRule {
  readonly match: RegExp;
  readonly options: QuantizeOptions;
}

export interface SelectOptions extends Omit<QuantizeOptions, "importance"> {
  /** Quantize what matches, whatever its size or kind; without it: weights of at least `minSize` elements. */
  readonly include?: RegExp;
  /** Never quantize what matches. */
  readonly exclude?: RegExp;
  /** Fewest elements that pay. Default 2048. */
  readonly minSize?: number;
  /** Options for some tensors; the last rule that matches a name wins, over the general options. */
  readonly tensors?: readonly TensorRule[];
}

export const MIN_SIZE = 2048;

/** What is to become of a tensor. */
export type Choice =
  | { readonly quantize: true; readonly named: boolean; readonly options: QuantizeOptions }
  | { readonly quantize: false; readonly reason: string };

/** The choice for one tensor. Throws `unsupported` where the user names one that cannot be quantized. */
export function choose(entry: TensorEntry, options: SelectOptions): Choice {
  const { name, dtype, shape } = entry;
  const { include, exclude, minSize = MIN_SIZE, tensors = [], ...general } = options;
  const rule = tensors.filter((r) => test(r.match, name)).at(-1);
  if (exclude && test(exclude, name)) return { quantize: false, reason: "excluded" };
  const named = rule !== undefined || (include !== undefined && test(include, name));
  if (named && !isFloatDtype(dtype)) {
    throw new WlqError("unsupported", `tensor "${name}" is named to be quantized, but its dtype is ${dtype}`, { tensor: name });
  }
  if (named && entry.keep !== undefined) {
    throw new WlqError("unsupported", `tensor "${name}" is named to be quantized, but ${entry.keep}`, { tensor: name });
  }
  if (!named) {
    if (include) return { quantize: false, reason: "not included" };
    if (!isFloatDtype(dtype)) return { quantize: false, reason: `dtype ${dtype}` };
    if (entry.keep !== undefined) return { quantize: false, reason: entry.keep };
    if (!entry.weight) return { quantize: false, reason: "not a weight matrix" };
    const count = countElements(shape, name);
    if (count < minSize) return { quantize: false, reason: `fewer than ${minSize} elements` };
  }
  const axis = general.axis ?? (shape.length > 0 ? entry.axis : 0);
  return { quantize: true, named, options: { ...general, axis, ...rule?.options } };
}

// A regular expression with the g flag would remember where it was.
function test(pattern: RegExp, name: string): boolean {
  pattern.lastIndex = 0;
  return pattern.test(name);
}
