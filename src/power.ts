// Power: the mean square of a tensor's weights, and what errors cost where each tensor's count by its own.
import type { TensorEntry } from "./formats/format.ts";
import type { ImportanceOf } from "./importance.ts";
import type { PlanHost, PlanTask } from "./plan-task.ts";
import type { FloatDtype } from "./tensor.ts";
import type { EncodeScope } from "./wasm/encode.ts";

const STAGE = 65536;

/** The mean of importance times squared weight over the first `most` weights; values that are not finite count 0. */
export async function meanSquare(
  { countElements, WeightReader }: PlanHost,
  scope: EncodeScope,
  entry: TensorEntry,
  importance: ReturnType<ImportanceOf>,
  most: number = Number.POSITIVE_INFINITY,
): Promise<number> {
  const count = Math.min(most, countElements(entry.shape));
  const mark = scope.mark();
  try {
    const at = scope.reserve(STAGE * 4);
    const costAt = scope.reserve(STAGE * 4);
    const reader = new WeightReader(scope, entry, entry.dtype as FloatDtype);
    const weigher = importance && new WeightReader(scope, importance, importance.dtype);
    scope.f32(costAt, STAGE).fill(1);
    let squares = 0;
    for (let start = 0; start < count; start += STAGE) {
      const n = Math.min(STAGE, count - start);
      await reader.load(at, start, start + n);
      await weigher?.load(costAt, start, start + n);
      const weights = scope.f32(at, n);
      const cost = scope.f32(costAt, n);
      for (let i = 0; i < n; i++) {
        const square = (cost[i] as number) * (weights[i] as number) ** 2;
        if (square < Number.POSITIVE_INFINITY) squares += square;
      }
    }
    return squares / count;
  } finally {
    scope.release(mark);
  }
}

/** Sensitivities over each tensor's own power: an error then counts by how large it is beside the tensor's weights. */
export async function relativeTo({
  host,
  scope,
  work,
  importance,
  sensitivities,
}: PlanTask): Promise<Readonly<Record<string, number>>> {
  const own: [string, number][] = [];
  for (const { entry } of work) {
    const mean = await meanSquare(host, scope, entry, importance?.(entry));
    const s = sensitivities[entry.name] ?? 1;
    // zeros have no error
    own.push([entry.name, mean > 1e-300 && mean < 1e300 ? s / mean : s]);
  }
  return Object.fromEntries(own);
}
