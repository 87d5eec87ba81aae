// Notes without training, the experiment's quick form: a TensorFlow.js graph model's layers, what they see, and 8 levels.
import { beforeAll, expect, test } from "vitest";
import { collected } from "../../experiments/calibrate/model.ts";
import { fileOf, weightsOf } from "../../experiments/pitch/container.ts";
import { calibrateGraph, type Graph, openGraph } from "../../experiments/pitch/graph.ts";
import { musicClips } from "../../experiments/pitch/music.ts";
import { accuracy, distance, hear, loadModel, readModel, tensorOf } from "../../experiments/pitch/subject.ts";
import { calibration } from "../../src/calibrate/index.ts";
import { StatisticsFile } from "../../src/calibrate/statistics.ts";
import { compress, decompress } from "../../src/index.ts";
import type { Tensor } from "../../src/tensor.ts";

const MODEL = "StatefulPartitionedCall/model_1";
let artifacts: Awaited<ReturnType<typeof readModel>>;
let graph: Graph;
beforeAll(async () => {
  artifacts = await readModel();
  graph = openGraph(artifacts);
});

test("weights go out, each distinct tensor once, and come back as they were", async () => {
  const counts = [graph.weights, artifacts.weightSpecs as object].map((of) => Object.keys(of).length);
  expect(counts[0]).toBeLessThan(counts[1] as number);
  const out = await weightsOf(fileOf(graph.weights));
  expect(new Uint8Array(graph.withWeights(out).weightData as ArrayBuffer)).toEqual(
    new Uint8Array(artifacts.weightData as ArrayBuffer),
  );
  // and other values go where they belong
  const [name, { data }] = Object.entries(graph.weights).find(([key]) => key.includes("conv2d_4")) as [string, Tensor];
  const changed = openGraph(graph.withWeights({ [name]: data.map((x) => x + 1) }));
  expect(changed.weights[name]?.data).toEqual(data.map((x) => x + 1));
});

test("what layers see: mean outputs are the weights times the mean inputs", { timeout: 120_000 }, async () => {
  const model = await loadModel(artifacts);
  const input = tensorOf(musicClips("seen", 1, 5)[0]!);
  const { sink, bytes } = collected();
  await calibrateGraph(model, graph, [input], sink);
  const statistics = await StatisticsFile.open(bytes());
  /** Mean outputs over all places, and over all nodes. */
  async function meansOf(nodes: readonly string[]): Promise<number[]> {
    const means: number[] = [];
    let count = 0;
    for (const value of [model.execute(input, [...nodes])].flat()) {
      const channels = value.shape.at(-1) as number;
      const data = await value.data();
      data.forEach((x, i) => {
        means[i % channels] = (means[i % channels] ?? 0) + x;
      });
      count += data.length / channels;
    }
    return means.map((sum) => sum / count);
  }
  async function expectedOf(weight: string, bias?: string): Promise<number[]> {
    const { data, shape } = graph.weights[weight] as Tensor;
    const { mean } = await statistics.read(weight);
    return Array.from({ length: shape[0] as number }, (_, o) => {
      const own = data.subarray(o * mean.length, (o + 1) * mean.length);
      const shift = bias === undefined ? 0 : (graph.weights[bias]?.data[o] as number);
      return own.reduce((sum, w, c) => sum + w * (mean[c] as number), shift);
    });
  }
  // padded, 7 x 3 over 32 channels
  const last = `${MODEL}/conv2d_3`;
  const [own] = await expectedOf(`${last}/Conv2D/ReadVariableOp`, `${last}/BiasAdd/ReadVariableOp`);
  expect(own).toBeCloseTo((await meansOf([`${last}/BiasAdd`]))[0] as number, 4);
  // one bank of filters for nine octaves, each with steps of its own
  const filters = graph.convolutions.filter(({ weight }) => graph.weights[weight]?.shape[0] === 36);
  const weight = filters[0]?.weight as string;
  const nodes = (artifacts.modelTopology as { node: { name: string; op: string; input?: string[] }[] }).node;
  const same = (name: string): boolean =>
    openedOf(name)?.every((x, i) => x === (graph.weights[weight] as Tensor).data[i]) ?? false;
  const readers = nodes.filter(({ op, input: of }) => op === "Conv2D" && same(of?.[1] ?? ""));
  expect(readers).toHaveLength(9);
  const means = await meansOf(readers.map(({ name }) => name));
  const expected = await expectedOf(weight);
  const scale = Math.max(...means.map(Math.abs));
  for (const [o, mean] of means.entries()) expect((expected[o] as number) / scale).toBeCloseTo(mean / scale, 3);

  /** A filter's values as the file has them, in the order that wlq reads. */
  function openedOf(name: string): Float32Array | undefined {
    let at = 0;
    for (const spec of artifacts.weightSpecs ?? []) {
      const bytesLong = spec.shape.reduce((a, b) => a * b, spec.dtype === "bool" ? 1 : 4);
      if (spec.name === name && spec.shape.join() === "1,256,1,36") {
        const raw = new Float32Array((artifacts.weightData as ArrayBuffer).slice(at, at + bytesLong));
        return raw.map((_, i) => raw[(i % 256) * 36 + Math.floor(i / 256)] as number);
      }
      at += bytesLong;
    }
    return undefined;
  }
});

test("8 levels a layer: notes stay nearer with 3 clips", { timeout: 300_000 }, async () => {
  const model = await loadModel(artifacts);
  const statistics = collected();
  await calibrateGraph(model, graph, musicClips("seen", 3, 1).map(tensorOf), statistics.sink);
  const clips = musicClips("seen", 3, 2);
  const float = await hear(artifacts, clips);
  expect(accuracy(float, clips)).toBeGreaterThan(0.6);
  const errorOf = async (known: object): Promise<number> => {
    const [container, dense] = [collected(), collected()];
    const options = { levels: 8, scale: "channel", minSize: 256, exclude: /cq_t2010v2/, ...known } as const;
    await compress(fileOf(graph.weights).buffer, container.sink, options);
    await decompress(container.bytes().buffer, dense.sink);
    return distance(float, await hear(graph.withWeights(await weightsOf(dense.bytes())), clips)).error;
  };
  const [plain, calibrated] = [await errorOf({}), await errorOf({ calibration: calibration(statistics.bytes()) })];
  console.log(`mean error of the probability: ${plain} plain, ${calibrated} calibrated`);
  expect(calibrated).toBeLessThan(plain / 1.3);
});
