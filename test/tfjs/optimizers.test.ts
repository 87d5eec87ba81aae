// Masked optimizers: no optimizer of TensorFlow.js moves a frozen weight, whatever its slots hold.
import type { Optimizer, Scalar, Tensor, Variable } from "@tensorflow/tfjs-core";
import type { LayersModel } from "@tensorflow/tfjs-layers";
import { describe, expect, test } from "vitest";
import { maskOptimizer } from "../../src/adapters/tfjs.ts";
import { Random } from "../kernels/random.ts";
import { firstChange } from "../slq/training.ts";
import { denseModel, snapshot, tf, twoMoons } from "./backend.ts";

const OPTIMIZERS: Readonly<Record<string, () => Optimizer>> = {
  sgd: () => tf.train.sgd(0.1),
  momentum: () => tf.train.momentum(0.05, 0.9),
  "momentum, nesterov": () => tf.train.momentum(0.05, 0.9, true),
  adagrad: () => tf.train.adagrad(0.1),
  adadelta: () => tf.train.adadelta(1, 0.9, 1e-4),
  adam: () => tf.train.adam(0.01),
  adamax: () => tf.train.adamax(0.01, 0.9, 0.999, undefined, 0.001),
  rmsprop: () => tf.train.rmsprop(0.005, 0.9, 0.5),
  // tfjs takes the root of variance minus epsilon: NaN for steady gradients, such as those of frozen weights
  "rmsprop, centered": () => tf.train.rmsprop(0.001, 0.9, 0.5, 1e-12, true),
};

const { x, y } = twoMoons(16, 1);

/** Masks of the weights that have two dimensions. */
function randomMasks(model: LayersModel, seed: number): Record<string, Uint8Array> {
  const random = new Random(seed);
  const kernels = model.weights.filter(({ shape }) => shape.length > 1);
  return Object.fromEntries(
    kernels.map((w) => [w.originalName, Uint8Array.from({ length: w.read().size }, () => random.below(2))]),
  );
}

const variablesOf = (model: LayersModel): Variable[] => model.trainableWeights.map((w) => w.read() as Variable);

/** Steps down the squared error, doubled in every other step, plus an L2 penalty on all weights. */
function steps(model: LayersModel, optimizer: Optimizer, count: number): void {
  const variables = variablesOf(model);
  const loss = (): Scalar => {
    const error = tf.losses.meanSquaredError(
      y,
      model.apply(x, { training: true }) as Tensor,
      (optimizer.iterations % 2) + 1,
    );
    return variables.reduce((sum, v) => tf.add(sum, tf.mul(tf.sum(tf.square(v)), 0.001)), error) as Scalar;
  };
  for (let i = 0; i < count; i++) optimizer.minimize(loss, false, variables);
}

describe.each(Object.entries(OPTIMIZERS))("%s", (_, create) => {
  test("1000 steps with weight decay: frozen weights keep their bits, all others move", () => {
    const optimizer = create();
    const model = denseModel([2, 6, 4], optimizer);
    // slots are full when weights freeze: momentum alone would move them
    steps(model, optimizer, 20);
    const masks = randomMasks(model, 3);
    // frozen values whose bits are easily lost
    const mask = masks["fc1/kernel"] as Uint8Array;
    const values = snapshot(model)["fc1/kernel"] as Float32Array;
    const frozen = [...mask.keys()].filter((i) => mask[i] === 0);
    for (const [n, value] of [-0, 1e-42, 1e-30].entries()) values[frozen[n] as number] = value;
    tf.tidy(() => model.getLayer("fc1").setWeights([tf.tensor2d(values, [6, 4]), tf.zeros([4])]));
    const before = snapshot(model);

    const masked = maskOptimizer(tf, optimizer, masks, model);
    const tensors = tf.memory().numTensors;
    steps(model, masked, 1000);
    expect(tf.memory().numTensors).toBe(tensors);
    const after = snapshot(model);
    for (const [name, weights] of Object.entries(before)) {
      const free = masks[name] ?? new Uint8Array(weights.length).fill(1);
      const now = after[name] as Float32Array;
      expect(firstChange(weights, now, free), name).toBe(-1);
      expect(
        [...now.keys()].filter((i) => free[i] === 1 && now[i] === weights[i]),
        `${name}: stuck`,
      ).toEqual([]);
      expect(now.every(Number.isFinite), name).toBe(true);
    }
    expect(masked.iterations).toBe(1020);
    masked.dispose();
    model.dispose();
  });

  test("slots of frozen weights stay as they were made, and are saved as the optimizer's own", async () => {
    const optimizer = create();
    const model = denseModel([2, 6, 4], optimizer);
    const masks = Object.fromEntries(variablesOf(model).map((v) => [v.name, new Uint8Array(v.size)]));
    const masked = maskOptimizer(tf, optimizer, masks);
    const before = snapshot(model);
    steps(model, masked, 5);
    expect(snapshot(model)).toEqual(before);
    expect([masked.getClassName(), masked.getConfig()]).toEqual([optimizer.getClassName(), optimizer.getConfig()]);
    if (optimizer.getClassName() === "Adamax") {
      await expect(masked.getWeights()).rejects.toThrow("not implemented for Adamax");
    } else {
      const [iterations, ...slots] = await masked.getWeights();
      expect(iterations?.tensor.dataSync()[0]).toBe(5);
      for (const { name, tensor } of slots) expect(new Set(tensor.dataSync()).size, name).toBe(1);
      tf.dispose(iterations?.tensor);
    }
    masked.dispose();
    model.dispose();
  });
});

