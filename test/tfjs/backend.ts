// TensorFlow.js for tests: the namespace as `@tensorflow/tfjs` has it, on the CPU in plain JavaScript.
import "@tensorflow/tfjs-backend-cpu";
import * as core from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import { Random } from "../kernels/random.ts";

export const tf: typeof core & typeof layers = { ...core, ...layers };

await tf.setBackend("cpu");

/** Weights of the model by the name they are saved under, copied. */
export function snapshot(model: layers.LayersModel): Record<string, Float32Array> {
  const { weights } = model;
  return Object.fromEntries(weights.map((w) => [w.originalName, Float32Array.from(w.read().dataSync())]));
}

/** A compiled model of dense layers with tanh between and one sigmoid output, the same for the same seed. */
export function denseModel(
  sizes: readonly number[],
  optimizer: core.Optimizer | string,
  regularizer?: () => ReturnType<typeof layers.regularizers.l2>,
): layers.LayersModel {
  const model = tf.sequential();
  const units = [...sizes.slice(1), 1];
  for (const [i, count] of units.entries()) {
    model.add(
      tf.layers.dense({
        name: `fc${i}`,
        units: count,
        activation: i === units.length - 1 ? "sigmoid" : "tanh",
        kernelInitializer: tf.initializers.glorotUniform({ seed: 7 + i }),
        ...(i === 0 ? { inputShape: [sizes[0] as number] } : {}),
        ...(regularizer ? { kernelRegularizer: regularizer() } : {}),
      }),
    );
  }
  model.compile({ optimizer, loss: "binaryCrossentropy", metrics: ["accuracy"] });
  return model;
}

/** Two half circles, one in the other's arms. The caller disposes them. */
export function twoMoons(count: number, seed: number): { x: core.Tensor; y: core.Tensor } {
  const random = new Random(seed);
  const points = Array.from({ length: count }, (_, i) => {
    const upper = i % 2 === 0;
    const angle = Math.PI * random.unit();
    const [px, py] = upper ? [Math.cos(angle), Math.sin(angle)] : [1 - Math.cos(angle), 0.5 - Math.sin(angle)];
    return [px + 0.08 * random.normal(), py + 0.08 * random.normal(), upper ? 1 : 0] as const;
  });
  return {
    x: tf.tensor2d(points.map(([px, py]) => [px, py])),
    y: tf.tensor2d(points.map(([, , label]) => [label])),
  };
}
