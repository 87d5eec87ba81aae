// Rounds over a TensorFlow.js model: what is frozen stays, what is measured and reported, what is left in memory.
import type { Optimizer, Scalar, Tensor } from "@tensorflow/tfjs-core";
import type { LayersModel } from "@tensorflow/tfjs-layers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  layersOf,
  maskOptimizer,
  pullWeights,
  pushWeights,
  type SlqFitEvent,
  type SlqFitOptions,
  slqFit,
} from "../../src/adapters/tfjs.ts";
import { createSlq, presets, type Slq } from "../../src/slq/index.ts";
import { denseModel, snapshot, tf, twoMoons } from "./backend.ts";

const train = twoMoons(256, 1);
const validation = twoMoons(256, 2);
const small = twoMoons(16, 3);
afterAll(() => tf.dispose([train, validation, small]));

function accuracy(model: LayersModel): number {
  const [loss, share] = model.evaluate(validation.x, validation.y) as Scalar[];
  const value = share?.dataSync()[0] as number;
  tf.dispose([loss, share]);
  return value;
}

function distinct(weights: Float32Array | undefined): number {
  return new Set(weights).size;
}

/** A model whose rounds are quick. */
const tiny = (optimizer: Optimizer | string = "sgd"): LayersModel => denseModel([2, 4, 3], optimizer);
const quick: SlqFitOptions = { train: small, slq: { levels: 3 }, batchSize: 16, shuffle: false };

describe("two moons", () => {
  let trained: Record<string, Float32Array>;
  let before: number;

  /** The trained float network, compiled with a new optimizer. */
  function trainedModel(): LayersModel {
    const model = denseModel([2, 16, 16], tf.train.adam(0.01));
    pushWeights(tf, model, trained);
    return model;
  }

  beforeAll(async () => {
    const model = denseModel([2, 16, 16], tf.train.adam(0.02));
    await model.fit(train.x, train.y, { epochs: 40, batchSize: 64, shuffle: false, verbose: 0 });
    trained = snapshot(model);
    before = accuracy(model);
    model.dispose();
    expect(before).toBeGreaterThan(0.97);
  });

  test.each([
    ["SLQ by loss", { ...presets.slq, levels: 5 }],
    ["ESLQ", { ...presets.eslq, levels: 9 }],
    ["INQ", presets.inq],
    ["MLQ", { ...presets.mlq, levels: 5 }],
  ])("%s ends with every weight a value of its codebook, as accurate as before", async (_, options) => {
    const model = trainedModel();
    const { slq, rounds } = await slqFit(tf, model, {
      // a kernel of one column would count as a vector
      slq: { ...options, include: /kernel/, evaluations: 20 },
      train,
      validation,
      epochs: (round, of) => (round < of ? 12 : 4),
      batchSize: 64,
      shuffle: false,
    });
    expect(slq.done).toBe(true);
    expect(slq.check()).toBeUndefined();
    expect(rounds).toHaveLength(slq.rounds);
    const weights = snapshot(model);
    expect(Object.keys(slq.masks).sort()).toEqual(["fc0/kernel", "fc1/kernel", "fc2/kernel"]);
    for (const [name, codebook] of Object.entries(slq.codebooks)) {
      const values = new Set(codebook);
      expect(
        [...(weights[name] ?? [])].filter((w) => !values.has(w)),
        name,
      ).toEqual([]);
      expect(codebook.length).toBeLessThanOrEqual(slq.plan.layers.find((l) => l.name === name)?.levels ?? 0);
      expect(slq.weights[name]).toEqual(weights[name]);
    }
    expect(weights["fc0/bias"]).not.toEqual(trained["fc0/bias"]);
    expect(accuracy(model)).toBeGreaterThan(before - 0.02);
    expect(rounds.at(-1)?.loss).toBeLessThan(0.2);
    model.dispose();
  });
});

