// Masked optimizer: any optimizer of TensorFlow.js, kept from moving frozen weights.
import type { NamedTensorMap, Optimizer, serialization, Tensor, Variable } from "@tensorflow/tfjs-core";
import type { LayersModel } from "@tensorflow/tfjs-layers";
import { type Tf, variablesOf } from "./tfjs-weights.ts";

/** An optimizer that does not move frozen weights; saved with a model, it is the inner one. */
export interface MaskedOptimizer extends Optimizer {
  /** The optimizer that does the work; its learning rate may be changed at any time. */
  readonly inner: Optimizer;
  /** Disposes the masks alone and gives the inner optimizer back, as it is. */
  unmask(): Optimizer;
  /** Disposes the masks and the inner optimizer. */
  dispose(): void;
}

// not exported by tfjs-core
type NamedTensor = Awaited<ReturnType<Optimizer["saveIterations"]>>;

interface Masked {
  readonly variable: Variable;
  /** Boolean: true where free. */
  readonly free: Tensor;
}

/**
 * Keeps an optimizer from moving frozen weights, to the bit: gradients of frozen weights are zero before the inner
 * optimizer sees them, so that its slots stay clean, and whatever it then does with slots it had (momentum, Adam), frozen
 * weights get the value they had. Needs a backend with 32-bit floats.
 *
 * @param masks by name a byte a weight, 1 free, 0 frozen, as `slq.masks` has them; copied
 * @param model names are those of its weights (`originalName`, as saved); without it those of the variables (`name`)
 * @throws RangeError where no variable has the name or the mask another size
 * @example
 * const optimizer = maskOptimizer(tf, tf.train.adam(0.001), slq.masks, model);
 * model.compile({ optimizer, loss: "categoricalCrossentropy" });
 */
export function maskOptimizer(
  tf: Tf,
  optimizer: Optimizer,
  masks: Readonly<Record<string, Uint8Array>>,
  model?: LayersModel,
): MaskedOptimizer {
  const variables = model ? variablesOf(model) : new Map(Object.entries(tf.engine().registeredVariables));
  // all are checked before the first tensor is made
  const found = Object.entries(masks).map(([name, mask]) => {
    const variable = variables.get(name);
    if (!variable) throw new RangeError(`mask "${name}": no variable has that name`);
    if (variable.size !== mask.length) {
      throw new RangeError(`mask "${name}" has ${mask.length} elements, the variable ${variable.size}`);
    }
    return { variable, mask };
  });
  const masked = new Map<string, Masked>();
  for (const { variable, mask } of found) {
    masked.set(variable.name, { variable, free: tf.tensor(mask.slice(), variable.shape, "bool") });
  }
  // a class in a function: its base comes with `tf`
  class MaskedBy extends tf.Optimizer implements MaskedOptimizer {
    readonly inner = optimizer;

    override get iterations(): number {
      return optimizer.iterations;
    }

    override applyGradients(gradients: NamedTensorMap | NamedTensor[]): void {
      const list = Array.isArray(gradients)
        ? gradients
        : Object.entries(gradients).map(([name, tensor]): NamedTensor => ({ name, tensor }));
      const held: Tensor[] = [];
      const hold = (tensor: Tensor): Tensor => {
        held.push(tensor);
        return tensor;
      };
      try {
        // no copies: `assign` gives the variable other data, the clone keeps those there were
        const before = [...masked.values()].map(({ variable, free }) => ({
          variable,
          free,
          value: hold(variable.clone()),
        }));
        const freeGradients = list.map(({ name, tensor }): NamedTensor => {
          const mask = masked.get(name);
          // `where` and not a product: 0 times infinity is not 0
          if (!mask || !tensor) return { name, tensor };
          return { name, tensor: hold(tf.tidy(() => tf.where(mask.free, tensor, tf.zerosLike(tensor)))) };
        });
        try {
          optimizer.applyGradients(freeGradients);
        } finally {
          for (const { variable, free, value } of before) {
            tf.tidy(() => variable.assign(tf.where(free, variable, value)));
          }
        }
      } finally {
        tf.dispose(held);
      }
    }

    unmask(): Optimizer {
      for (const { free } of masked.values()) free.dispose();
      masked.clear();
      return optimizer;
    }

    override dispose(): void {
      this.unmask();
      optimizer.dispose();
      // tfjs 4's momentum leaves the learning rate that it has from SGD behind
      if (optimizer.getClassName() === "Momentum") tf.dispose(Reflect.get(optimizer, "c"));
    }

    override getClassName(): string {
      return optimizer.getClassName();
    }

    override getConfig(): serialization.ConfigDict {
      return optimizer.getConfig();
    }

    override saveIterations(): Promise<NamedTensor> {
      return optimizer.saveIterations();
    }

    override getWeights(): Promise<NamedTensor[]> {
      return optimizer.getWeights();
    }

    override setWeights(weights: NamedTensor[]): Promise<void> {
      return optimizer.setWeights(weights);
    }
  }
  return new MaskedBy();
}
