// Held-out inputs: what they say of a layer's codes, and of a whole model, against plain sums.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-web";
import { afterAll, describe, expect, test } from "vitest";
import { calibrate, compareModels } from "../../src/adapters/onnxruntime.ts";
import { compensate } from "../../src/calibrate/compensate.ts";
import { calibration, createObserver } from "../../src/calibrate/index.ts";
import { StatisticsFile } from "../../src/calibrate/statistics.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { compress, quantize } from "../../src/index.ts";
import { calibrateScope } from "../../src/wasm/calibrate.ts";
import { wlq } from "../cli-process.ts";
import { f32, graph, model, node, TYPE, value } from "../formats/onnx-fixture.ts";
import { Random } from "../kernels/random.ts";
import { memorySink } from "../memory-sink.ts";

ort.env.wasm.numThreads = 1;
const folder = mkdtempSync(join(tmpdir(), "wlq-held-out-"));
afterAll(() => rmSync(folder, { recursive: true }));

const random = new Random(31);

/** Rows whose columns depend on each other, with a mean that is not zero. */
function rowsOf(rows: number, columns: number, mean: number, mix: Float32Array): Float32Array {
  const raw = random.normals(rows * columns);
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [r, c] = [Math.floor(i / columns), i % columns];
    let sum = mean;
    for (let k = 0; k < columns; k++) sum += (raw[r * columns + k] as number) * (mix[k * columns + c] as number);
    return sum;
  });
}

describe.each([true, false])("the model can take a shift: %s", (shiftable) => {
  test.each([
    { name: "all products", groups: 1, maxColumns: 4096 },
    { name: "two groups", groups: 2, maxColumns: 4096 },
    { name: "mean squares alone", groups: 1, maxColumns: 1 },
  ])("$name: the error is that of the held-out rows' outputs", async ({ groups, maxColumns }) => {
    const [outputs, columns, levels] = [10, 13, 4];
    const mix = random.normals(columns * columns);
    const seen = Array.from({ length: groups }, () => rowsOf(60, columns, 0.5, mix));
    const others = Array.from({ length: groups }, () => rowsOf(25, columns, 0.8, mix));
    const observer = await createObserver({ w: { shape: [outputs, columns, 1, 1], groups } }, { maxColumns });
    const join = (parts: readonly Float32Array[]) => {
      // [1, groups x columns, rows, 1]
      const rows = (parts[0] as Float32Array).length / columns;
      const data = new Float32Array(groups * columns * rows);
      parts.forEach((part, g) => {
        part.forEach((x, i) => {
          data[(g * columns + (i % columns)) * rows + Math.floor(i / columns)] = x;
        });
      });
      return { data, shape: [1, groups * columns, rows, 1] };
    };
    observer.observe("w", join(seen));
    observer.observe("w", join(others), { heldOut: true });
    const out = memorySink();
    await observer.save(out.sink);
    const file = await StatisticsFile.open(out.bytes());
    const statistics = await file.read("w");
    const heldOut = await file.heldOut("w");
    expect([statistics.samples, heldOut?.samples]).toEqual([60, 25]);

    const weights = random.normals(outputs * columns);
    const shape = [outputs, columns];
    const { codebook, granularity, axis, groupSize } = await quantize({ data: weights, shape }, { levels });
    const coding = { codebook, granularity, axis, groupSize, levels, shape };
    const options = {
      damping: 0.01,
      independent: 0,
      turns: 1,
      sweeps: 2,
      rate: 0,
      fit: true,
      pins: [],
      format: 0,
    } as const;
    const made = compensate(calibrateScope(), statistics, weights, coding, { ...options, shiftable }, heldOut);

    let [power, error] = [0, 0];
    for (let o = 0; o < outputs; o++) {
      const g = Math.floor((o * groups) / outputs);
      const rows = others[g] as Float32Array;
      const mean = statistics.mean.subarray(g * columns, (g + 1) * columns);
      const ownMean = (heldOut as { mean: Float32Array }).mean.subarray(g * columns, (g + 1) * columns);
      const full = maxColumns > columns;
      const n = rows.length / columns;
      for (let r = 0; r < n; r++) {
        let [w, e] = [0, 0];
        for (let c = 0; c < columns; c++) {
          const own = weights[o * columns + c] as number;
          const off = own - (made.codebook[made.codes[o * columns + c] as number] as number);
          const x = (rows[r * columns + c] as number) - (shiftable ? (mean[c] as number) : 0);
          w += own * x;
          e += off * x;
          if (full) continue;
          const about = shiftable
            ? ((rows[r * columns + c] as number) - (ownMean[c] as number)) ** 2 +
              ((ownMean[c] as number) - (mean[c] as number)) ** 2
            : x * x;
          power += own * own * about;
          error += off * off * about;
        }
        if (!full) continue;
        power += w * w;
        error += e * e;
      }
    }
    expect(made.output.heldOutDb).toBeCloseTo(10 * Math.log10(power / error), 3);
    expect(made.output.heldOutDb).not.toBeCloseTo(made.output.sqnrDb as number, 3);
  });
});

