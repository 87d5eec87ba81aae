// Clusters: the codebook of a layer's free weights for this round, its frozen values kept.
import { clusterRun } from "../cluster.ts";
import type { ClusterOptions } from "../options.ts";
import type { Passes } from "../passes.ts";
import { bestPowers, inqPowers } from "./grid.ts";
import { frozenValues, type Layer } from "./layer.ts";
import type { SlqPlan } from "./plan.ts";
import type { CodeCost, Workspace } from "./workspace.ts";

/** A codebook without repetition, ascending. */
export function clusterLayer(workspace: Workspace, layer: Layer, plan: SlqPlan): Float32Array {
  const frozen = frozenValues(layer);
  if (plan.grid === "pow2") return bestPowers(workspace.halfOctaves(layer), layer.levels, frozen, layer.format);
  if (plan.grid === "inq") {
    // fixed by the weights before the first round; pruning may have frozen zero
    return layer.codebook.length > 1
      ? layer.codebook
      : inqPowers(workspace.largestFree(layer), layer.levels, layer.format);
  }
  if (plan.symmetric) return symmetricClusters(workspace, layer, frozen);
  return freeClusters(
    workspace,
    layer,
    withZero(frozen, plan.pinZero && layer.levels > frozen.length),
    layer.levels,
    false,
  );
}

// Magnitudes are clustered with zero among the values where levels are odd; every other value has its negative.
function symmetricClusters(workspace: Workspace, layer: Layer, frozen: readonly number[]): Float32Array {
  const { levels } = layer;
  const pins = withZero([...new Set(frozen.map(Math.abs))], levels % 2 === 1);
  const half = freeClusters(workspace, layer, pins, Math.ceil(levels / 2), true);
  return Float32Array.from([...half].flatMap((x) => (x === 0 ? [0] : [-x, x]))).sort();
}

function withZero(values: readonly number[], zero: boolean): number[] {
  return zero && !values.includes(0) ? [...values, 0] : [...values];
}

function freeClusters(
  workspace: Workspace,
  layer: Layer,
  values: readonly number[],
  levels: number,
  absolute: boolean,
): Float32Array {
  const pins = [...values].sort((a, b) => a - b);
  if (layer.free === 0 || pins.length >= levels) return Float32Array.from(pins);
  const options: ClusterOptions = { levels, method: "optimal", pins, format: layer.format, start: "linear", steps: 0 };
  const mark = workspace.encode.mark();
  try {
    return distinct(finish(clusterRun(workspace.encode, workspace.freeRun(layer, absolute), options)).codebook);
  } finally {
    workspace.encode.release(mark);
  }
}

// The weights are at hand, so a pass wishes for none.
function finish<T>(passes: Passes<T>): T {
  const step = passes.next();
  if (!step.done) throw new Error("a pass over an array wished for weights");
  return step.value;
}

// Unused entries repeat the last.
function distinct(codebook: Float32Array): Float32Array {
  return codebook.filter((x, i) => i === 0 || x !== codebook[i - 1]);
}

/** Codes every weight with the codebook. */
export function codeLayer(workspace: Workspace, layer: Layer, codebook: Float32Array, plan: SlqPlan): CodeCost {
  return workspace.code(layer, codebook, plan.grid === "inq" ? inqBorders : undefined);
}

// INQ gives a magnitude in the middle to the larger power; positive ones would fall to the lower code.
function inqBorders(thresholds: Float32Array): void {
  const bits = new Uint32Array(thresholds.buffer, thresholds.byteOffset, thresholds.length);
  for (let i = 0; i < thresholds.length; i++) {
    const t = thresholds[i] as number;
    // the float32 before
    if (t > 0 && t < Number.POSITIVE_INFINITY) (bits[i] as number) -= 1;
  }
}
