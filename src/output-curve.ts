// Output curve: what numbers of levels cost in a layer's output, over its power, so that layers compare.
import type { OpenCalibration } from "./calibration.ts";
import type { Curve } from "./curve.ts";
import type { TensorEntry } from "./formats/format.ts";
import type { QuantizePlan } from "./options.ts";
import type { PlanTask } from "./plan-task.ts";
import type { FloatDtype } from "./tensor.ts";

/**
 * The curve of a layer whose inputs calibration knows, its signal the layer's sensitivity; undefined for another. `shifts`
 * gets a place for what calibration will add to the outputs, which may take a bias of its own.
 */
export async function outputCurve(
  { host, scope, model }: PlanTask,
  known: OpenCalibration,
  { name, shape, axis, dtype, byteLength, read }: TensorEntry,
  plan: QuantizePlan,
  levels: readonly number[],
  shifts: Map<string, Float32Array>,
): Promise<Curve | undefined> {
  if (!known.knows(name, shape)) return undefined;
  const weights = await host.wholeTensor(scope, { shape, byteLength, read }, dtype as FloatDtype);
  const curve = await known.curve(name, weights, plan, model.shiftable?.(name) ?? false, levels);
  if (!curve) return undefined;
  if (curve.shifted) shifts.set(name, new Float32Array(shape[axis] ?? 0));
  return { signal: curve.sensitivity, errors: curve.errors.map((error) => error * curve.sensitivity) };
}

/** A curve over its own signal, for weights of which no more is known. */
export function overItsSignal({ signal, errors }: Curve): Curve {
  return { signal: 1, errors: errors.map((error) => (signal > 0 ? error / signal : 0)) };
}
