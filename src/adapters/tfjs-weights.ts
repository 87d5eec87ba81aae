// Weights of a TensorFlow.js model, by name: out to arrays that rounds change in place, and back.
import type * as tfc from "@tensorflow/tfjs-core";
import type { LayersModel } from "@tensorflow/tfjs-layers";
import type { Tensor } from "../tensor.ts";

/** What is needed of the namespace `tf`, of `@tensorflow/tfjs` or `@tensorflow/tfjs-core`: nothing of it is imported here. */
export type Tf = Pick<typeof tfc, "Optimizer" | "dispose" | "engine" | "tensor" | "tidy" | "where" | "zerosLike">;

/** The float32 variables of a model by the name they are saved under, e.g. `dense_Dense1/kernel`. */
export function variablesOf(model: LayersModel): Map<string, tfc.Variable> {
  const variables = new Map<string, tfc.Variable>();
  for (const weight of model.weights) {
    if (weight.dtype !== "float32") continue;
    const { originalName } = weight;
    if (variables.has(originalName)) throw new RangeError(`two weights of the model are called "${originalName}"`);
    variables.set(originalName, weight.read() as tfc.Variable);
  }
  return variables;
}

/** The variable of that name. Throws `RangeError` if there is none. */
export function variableOf(variables: ReadonlyMap<string, tfc.Variable>, name: string): tfc.Variable {
  const variable = variables.get(name);
  if (!variable) throw new RangeError(`no float32 weight "${name}" among ${[...variables.keys()].join(", ")}`);
  return variable;
}

/** Copies of the float32 weights of a model with their shapes, for `createSlq`. */
export async function layersOf(model: LayersModel): Promise<Record<string, Tensor>> {
  const layers: [string, Tensor][] = [];
  for (const [name, variable] of variablesOf(model)) {
    // a copy: backends in main memory give their own array
    layers.push([name, { data: Float32Array.from(await variable.data()), shape: [...variable.shape] }]);
  }
  return Object.fromEntries(layers);
}

/** Reads weights of the model into arrays that are there: `pullWeights(model, slq.weights)` after training. */
export async function pullWeights(model: LayersModel, weights: Readonly<Record<string, Float32Array>>): Promise<void> {
  const variables = variablesOf(model);
  for (const [name, data] of Object.entries(weights)) data.set(await variableOf(variables, name).data());
}

/** Writes copies of the weights into the model: `pushWeights(tf, model, slq.weights)` after a round. */
export function pushWeights(tf: Tf, model: LayersModel, weights: Readonly<Record<string, Float32Array>>): void {
  const variables = variablesOf(model);
  for (const [name, data] of Object.entries(weights)) {
    const variable = variableOf(variables, name);
    // not by `LayerVariable.write`, which would apply the constraint to values that are frozen
    tf.tidy(() => variable.assign(tf.tensor(data.slice(), variable.shape, "float32")));
  }
}