/** x -> MatMul -> Softmax -> y. */
const [INPUTS, OUTPUTS, RUNS] = [40, 32, 23];
const file = model({
  graph: graph({
    inputs: [value("x", TYPE.F32, [4, INPUTS])],
    outputs: [value("y", TYPE.F32, [4, OUTPUTS]), value("z", TYPE.F32, [4, OUTPUTS])],
    initializers: [
      f32(
        "w",
        [INPUTS, OUTPUTS],
        random.normals(INPUTS * OUTPUTS).map((x) => x / 4),
      ),
    ],
    nodes: [node("MatMul", ["x", "w"], ["z"]), node("Softmax", ["z"], ["y"])],
  }),
});
const mix = random.normals(INPUTS * INPUTS).map((x) => x / 6);
const runs = Array.from({ length: RUNS }, () => rowsOf(4, INPUTS, 0.3, mix));
const feeds = runs.map((data) => ({ x: new ort.Tensor("float32", data, [4, INPUTS]) }));
const heldOutRun = (i: number): boolean => [4, 9, 14, 19].includes(i);

test("every fifth run is held out, and codes are those of the others alone", async () => {
  const both = memorySink();
  const report = await calibrate(ort, file, feeds, both.sink, { heldOut: 0.2 });
  expect([report.runs, report.heldOut]).toEqual([RUNS, 4]);
  const without = memorySink();
  await calibrate(ort, file, () => feeds.filter((_, i) => !heldOutRun(i)), without.sink);
  const others = memorySink();
  await calibrate(
    ort,
    file,
    feeds.filter((_, i) => heldOutRun(i)),
    others.sink,
  );
  const [a, b] = [await StatisticsFile.open(both.bytes()), await StatisticsFile.open(without.bytes())];
  const { layer: _, ...own } = await a.read("w");
  const { layer: __, ...same } = await b.read("w");
  expect(own).toEqual(same);
  const { layer: ___, ...rest } = await (await StatisticsFile.open(others.bytes())).read("w");
  expect(await a.heldOut("w")).toEqual(rest);
  expect(await b.heldOut("w")).toBeUndefined();

  const [one, two] = [memorySink(), memorySink()];
  const options = { formats: [onnx()], levels: 8, scale: "channel", minSize: 0, to: "onnx" } as const;
  const { tensors } = await compress(file, one.sink, { ...options, calibration: calibration(both.bytes()) });
  await compress(file, two.sink, { ...options, calibration: calibration(without.bytes()) });
  expect(Buffer.compare(one.bytes(), two.bytes())).toBe(0);
  const [output] = tensors.flatMap((tensor) => tensor.output ?? []);
  expect(output?.heldOutDb).toBeGreaterThan(5);
  expect(output?.heldOutDb).toBeLessThan(output?.sqnrDb as number);
  await expect(calibrate(ort, file, feeds, memorySink().sink, { heldOut: 1 })).rejects.toThrow(
    /heldOut must be from 0/,
  );
});