describe("a round", () => {
  test("measures losses with the weights of each trial in the model, and leaves it with those of the round", async () => {
    const model = tiny();
    const seen: Record<string, Float32Array>[] = [];
    const start = snapshot(model);
    const { rounds } = await slqFit(tf, model, {
      ...quick,
      slq: { levels: 3, schedule: { clusters: [3] } },
      epochs: 0,
      validation: () => {
        seen.push(snapshot(model));
        return seen.length;
      },
    });
    const [{ report, logs, loss } = {}] = rounds;
    expect(report).toMatchObject({ round: 1, rounds: 1, done: true });
    expect([logs, loss]).toEqual([[], seen.length]);
    expect(snapshot(model)).toEqual(seen.at(-1));
    expect(distinct(seen.at(-1)?.["fc1/kernel"])).toBeLessThanOrEqual(3);
    expect(start["fc0/bias"]).toEqual(seen.at(-1)?.["fc0/bias"]);
    model.dispose();
  });

  test("shows the model one quantized cluster at a time", async () => {
    const model = tiny();
    const start = snapshot(model);
    const changed: string[][] = [];
    const { rounds } = await slqFit(tf, model, {
      ...quick,
      slq: { levels: 3, schedule: { clusters: [1, 3] } },
      epochs: 0,
      validation: () => {
        const now = snapshot(model);
        changed.push(Object.keys(start).filter((name) => now[name]?.some((w, i) => w !== start[name]?.[i])));
        return changed.length;
      },
    });
    const evaluations = rounds[0]?.report.evaluations as number;
    expect(evaluations).toBeGreaterThan(5);
    const [asIs, ...trials] = changed.slice(0, evaluations);
    expect(asIs).toEqual([]);
    // zero has no weights of its own to lose: its trial may change nothing
    expect(trials.every((names) => names.length <= 1)).toBe(true);
    expect(new Set(trials.flat())).toEqual(new Set(["fc0/kernel", "fc1/kernel"]));
    model.dispose();
  });

  test("reports rounds and epochs as plain data", async () => {
    const model = tiny();
    const events: SlqFitEvent[] = [];
    const { rounds } = await slqFit(tf, model, {
      ...quick,
      slq: { levels: 3, schedule: { clusters: [1, 3] } },
      validation: small,
      epochs: 2,
      onProgress: async (event) => {
        await null;
        events.push(JSON.parse(JSON.stringify(event)));
      },
    });
    expect(events.map((e) => ("epoch" in e ? `${e.round}:${e.epoch}/${e.epochs}` : `${e.round}:${e.phase}`))).toEqual([
      ...["1:frozen", "1:1/2", "1:2/2", "1:trained"],
      ...["2:frozen", "2:1/2", "2:2/2", "2:trained"],
    ]);
    const epochs = events.flatMap((e) => (e.phase === "epoch" ? [e.logs] : []));
    expect(epochs.every(({ loss, acc }) => typeof loss === "number" && typeof acc === "number")).toBe(true);
    expect(rounds.flatMap(({ logs }) => logs)).toEqual(epochs);
    expect(events.flatMap((e) => (e.phase === "trained" ? [e.loss] : []))).toEqual(rounds.map(({ loss }) => loss));
    model.dispose();
  });

  test("goes on from a saved state as if nothing had been between", async () => {
    const slq = { levels: 5, schedule: { clusters: [1, 3, 5] } } as const;
    const states: Uint8Array[] = [];
    const weights: Record<string, Float32Array>[] = [];
    const model = tiny();
    const whole = await slqFit(tf, model, {
      ...quick,
      slq,
      onProgress: ({ phase }, engine) => {
        if (phase !== "trained") return;
        states.push(engine.save());
        weights.push(snapshot(model));
      },
    });
    const other = tiny();
    pushWeights(tf, other, weights[0] as Record<string, Float32Array>);
    const rest = await slqFit(tf, other, { ...quick, slq: undefined, state: states[0] as Uint8Array });
    expect(rest.rounds.map(({ report }) => report.round)).toEqual([2, 3]);
    expect(rest.slq.save()).toEqual(whole.slq.save());
    expect(snapshot(other)).toEqual(snapshot(model));
    model.dispose();
    other.dispose();
  });

  test("stops training when the signal says so, with the model's own optimizer back and frozen weights in place", async () => {
    const model = tiny();
    const own = model.optimizer;
    const controller = new AbortController();
    let epochs = 0;
    let engine: Slq | undefined;
    const fit = slqFit(tf, model, {
      ...quick,
      slq: { levels: 3, schedule: { clusters: [1, 3] } },
      epochs: 1000,
      signal: controller.signal,
      onProgress: ({ phase }, slq) => {
        if (phase === "epoch" && ++epochs === 3) controller.abort(new Error("enough"));
        engine = slq;
      },
    });
    await expect(fit).rejects.toMatchObject({ code: "aborted", message: "stopped by the caller: enough" });
    expect(epochs).toBe(3);
    expect(engine?.check()).toBeUndefined();
    expect(snapshot(model)).toMatchObject(engine?.weights ?? { none: 0 });
    expect(model.optimizer).toBe(own);
    const second = new AbortController();
    const inBatch = async (): Promise<void> => {
      second.abort();
      expect(model.stopTraining).toBe(true);
    };
    const stoppedInBatch = slqFit(tf, model, { ...quick, train: inBatch, signal: second.signal });
    await expect(stoppedInBatch).rejects.toMatchObject({ code: "aborted" });
    const stopped = AbortSignal.abort();
    await expect(slqFit(tf, model, { ...quick, signal: stopped })).rejects.toMatchObject({ code: "aborted" });
    model.dispose();
  });

  test("a failing evaluation leaves the weights as they were", async () => {
    const model = tiny();
    const start = snapshot(model);
    let calls = 0;
    const validation = (): number => {
      if (++calls === 4) throw new Error("no loss");
      return calls;
    };
    await expect(slqFit(tf, model, { ...quick, validation })).rejects.toThrow("no loss");
    expect(snapshot(model)).toEqual(start);
    model.dispose();
  });

  test("notices frozen weights that something else has changed, by layer, index and values", async () => {
    const model = tiny();
    const meddle = async (): Promise<void> => {
      pushWeights(tf, model, { "fc1/kernel": new Float32Array(12).fill(7) });
    };
    await expect(slqFit(tf, model, { ...quick, train: meddle })).rejects.toMatchObject({
      code: "moved",
      tensor: "fc1/kernel",
      message: expect.stringMatching(/^layer "fc1\/kernel": weight \d+ was frozen at -?\d.* and is 7 after training: /),
    });
    model.dispose();
  });

  test("arrays and variables share no memory: what changes in one is not in the other", async () => {
    const model = tiny();
    const start = snapshot(model);
    const taken = (await layersOf(model))["fc1/kernel"]?.data as Float32Array;
    taken.fill(5);
    expect(snapshot(model)).toEqual(start);
    pushWeights(tf, model, { "fc1/kernel": taken });
    taken.fill(6);
    expect(new Set(snapshot(model)["fc1/kernel"])).toEqual(new Set([5]));
    await pullWeights(model, { "fc1/kernel": taken });
    taken.fill(7);
    expect(new Set(snapshot(model)["fc1/kernel"])).toEqual(new Set([5]));
    model.dispose();
  });

  test("values that a constraint would change stay as they are frozen", async () => {
    const model = tf.sequential();
    const kernelConstraint = tf.constraints.nonNeg();
    model.add(tf.layers.dense({ name: "only", units: 3, inputShape: [2], kernelConstraint, useBias: false }));
    const weights = { "only/kernel": Float32Array.of(-1, 2, -3, 4, -5, 6) };
    pushWeights(tf, model, weights);
    expect(snapshot(model)).toEqual(weights);
    model.dispose();
  });

  test("refuses a model that is not compiled, epochs that are no count, and names that it has not", async () => {
    const model = tiny();
    await expect(slqFit(tf, model, { ...quick, epochs: -1 })).rejects.toThrow("epochs must be a count, got -1");
    await expect(slqFit(tf, model, { ...quick, state: new Uint8Array(8) })).rejects.toThrow("give slq or state");
    expect(() => pushWeights(tf, model, { none: new Float32Array(1) })).toThrow('no float32 weight "none" among fc0/');
    model.dispose();
    const raw = tf.sequential({ layers: [tf.layers.dense({ units: 2, inputShape: [2] })] });
    await expect(slqFit(tf, raw, quick)).rejects.toThrow("must be compiled");
    raw.dispose();
  });
});

