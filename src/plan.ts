// Plan: how every tensor of a model is to be quantized, as data that survives JSON; checked against the model it is for.
import { malformed, WlqError } from "./error.ts";
import type { Model } from "./formats/format.ts";
import type { QuantizeOptions } from "./options.ts";

/** What a plan is to reach over the whole model: one of these. */
export interface PlanTarget {
  /** Size of the whole output, companions included. Reached from below. */
  readonly bytes?: number;
  /** Mean of the stored bits of a quantized weight, codebooks and scales counted. Reached from below. */
  readonly bitsPerWeight?: number;
  /** 10 log10(sum h w^2 / sum h (w - q)^2) over all quantized weights, in dB; h is importance times sensitivity, or 1. */
  readonly sqnrDb?: number;
}

export type PlannedOptions = Omit<QuantizeOptions, "importance">;

/** One tensor in a plan. */
export interface PlannedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes in the output. */
  readonly bytes: number;
  /** Why it is left as it is; absent where it is quantized. */
  readonly kept?: string;
  /** How it is quantized. */
  readonly options?: PlannedOptions;
  /** Values that its codebook gets, where the options leave that to what a bit costs. */
  readonly levels?: number;
  /** What to expect, in dB; `null` where nothing is lost. */
  readonly sqnrDb?: number | null;
}

/** A point of the trade-off between size and error. */
export interface TradeOff {
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly sqnrDb: number | null;
}

/** How a model is to be compressed: plain data. */
export interface Plan {
  /** Version of this structure. */
  readonly plan: 1;
  /** Format of the model. */
  readonly format: string;
  readonly to: "container" | "onnx";
  /** `auto` where sizes are those of entropy-coded codes; absent: of codes of one width. */
  readonly entropy?: "auto";
  /** Errors were weighed beside the weights of their tensor, also in `sqnrDb` below; absent: all alike. */
  readonly weighting?: "relative";
  readonly target: PlanTarget;
  /** What to expect of the whole output. */
  readonly bytes: number;
  readonly weights: number;
  readonly bitsPerWeight: number;
  readonly sqnrDb: number | null;
  /** All tensors of the model, in its order. */
  readonly tensors: readonly PlannedTensor[];
  /** From 2 levels everywhere to 256, each the best for its size. */
  readonly tradeOff: readonly TradeOff[];
  readonly warnings: readonly string[];
}

/** Which of the three a target is; RangeError where it is none, or more. */
export function kindOf(target: PlanTarget): "bytes" | "bitsPerWeight" | "sqnrDb" {
  const given = Object.entries(target).filter(([, value]) => value !== undefined);
  const [entry] = given;
  if (given.length !== 1 || !entry || !["bytes", "bitsPerWeight", "sqnrDb"].includes(entry[0])) {
    throw new RangeError("a target is one of bytes, bitsPerWeight and sqnrDb");
  }
  const [kind, value] = entry;
  if (!(typeof value === "number" && value > 0 && value < Number.POSITIVE_INFINITY)) {
    throw new RangeError(`${kind} must be positive, got ${value}`);
  }
  return kind as "bytes" | "bitsPerWeight" | "sqnrDb";
}

/** A plan from outside, checked as far as applying it needs. Throws `malformed`. */
export function checkPlan(data: unknown): Plan {
  const plan = data as Plan;
  if (typeof data !== "object" || data === null || !("plan" in data)) throw malformed(undefined, "this is not a plan");
  if (plan.plan !== 1) {
    throw new WlqError("unsupported", `the plan is of version ${String(plan.plan)}, version 1 is known`);
  }
  const { format, to, tensors, entropy } = plan;
  if (entropy !== undefined && entropy !== "auto")
    throw malformed(undefined, `the plan's entropy is ${String(entropy)}`);
  if (typeof format !== "string" || (to !== "container" && to !== "onnx") || !Array.isArray(tensors)) {
    throw malformed(undefined, "the plan lacks format, to or tensors");
  }
  for (const tensor of tensors as unknown[]) {
    const { name, dtype, shape, kept, options } = (tensor ?? {}) as PlannedTensor;
    if (typeof name !== "string" || typeof dtype !== "string" || !Array.isArray(shape)) {
      throw malformed(undefined, "a tensor of the plan lacks name, dtype or shape");
    }
    if ((kept === undefined) === (typeof options !== "object" || options === null)) {
      throw malformed(name, "the plan has to say either its options or why it is kept");
    }
  }
  return plan;
}

/**
 * How the plan quantizes a model's tensors, and why it keeps the others.
 *
 * @throws WlqError `malformed` where the plan is for another model
 */
export function planned(
  model: Model,
  plan: Plan,
): { readonly options: Map<string, PlannedOptions>; readonly kept: Map<string, string> } {
  const { format, tensors } = checkPlan(plan);
  const other = "the plan is for another model";
  if (format !== model.format) throw malformed(undefined, `${other}: that is ${format}, this ${model.format}`);
  const byName = new Map(tensors.map((t) => [t.name, t]));
  const options = new Map<string, PlannedOptions>();
  const kept = new Map<string, string>();
  for (const { name, dtype, shape } of model.tensors) {
    const own = byName.get(name);
    if (!own) throw malformed(name, `${other}: that one does not have this tensor`);
    if (own.dtype !== dtype || own.shape.join() !== shape.join()) {
      throw malformed(name, `${other}: there it is ${own.dtype} [${own.shape}], here ${dtype} [${shape}]`);
    }
    if (own.options) options.set(name, own.options);
    else kept.set(name, own.kept ?? "");
    byName.delete(name);
  }
  for (const name of byName.keys()) throw malformed(name, `${other}: this one does not have this tensor`);
  return { options, kept };
}
