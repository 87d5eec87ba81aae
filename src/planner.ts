// Planner: bits where they matter. Opens a model and has it planned for a size or an error in all.
import type { Calibration } from "./calibration.ts";
import type { FileOptions } from "./compress.ts";
import { WlqError } from "./error.ts";
import { byteSource, type Source } from "./io/source.ts";
import { openModel } from "./open.ts";
import { oneOf } from "./options.ts";
import { kindOf, type Plan, type PlanTarget } from "./plan.ts";
import { PLAN_HOST } from "./plan-host.ts";
import type { SelectOptions } from "./select.ts";
import { encodeBinary, encodeScope } from "./wasm/encode.ts";
import { loadWork } from "./wasm/work.ts";
import { workOn } from "./work.ts";

export interface PlanOptions extends Omit<SelectOptions, "levels" | "bits">, FileOptions {
  /** What is to be written. Default `container`. */
  readonly to?: "container" | "onnx";
  /** What a NaN or infinity in a tensor that the user named does. Default `error`. */
  readonly nonFinite?: "error" | "keep";
  /** What an error in each weight costs; see `compress`. */
  readonly importance?: Source;
  /**
   * `calibration(statistics)` of wlq/calibrate, instead of importance: the error is that of the layers' outputs, each over
   * its own output's power. Weights that it does not know keep 256 levels.
   */
  readonly calibration?: Calibration;
  /** By tensor: what an error in it costs, times the importance. Default 1. */
  readonly sensitivities?: Readonly<Record<string, number>>;
  /**
   * `relative`: errors count over the mean square of their tensor's weights, so that tensors end at about the same SQNR;
   * `absolute`, the default: squared errors count alike, and small weights pay. Calibration is relative by itself.
   */
  readonly weighting?: "absolute" | "relative";
}

/**
 * Chooses levels for every tensor (with `method: "ecsq"`, what a bit may cost in all of them) such that the error of all
 * is least for a size, or the size for an error. Which tensors are quantized, and by which granularity and scale, is as in
 * `compress`; a rule that gives levels is kept.
 *
 * @throws WlqError `unsupported` where the target is out of reach, with the range; RangeError for wrong options
 * @example
 * const chosen = await plan(source, { bytes: 2_000_000 });
 * await compress(source, sink, { plan: chosen });
 */
export async function plan(source: Source, target: PlanTarget, options: PlanOptions = {}): Promise<Plan> {
  const kind = kindOf(target);
  if (!encodeBinary.ready) await loadWork(encodeBinary);
  const { formats = [], resolve, to = "container", signal, onProgress } = options;
  const { sensitivities = {}, weighting = "absolute", nonFinite = "error" } = options;
  oneOf("weighting", weighting, ["absolute", "relative"]);
  const model = await openModel(byteSource(source), formats, { resolve });
  for (const [name, s] of Object.entries(sensitivities)) {
    if (!(s >= 0 && s < Number.POSITIVE_INFINITY)) throw new RangeError(`sensitivity of "${name}" is ${s}`);
    if (!model.tensors.some((t) => t.name === name)) {
      throw new WlqError("not-found", `sensitivities have the tensor "${name}", the model does not`, { tensor: name });
    }
  }
  const select = selectOf(options);
  // the price of a bit is what is looked for
  const wanted = select.method === "ecsq" ? { ...select, lambda: 1 } : select;
  const { work, kept, known, importance, warnings } = await workOn(model, to, wanted, formats);
  for (const { entry, outliers } of work) {
    if (outliers) throw new RangeError(`tensor "${entry.name}": a plan does not count outliers, got ${outliers}`);
  }
  const task = {
    host: PLAN_HOST,
    scope: encodeScope(),
    model,
    to,
    kind,
    work,
    kept,
    nonFinite,
    known,
    importance,
    sensitivities,
    weighting,
    warnings,
    signal,
    tell: (tensor: string, done: number, total: number) => onProgress?.({ phase: "cluster", tensor, done, total }),
  };
  return (await import("./level-plan.ts")).planModel(task, target);
}

function selectOf(options: PlanOptions): SelectOptions {
  const { levels, bits, weighting: _, ...select } = options as SelectOptions & PlanOptions;
  if (levels !== undefined || bits !== undefined) {
    throw new RangeError("a plan chooses the levels: give a target or levels, not both");
  }
  return select;
}