describe("a masked optimizer", () => {
  test("counts as an optimizer, takes gradients as a map, and leaves variables without a mask to the inner one", () => {
    const a = tf.variable(tf.tensor1d([1, 2, 3]), true, "a");
    const b = tf.variable(tf.tensor1d([4]), true, "b");
    const masked = maskOptimizer(tf, tf.train.sgd(1), { a: Uint8Array.of(1, 0, 1) });
    expect(masked).toBeInstanceOf(tf.Optimizer);
    masked.applyGradients({ a: tf.tensor1d([1, Number.POSITIVE_INFINITY, 0.5]), b: tf.tensor1d([1]) });
    expect([...a.dataSync(), ...b.dataSync()]).toEqual([0, 2, 2.5, 3]);
    masked.minimize(() => tf.sum(a) as Scalar);
    expect([...a.dataSync()]).toEqual([-1, 2, 1.5]);
    masked.dispose();
    tf.dispose([a, b]);
  });

  test("copies masks, gives the inner optimizer back, and disposes it when asked", () => {
    const v = tf.variable(tf.tensor1d([1, 2]), true, "v");
    const tensors = tf.memory().numTensors;
    const inner = tf.train.momentum(1, 0.5);
    const mask = Uint8Array.of(0, 1);
    const masked = maskOptimizer(tf, inner, { v: mask });
    mask.fill(1);
    tf.tidy(() => masked.applyGradients({ v: tf.tensor1d([1, 1]) }));
    expect([...v.dataSync()]).toEqual([1, 1]);
    expect(masked.unmask()).toBe(inner);
    tf.tidy(() => masked.applyGradients({ v: tf.tensor1d([1, 1]) }));
    expect([...v.dataSync()]).toEqual([0, -0.5]);
    masked.dispose();
    expect(tf.memory().numTensors).toBe(tensors);
    v.dispose();
  });

  test("puts frozen weights back even where the inner optimizer fails half-way", () => {
    const v = tf.variable(tf.tensor1d([1, 2]), true, "w");
    const inner = tf.train.sgd(1);
    inner.applyGradients = () => {
      v.assign(tf.tensor1d([8, 9]));
      throw new Error("half-way");
    };
    const masked = maskOptimizer(tf, inner, { w: Uint8Array.of(0, 1) });
    expect(() => masked.applyGradients({ w: tf.tensor1d([1, 1]) })).toThrow("half-way");
    expect([...v.dataSync()]).toEqual([1, 9]);
    masked.dispose();
    v.dispose();
  });

  test("refuses masks of no variable or another size, and leaves nothing behind", () => {
    const v = tf.variable(tf.tensor1d([1, 2]), true, "u");
    const inner = tf.train.sgd(1);
    const tensors = tf.memory().numTensors;
    const ok = Uint8Array.of(1, 1);
    expect(() => maskOptimizer(tf, inner, { u: ok, none: ok })).toThrow('mask "none": no variable has that name');
    expect(() => maskOptimizer(tf, inner, { u: Uint8Array.of(1) })).toThrow('mask "u" has 1 elements, the variable 2');
    expect(tf.memory().numTensors).toBe(tensors);
    inner.dispose();
    v.dispose();
  });
});
