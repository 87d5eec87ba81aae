// wlq/tfjs: rounds over a TensorFlow.js model, with an optimizer that leaves frozen weights alone. Imports no tfjs: `tf` is given.
import type { Optimizer, Tensor } from "@tensorflow/tfjs-core";
import type { CustomCallbackArgs, LayersModel } from "@tensorflow/tfjs-layers";
import { WlqError } from "../error.ts";
import { checkAborted } from "../io/sink.ts";
import { createSlq, type Evaluate, type RoundReport, resumeSlq, type Slq, type SlqOptions } from "../slq/index.ts";
import { maskOptimizer } from "./tfjs-mask.ts";
import { layersOf, pullWeights, pushWeights, type Tf } from "./tfjs-weights.ts";

export { WlqError, type WlqErrorCode } from "../error.ts";
export { type MaskedOptimizer, maskOptimizer } from "./tfjs-mask.ts";
export { layersOf, pullWeights, pushWeights, type Tf } from "./tfjs-weights.ts";

/** Inputs and targets as `model.fit` takes them; never disposed here. */
export interface Samples {
  readonly x: Tensor | Tensor[] | { [inputName: string]: Tensor };
  readonly y: Tensor | Tensor[] | { [outputName: string]: Tensor };
}

/** What a training function must pass on to `model.fit` or `model.fitDataset`. */
export interface FitArgs {
  readonly epochs: number;
  readonly callbacks: CustomCallbackArgs;
}

/** Values of the training loss and metrics by name. */
export type Logs = Readonly<Record<string, number>>;

/** How the rounds over a model go. */
export interface SlqFitOptions {
  /** Options of the rounds. */
  readonly slq?: SlqOptions;
  /** What `slq.save()` gave: goes on with the next round. Instead of `slq`, whose options are in it. */
  readonly state?: ArrayBuffer | Uint8Array;
  /** Tensors, or a function that trains: `(args) => model.fitDataset(data, { ...args, batchesPerEpoch: 100 })`. */
  readonly train: Samples | ((args: FitArgs) => Promise<unknown>);
  /** Tensors for the model's loss, or a function that measures one: clusters freeze by it, and each round reports it. */
  readonly validation?: Samples | (() => number | Promise<number>);
  /** Epochs after each round; a function gets the round from 1. Default 1. The last round trains biases and norms alone. */
  readonly epochs?: number | ((round: number, rounds: number) => number);
  /** Of training and validation on tensors. Default 32. */
  readonly batchSize?: number;
  /** Whether training on tensors shuffles them. Default true. */
  readonly shuffle?: boolean;
  /** A new optimizer for each round, from 1; disposed after it. Default: the one the model was compiled with, throughout. */
  readonly optimizer?: (round: number, rounds: number) => Optimizer;
  /** Awaited. `slq` is for `slq.save()` where the phase is `trained`. */
  readonly onProgress?: (event: SlqFitEvent, slq: Slq) => void | Promise<void>;
  readonly signal?: AbortSignal;
}

/** How far the rounds are, as plain data. Rounds and epochs count from 1. */
export type SlqFitEvent =
  | { readonly phase: "frozen"; readonly round: number; readonly rounds: number; readonly report: RoundReport }
  | {
      readonly phase: "epoch";
      readonly round: number;
      readonly rounds: number;
      readonly epoch: number;
      readonly epochs: number;
      readonly logs: Logs;
    }
  | { readonly phase: "trained"; readonly round: number; readonly rounds: number; readonly loss?: number };

/** One round with its training. */
export interface SlqFitRound {
  readonly report: RoundReport;
  /** Per epoch. */
  readonly logs: readonly Logs[];
  /** On the validation data, after training. */
  readonly loss?: number;
}

/** Result of {@link slqFit}. */
export interface SlqFitResult {
  readonly slq: Slq;
  readonly rounds: readonly SlqFitRound[];
}

/**
 * Runs the rounds over a compiled model: freeze, train the rest, check that nothing frozen moved, and again, until every
 * weight of the layers concerned is a value of its layer's codebook. These are the float32 weights that `createSlq` takes,
 * trainable or not; biases, norms and layers left out are trained throughout. Frees every tensor it makes.
 *
 * @param tf the namespace of `@tensorflow/tfjs`, or of tfjs-core
 * @throws WlqError `moved` where something beside the optimizer changed a frozen weight, `aborted` by the signal (after the
 * batch, or the call of `evaluate`, that was running); RangeError or TypeError for options
 * @example
 * await slqFit(tf, model, { slq: { levels: 9 }, train: { x, y }, validation: { x: xVal, y: yVal }, epochs: 2 });
 */
