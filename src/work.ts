// Work: which tensors of a model are quantized, and how: by options or by a plan.
import type { Calibration, OpenCalibration } from "./calibration.ts";
import { roundFormat } from "./container/coding.ts";
import { WlqError } from "./error.ts";
import type { Format, Model, TensorEntry } from "./formats/format.ts";
import type { ImportanceOf } from "./importance.ts";
import type { Source } from "./io/source.ts";
import { openImportance } from "./open.ts";
import { planQuantize, type QuantizePlan } from "./options.ts";
import { type Plan, planned } from "./plan.ts";
import { checkQuantizable, choose, type SelectOptions } from "./select.ts";

/** A tensor that is to be quantized, and how. */
export interface Work {
  readonly entry: TensorEntry;
  readonly plan: QuantizePlan;
  readonly named: boolean;
  /** Whether a rule says its levels. */
  readonly fixed?: boolean;
  /** Share of its weights that are stored exactly. */
  readonly outliers?: number | undefined;
}

/** Options that say which tensors are quantized and how, and what is known of their weights. */
export interface WorkOptions extends SelectOptions {
  readonly plan?: Plan;
  readonly calibration?: Calibration;
  readonly importance?: Source;
}

/** What is to be quantized of a model, and how; why the rest is not; and what is known of the weights. */
export async function workOn(
  model: Model,
  to: string,
  { plan, calibration, importance: file, ...select }: WorkOptions,
  formats: readonly Format[] = [],
): Promise<{
  readonly work: Work[];
  readonly kept: Map<string, string>;
  readonly known: OpenCalibration | undefined;
  readonly importance: ImportanceOf | undefined;
  readonly warnings: string[];
}> {
  if (file && calibration) throw new RangeError("importance and calibration exclude each other");
  if (to === "onnx" && !model.inGraph) {
    throw new WlqError("unsupported", `to "onnx" needs an ONNX model, this is ${model.format}`);
  }
  const known = await calibration?.open();
  const importance = file && (await openImportance(file, formats, model));
  const { work, kept } = plan ? plannedWork(model, plan, select) : chosenWork(model, select, known);
  const warnings = [...model.warnings];
  for (const { entry } of importance ? work : []) {
    if (importance?.(entry)) continue;
    warnings.push(`tensor "${entry.name}" has no importance: all its weights count the same`);
  }
  return { work, kept, known, importance, warnings };
}

function chosenWork(
  model: Model,
  select: SelectOptions,
  known: OpenCalibration | undefined,
): { work: Work[]; kept: Map<string, string> } {
  const kept = new Map<string, string>();
  const work: Work[] = [];
  for (const entry of model.tensors) {
    const choice = choose(entry, select);
    if (choice.quantize) {
      const plan = planFor(entry, known ? withoutInputs(known, entry, choice.options, select.tensors) : choice.options);
      const { named, fixed, options } = choice;
      work.push({ entry, plan, named, fixed, outliers: options.outliers });
    } else kept.set(entry.name, choice.reason);
  }
  return { work, kept };
}

/**
 * Leaves a tensor that is not finite as it is, which `kept` and `warnings` get; throws where the user named it, and what
 * else went wrong.
 */
export function leave(
  {
    kept,
    warnings,
    nonFinite,
  }: {
    readonly kept: Map<string, string>;
    readonly warnings: string[];
    readonly nonFinite: "error" | "keep";
  },
  { entry: { name }, named }: Work,
  fault: unknown,
): void {
  if (!(fault instanceof WlqError) || fault.code !== "non-finite") throw fault;
  if (named && nonFinite === "error") {
    const advice = 'pass nonFinite: "keep" (--non-finite keep) to leave such tensors as they are';
    throw new WlqError("non-finite", `tensor "${name}": ${fault.message}; ${advice}`, { tensor: name });
  }
  kept.set(name, "has a NaN or infinity");
  warnings.push(`tensor "${name}" is left as it is: ${fault.message}`);
}

function plannedWork(model: Model, plan: Plan, select: SelectOptions): { work: Work[]; kept: Map<string, string> } {
  for (const [key, value] of Object.entries(select)) {
    if (value !== undefined) throw new RangeError(`a plan says how tensors are quantized: give a plan or ${key}`);
  }
  const { options, kept } = planned(model, plan);
  const work = model.tensors.flatMap((entry) => {
    const own = options.get(entry.name);
    if (!own) return [];
    checkQuantizable(entry);
    return [{ entry, plan: planFor(entry, own), named: false }];
  });
  return { work, kept };
}

function planFor(entry: TensorEntry, options: Parameters<typeof planQuantize>[1]): QuantizePlan {
  try {
    return planQuantize(entry.shape, options, roundFormat(entry.dtype));
  } catch (error) {
    if (error instanceof RangeError) throw new RangeError(`tensor "${entry.name}": ${error.message}`);
    throw error;
  }
}

/** A weight whose inputs nobody saw, a depthwise convolution mostly, is not worth a risk: 256 levels. */
function withoutInputs(
  known: OpenCalibration,
  { name, shape }: TensorEntry,
  options: Parameters<typeof planQuantize>[1],
  rules: SelectOptions["tensors"] = [],
): Parameters<typeof planQuantize>[1] {
  if (
    known.knows(name, shape) ||
    rules.some(({ match }) => new RegExp(match, match.flags.replace("g", "")).test(name))
  ) {
    return options;
  }
  const { bits: _, ...rest } = options;
  return { ...rest, levels: 256 };
}
