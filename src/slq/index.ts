// wlq/slq: incremental quantization (SLQ, ESLQ, MLQ, INQ) of live weights, round by round, with re-training between.
import { byteSource } from "../io/source.ts";
import { countElements, type Tensor } from "../tensor.ts";
import { Slq } from "./engine.ts";
import { newLayer } from "./layer.ts";
import { planSlq, type SlqOptions } from "./plan.ts";
import { readState } from "./state.ts";
import { loadKernels, Workspace } from "./workspace.ts";

export { WlqError, type WlqErrorCode } from "../error.ts";
export type { Tensor } from "../tensor.ts";
export type { Moved, NextOptions, Probe, Slq } from "./engine.ts";
export { type InitSlqOptions, initSlq } from "./init.ts";
export type { Evaluate, Trial } from "./losses.ts";
export { maskF32 } from "./mask.ts";
export {
  type Grid,
  type LayerPlan,
  type LayerRule,
  type PartitionBy,
  type PruneOptions,
  presets,
  type ReferenceOptions,
  SLQ_DEFAULTS,
  type SlqOptions,
  type SlqPlan,
} from "./plan.ts";
export type { ClusterReport, LayerReport, RoundRecord, RoundReport } from "./report.ts";
export type { GivenLosses } from "./round.ts";
export type { Schedule } from "./schedule.ts";

/** Live weights by name; a plain array has no shape and counts as a weight, whatever its size. */
export type SlqLayers = Readonly<Record<string, Float32Array | Tensor>>;

/**
 * Begins the incremental quantization of some layers. Arrays are changed in place by every `next`; nothing else of the
 * network is touched: layers of one dimension (biases, norms) and those left out stay trainable and have no mask.
 *
 * @param layers live float32 weights; 2 bytes a weight are held beside them
 * @throws RangeError or TypeError with the option that is wrong
 * @example
 * const slq = await createSlq({ conv1, fc1 }, { ...presets.slq, levels: 9 });
 * while (!slq.done) {
 *   await slq.next();
 *   await train(slq.masks);
 * }
 */
export async function createSlq(layers: SlqLayers, options: SlqOptions = {}): Promise<Slq> {
  const tensors = new Map(Object.entries(layers).map(([name, weights]) => [name, asTensor(name, weights)]));
  const plan = planSlq(
    [...tensors].map(([name, { shape }]) => ({ name, shape })),
    options,
  );
  await loadKernels();
  const chosen = plan.layers.map(({ name, levels }) => {
    const { data, shape } = tensors.get(name) as Live;
    return newLayer(name, data, shape ?? [data.length], levels);
  });
  return new Slq({ plan, round: 0, layers: chosen, history: [] }, new Workspace());
}

/**
 * Goes on from what `save` gave.
 *
 * @param layers the live weights, re-trained meanwhile or not; absent: `slq.weights` has those of the state
 * @throws WlqError where the bytes are no state or damaged; RangeError where layers have other names or sizes
 */
export async function resumeSlq(bytes: ArrayBuffer | Uint8Array, layers?: SlqLayers): Promise<Slq> {
  await loadKernels();
  const workspace = new Workspace();
  const { state } = await readState(byteSource(bytes), workspace);
  if (!layers) return new Slq(state, workspace);
  const live = state.layers.map((layer) => {
    const weights = Object.hasOwn(layers, layer.name) ? layers[layer.name] : undefined;
    if (weights === undefined) throw new RangeError(`the state has a layer "${layer.name}", the layers given have not`);
    const { data } = asTensor(layer.name, weights);
    if (data.length !== layer.data.length) {
      throw new RangeError(`layer "${layer.name}" has ${data.length} weights, in the state ${layer.data.length}`);
    }
    return { ...layer, data };
  });
  return new Slq({ ...state, layers: live }, workspace);
}

interface Live {
  readonly data: Float32Array;
  readonly shape: readonly number[] | undefined;
}

function asTensor(name: string, weights: Float32Array | Tensor): Live {
  if (weights instanceof Float32Array) return { data: weights, shape: undefined };
  if (!(weights?.data instanceof Float32Array) || !Array.isArray(weights.shape)) {
    throw new TypeError(`layer "${name}" must be a Float32Array or { data: Float32Array, shape: number[] }`);
  }
  const count = countElements(weights.shape, name);
  if (count !== weights.data.length) {
    throw new RangeError(
      `layer "${name}": shape [${weights.shape.join(", ")}] has ${count} elements, data has ${weights.data.length}`,
    );
  }
  return weights;
}