describe("memory", () => {
  test("holds as many tensors after each of 100 rounds", async () => {
    const fractions = Array.from({ length: 100 }, (_, i) => (i + 1) / 100);
    const model = denseModel([2, 16, 8], "adam");
    const tensors: number[] = [];
    const bytes: number[] = [];
    const { rounds } = await slqFit(tf, model, {
      ...quick,
      slq: { levels: 9, schedule: { fractions }, evaluations: 3 },
      validation: small,
      onProgress: ({ phase }) => {
        if (phase !== "trained") return;
        tensors.push(tf.memory().numTensors);
        bytes.push(tf.memory().numBytes);
      },
    });
    expect(rounds).toHaveLength(100);
    expect(new Set(tensors).size).toBe(1);
    expect(new Set(bytes).size).toBe(1);
    model.dispose();
  });

  test("is as before after a model with rounds is disposed, with its optimizer or with one of each round", async () => {
    const before = tf.memory().numTensors;
    for (const optimizer of [undefined, () => tf.train.adam(0.01), () => tf.train.momentum(0.01, 0.9)]) {
      const model = tiny("adam");
      await slqFit(tf, model, { ...quick, validation: small, ...(optimizer ? { optimizer } : {}) });
      model.dispose();
      expect(tf.memory().numTensors).toBe(before);
    }
  });

  test("a loop of one's own: layersOf, createSlq, pushWeights, maskOptimizer, pullWeights", async () => {
    const model = tiny();
    const slq = await createSlq(await layersOf(model), { levels: 3 });
    while (!slq.done) {
      await slq.next();
      pushWeights(tf, model, slq.weights);
      const optimizer = maskOptimizer(tf, tf.train.sgd(0.1), slq.masks, model);
      const kernels = model.trainableWeights.map((w) => w.read() as InstanceType<typeof tf.Variable>);
      const loss = (): Scalar => tf.losses.meanSquaredError(small.y, model.apply(small.x) as Tensor) as Scalar;
      optimizer.minimize(loss, false, kernels);
      optimizer.dispose();
      await pullWeights(model, slq.weights);
      expect(slq.check()).toBeUndefined();
    }
    expect(distinct(snapshot(model)["fc0/kernel"])).toBeLessThanOrEqual(3);
    model.dispose();
  });
});