export async function slqFit(tf: Tf, model: LayersModel, options: SlqFitOptions): Promise<SlqFitResult> {
  const { state, validation, onProgress, signal } = options;
  checkAborted(signal);
  if (!model.optimizer) throw new TypeError("the model must be compiled before its rounds: model.compile({ … })");
  if (state && options.slq) throw new TypeError("options of the rounds are in the state: give slq or state");
  const layers = await layersOf(model);
  const slq = await (state ? resumeSlq(state, layers) : createSlq(layers, options.slq));
  const lossOf = validation && (() => measureLoss(model, validation, options.batchSize));
  const { rounds } = slq;
  const done: SlqFitRound[] = [];
  while (!slq.done) {
    checkAborted(signal);
    const report = await freeze(tf, model, slq, lossOf, signal);
    const { round } = report;
    await onProgress?.({ phase: "frozen", round, rounds, report }, slq);
    const logs = await train(tf, model, slq, options);
    checkAborted(signal);
    refuseMoved(slq);
    const measured = lossOf ? { loss: await lossOf() } : {};
    done.push({ report, logs, ...measured });
    await onProgress?.({ phase: "trained", round, rounds, ...measured }, slq);
  }
  return { slq, rounds: done };
}

/** A round of the engine; while it measures, the model has the weights of each trial. */
async function freeze(
  tf: Tf,
  model: LayersModel,
  slq: Slq,
  lossOf: (() => Promise<number>) | undefined,
  signal: AbortSignal | undefined,
): Promise<RoundReport> {
  const push = (...names: string[]): void => {
    const { weights } = slq;
    pushWeights(tf, model, Object.fromEntries(names.map((name) => [name, weights[name] as Float32Array])));
  };
  // the layer that differs in the model from what it was when the round began
  let tried: string | undefined;
  const evaluate: Evaluate | undefined =
    lossOf &&
    (async (trial) => {
      checkAborted(signal);
      if (tried !== undefined && tried !== trial?.layer) push(tried);
      tried = trial?.layer;
      if (tried !== undefined) push(tried);
      return await lossOf();
    });
  try {
    return await slq.next({ evaluate });
  } finally {
    push(...Object.keys(slq.weights));
  }
}

/** Trains what is free; leaves the model with the optimizer it had and the engine with the model's weights. */
async function train(tf: Tf, model: LayersModel, slq: Slq, options: SlqFitOptions): Promise<Logs[]> {
  const { epochs: wanted = 1, batchSize, shuffle, onProgress, signal } = options;
  const { round, rounds } = slq;
  const epochs = typeof wanted === "number" ? wanted : wanted(round, rounds);
  if (!Number.isSafeInteger(epochs) || epochs < 0) throw new RangeError(`epochs must be a count, got ${epochs}`);
  const logs: Logs[] = [];
  if (epochs === 0) return logs;
  checkAborted(signal);
  const stop = (): void => {
    model.stopTraining = true;
  };
  const callbacks: CustomCallbackArgs = {
    onEpochEnd: async (_, values) => {
      const plain = { ...values } as Logs;
      logs.push(plain);
      // the model forgets a stop that comes before its first batch
      if (signal?.aborted) stop();
      await onProgress?.({ phase: "epoch", round, rounds, epoch: logs.length, epochs, logs: plain }, slq);
    },
  };
  const own = model.optimizer;
  // private to the model, reset when `optimizer` is set: whether `model.dispose()` disposes it
  const owned: unknown = Reflect.get(model, "isOptimizerOwned");
  const masked = maskOptimizer(tf, options.optimizer?.(round, rounds) ?? own, slq.masks, model);
  model.optimizer = masked;
  signal?.addEventListener("abort", stop);
  try {
    if (typeof options.train === "function") await options.train({ epochs, callbacks });
    else {
      const { x, y } = options.train;
      await model.fit(x, y, {
        epochs,
        callbacks,
        verbose: 0,
        ...(batchSize === undefined ? {} : { batchSize }),
        ...(shuffle === undefined ? {} : { shuffle }),
      });
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    model.optimizer = own;
    Reflect.set(model, "isOptimizerOwned", owned);
    if (masked.inner === own) masked.unmask();
    else masked.dispose();
    await pullWeights(model, slq.weights);
  }
  return logs;
}

async function measureLoss(
  model: LayersModel,
  validation: Samples | (() => number | Promise<number>),
  batchSize: number | undefined,
): Promise<number> {
  if (typeof validation === "function") return await validation();
  const { x, y } = validation;
  // `evaluate` takes named tensors too, its type does not say so
  const results = model.evaluate(x as Tensor[], y as Tensor[], batchSize === undefined ? {} : { batchSize });
  const scalars = Array.isArray(results) ? results : [results];
  try {
    // the loss, before metrics
    return (await scalars[0]?.data())?.[0] ?? Number.NaN;
  } finally {
    for (const scalar of scalars) scalar.dispose();
  }
}

function refuseMoved(slq: Slq): void {
  const moved = slq.check();
  if (!moved) return;
  const { layer, index, expected, actual } = moved;
  const what = `layer "${layer}": weight ${index} was frozen at ${expected} and is ${actual} after training`;
  const why = "something beside the optimizer wrote it, or the backend has no 32-bit floats";
  throw new WlqError("moved", `${what}: ${why}`, { tensor: layer });
}