test("models are compared by divergence, by decibels, and on the held-out runs alone", async () => {
  const out = memorySink();
  await compress(file, out.sink, { formats: [onnx()], levels: 4, minSize: 0, to: "dense" });
  const other = out.bytes();
  const report = await compareModels(ort, file, other, feeds, { heldOut: 0.2 });
  expect(report.runs).toBe(4);
  expect(report.outputs.map(({ name }) => name)).toEqual(["y", "z"]);
  const [right, left] = [await ort.InferenceSession.create(file), await ort.InferenceSession.create(other)];
  let [kl, rows, power, error, top] = [0, 0, 0, 0, 0];
  for (const [i, run] of feeds.entries()) {
    if (!heldOutRun(i)) continue;
    const [p, q] = [await right.run(run), await left.run(run)];
    ((p.z as ort.Tensor).data as Float32Array).forEach((x, e) => {
      power += x * x;
      error += (x - (((q.z as ort.Tensor).data as Float32Array)[e] as number)) ** 2;
    });
    for (let r = 0; r < 4; r++, rows++) {
      const row = (t: ort.Tensor | undefined) => [
        ...((t as ort.Tensor).data as Float32Array).slice(r * OUTPUTS, (r + 1) * OUTPUTS),
      ];
      const [a, b] = [row(p.y), row(q.y)];
      a.forEach((x, e) => {
        kl += x * Math.log(x / (b[e] as number));
      });
      top += a.indexOf(Math.max(...a)) === b.indexOf(Math.max(...b)) ? 1 : 0;
    }
  }
  const [y, z] = report.outputs;
  expect(y?.meanKl).toBeCloseTo(kl / rows, 9);
  expect(y?.sameTop).toBe(top / rows);
  expect(z?.sqnrDb).toBeCloseTo(10 * Math.log10(power / error), 6);
  // logits are no distributions, unless they are said to be logits
  expect(z?.meanKl).toBeUndefined();
  const logits = (await compareModels(ort, file, other, feeds, { heldOut: 0.2, logits: true })).outputs[1];
  expect(logits?.meanKl).toBeCloseTo(kl / rows, 5);
  const same = await compareModels(ort, file, file, feeds);
  expect(same).toMatchObject({ runs: RUNS, outputs: [{ sqnrDb: null, meanKl: 0, sameTop: 1 }, { sqnrDb: null }] });
  await expect(compareModels(ort, file, other, [])).rejects.toMatchObject({ code: "unsupported" });
});

test("on the command line: --held-out, the column, and wlq compare on a container", async () => {
  writeFileSync(join(folder, "model.onnx"), file);
  const entries = runs.map((_, i) => [
    `${i}/x`,
    { dtype: "F32", shape: [4, INPUTS], data_offsets: [i * 16 * INPUTS, (i + 1) * 16 * INPUTS] },
  ]);
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  const payload = runs.map(({ buffer }) => Buffer.from(buffer));
  writeFileSync(join(folder, "samples.safetensors"), Buffer.concat([size, json, ...payload]));
  const run = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await wlq([...args, "--quiet"], { cwd: folder });
    expect([code, stderr]).toEqual([0, ""]);
    return stdout;
  };
  const said = await run("calibrate", "model.onnx", "samples.safetensors", "stats", "--held-out", "0.2");
  expect(said).toMatch(/23 runs, 4 of them held out/);
  const small = ["compress", "model.onnx", "small.wlq", "--levels", "8", "--min-size", "0", "--calibration", "stats"];
  const table = await run(...small);
  expect(table).toMatch(/SQNR +output +held out +ratio/);
  const compared = JSON.parse(
    await run("compare", "model.onnx", "small.wlq", "samples.safetensors", "--held-out", "0.2", "--json"),
  );
  const report = JSON.parse(await run(...small, "--json"));
  const { heldOutDb } = report.tensors[0].output;
  expect(compared.runs).toBe(4);
  // the layer's output is the model's; decibels of the report are about the mean
  expect(Math.abs(compared.outputs[1].sqnrDb - heldOutDb)).toBeLessThan(1.5);
  expect(await run("compare", "model.onnx", "small.wlq", "samples.safetensors")).toMatch(
    /mean KL.*\ny .*%\nz.*\n23 runs/,
  );
});
