// Plan: sizes that are met, errors that were foretold, and less error than the same levels everywhere.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MODELS } from "../bench/models.ts";
import { onnx } from "../src/formats/onnx.ts";
import { type CompressOptions, compress, init, type Plan, type PlanOptions, plan, type Report } from "../src/index.ts";
import { wlq } from "./cli-process.ts";
import { bytesOf, safetensorsFile } from "./formats/safetensors-fixture.ts";
import { Random } from "./kernels/random.ts";
import { memorySink } from "./memory-sink.ts";

beforeAll(() => init());

const formats = [onnx()];
const model = (name: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(MODELS.find((m) => m.name === name)?.path ?? ""));

async function compressed(source: Uint8Array, options: CompressOptions): Promise<Report & { written: number }> {
  const { sink, bytes } = memorySink();
  const report = await compress(source, sink, { formats, ...options });
  return { ...report, written: bytes().length };
}

const random = new Random(31);
const spreads = [1, 0.01, 0.2, 3];
const tensors = spreads.map((spread, i) => {
  const shape = [64, 40 + 20 * i];
  const values = random.normals(64 * (40 + 20 * i)).map((x, j) => x * spread * (1 + (j % 7 === 0 ? 1 : 0)));
  return { name: `layer${i}.weight`, dtype: "F32", shape, bytes: bytesOf(values) };
});
const SMALL = safetensorsFile([
  ...tensors,
  { name: "bias", dtype: "F32", shape: [65], bytes: bytesOf(random.normals(65)) },
]);

describe("a size", () => {
  test.each([
    ["pp-ocr-det", "container", [400_000, 745_308, 1_000_003, 1_300_000]],
    ["pp-ocr-det", "onnx", [400_000, 745_308, 1_300_000]],
    ["silero-vad-v5", "container", [250_000, 449_006]],
  ] as const)("%s as %s: never above, at most 1 %% below, and what the plan says", async (name, to, targets) => {
    const source = model(name);
    for (const bytes of targets) {
      const chosen = await plan(source, { bytes }, { formats, to });
      const { written, sqnrDb, bitsPerWeight } = await compressed(source, { plan: chosen });
      console.log(
        `${name} ${to}: ${bytes} wanted, ${written} written, ${sqnrDb?.toFixed(2)} dB, ${chosen.sqnrDb?.toFixed(2)} foretold`,
      );
      expect(written).toBe(chosen.bytes);
      expect(written).toBeLessThanOrEqual(bytes);
      expect(written).toBeGreaterThanOrEqual(0.99 * bytes);
      if (to === "container") expect(bitsPerWeight).toBeCloseTo(chosen.bitsPerWeight, 2);
      expect(sqnrDb as number).toBeGreaterThan((chosen.sqnrDb as number) - 0.1);
      expect(sqnrDb as number).toBeLessThan((chosen.sqnrDb as number) + 0.6);
    }
  });

  test("out of reach: an error with what is in reach", async () => {
    await expect(plan(SMALL, { bytes: 1000 })).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/^1000 bytes cannot be reached: this model takes from \d+ to \d+ bytes$/),
    });
    await expect(plan(SMALL, { bytes: 1e6 })).rejects.toMatchObject({ code: "unsupported" });
    const range = /from (\d+) to (\d+)/.exec(
      (await plan(SMALL, { bytes: 1 }).catch((e: Error) => e.message)) as string,
    );
    const [least, most] = [Number(range?.[1]), Number(range?.[2])];
    for (const [bytes, levels] of [
      [least, 2],
      [most, 256],
    ] as const) {
      const { tensors: all, bytes: size } = await plan(SMALL, { bytes });
      expect(size).toBe(bytes);
      expect(all.flatMap(({ options }) => options?.levels ?? [])).toEqual([levels, levels, levels, levels]);
    }
  });
});

describe("the same size as with 16 levels everywhere", () => {
  test.each([
    ["pp-ocr-rec", 4],
    ["pp-ocr-det", 3],
    ["silero-vad-v5", 1],
  ])("%s: %s dB less error and more", async (name, gain) => {
    const source = model(name);
    const uniform = await compressed(source, { levels: 16, entropy: "none" });
    const better = await compressed(source, { plan: await plan(source, { bytes: uniform.written }, { formats }) });
    console.log(
      `${name}: ${uniform.sqnrDb?.toFixed(2)} dB in ${uniform.written} bytes, planned ${better.sqnrDb?.toFixed(2)} dB in ${better.written}`,
    );
    expect(better.written).toBeLessThanOrEqual(uniform.written);
    expect((better.sqnrDb as number) - (uniform.sqnrDb as number)).toBeGreaterThan(gain);
  });
});

describe("bits and decibels", () => {
  test("bits a weight, from below; out of reach", async () => {
    for (const bitsPerWeight of [2.5, 3.5, 5, 7.25]) {
      const chosen = await plan(SMALL, { bitsPerWeight });
      const report = await compressed(SMALL, { plan: chosen });
      // padding counts in the plan, not in the report
      expect(report.bitsPerWeight).toBeLessThanOrEqual(chosen.bitsPerWeight);
      expect(chosen.bitsPerWeight).toBeLessThanOrEqual(bitsPerWeight);
      expect(chosen.bitsPerWeight).toBeGreaterThan(bitsPerWeight - 0.5);
    }
    await expect(plan(SMALL, { bitsPerWeight: 1 })).rejects.toThrow(
      /1 bits\/weight cannot be reached: .* from 1\.2\d+ to 10\.\d+/,
    );
  });

  test("decibels, reached with the fewest bytes", async () => {
    let before = 0;
    for (const sqnrDb of [12, 20, 30, 40]) {
      const chosen = await plan(SMALL, { sqnrDb });
      const report = await compressed(SMALL, { plan: chosen });
      expect(report.sqnrDb as number).toBeGreaterThan(sqnrDb - 0.05);
      expect(report.sqnrDb as number).toBeLessThan(sqnrDb + 4);
      expect(chosen.bytes).toBeGreaterThan(before);
      before = chosen.bytes;
    }
    await expect(plan(SMALL, { sqnrDb: 90 })).rejects.toThrow(/90 dB cannot be reached: .* dB to .* dB$/);
  });

  test("the trade-off rises from the smallest to the best", async () => {
    const { tradeOff, bytes, sqnrDb } = await plan(SMALL, { bitsPerWeight: 4 });
    expect(tradeOff.length).toBeGreaterThan(5);
    expect(tradeOff.length).toBeLessThanOrEqual(25);
    for (let i = 1; i < tradeOff.length; i++) {
      expect(tradeOff[i]?.bytes as number).toBeGreaterThan(tradeOff[i - 1]?.bytes as number);
      expect(tradeOff[i]?.sqnrDb as number).toBeGreaterThan(tradeOff[i - 1]?.sqnrDb as number);
    }
    for (const point of tradeOff) {
      if (point.bytes <= bytes) expect(point.sqnrDb as number).toBeLessThanOrEqual((sqnrDb as number) + 1e-6);
    }
  });
});

describe("what is foretold of each tensor is what it gets", () => {
  test.each<[string, PlanOptions]>([
    ["a scale a channel", {}],
    ["a scale a group", { scale: "group", groupSize: 32 }],
    ["one codebook", { granularity: "tensor" }],
    ["a codebook a channel", { granularity: "channel" }],
    ["zero pinned", { granularity: "tensor", pinZero: true }],
  ])("%s", async (_, options) => {
    for (const bitsPerWeight of options.granularity === "channel" ? [9] : [3, 6]) {
      const chosen = await plan(SMALL, { bitsPerWeight }, options);
      const { tensors: got } = await compressed(SMALL, { plan: chosen });
      for (const { name, sqnrDb, options: own, bytes } of chosen.tensors) {
        if (!own) continue;
        const { stats, levels, bytesOut } = got.find((t) => t.name === name) ?? {};
        expect(levels).toBe(own.levels);
        expect(bytesOut).toBe(bytes);
        const difference = (stats?.sqnrDb ?? 99) - (sqnrDb ?? 99);
        expect(
          Math.abs(difference),
          `${name}, ${own.levels} levels: ${stats?.sqnrDb}, ${sqnrDb} foretold`,
        ).toBeLessThan(options.scale || Object.keys(options).length === 0 ? 1 : 0.15);
      }
    }
  });
});

describe("what an error costs", () => {
  const levelsOf = ({ tensors: all }: Plan): number[] => all.flatMap(({ options }) => options?.levels ?? []);

  test("sensitivities move levels to a tensor; a rule with levels stays", async () => {
    const plain = levelsOf(await plan(SMALL, { bitsPerWeight: 4 }));
    const chosen = await plan(SMALL, { bitsPerWeight: 4 }, { sensitivities: { "layer1.weight": 1e6 } });
    expect(levelsOf(chosen)[1] as number).toBeGreaterThan(plain[1] as number);
    const fixed = await plan(SMALL, { bitsPerWeight: 4 }, { tensors: [{ match: /layer3/, options: { levels: 19 } }] });
    expect(levelsOf(fixed)[3]).toBe(19);
    await expect(plan(SMALL, { bytes: 9000 }, { sensitivities: { x: 1 } })).rejects.toThrow('the tensor "x"');
    await expect(plan(SMALL, { bytes: 9000 }, { sensitivities: { bias: -1 } })).rejects.toThrow(RangeError);
  });

  test("importance is a sensitivity a weight", async () => {
    const factor = safetensorsFile([
      { name: "layer1.weight", dtype: "F32", shape: [1], bytes: bytesOf(Float32Array.of(1e6)) },
    ]);
    const by = { sensitivities: { "layer1.weight": 1e6 } };
    const [a, b] = [
      await plan(SMALL, { bitsPerWeight: 4 }, { importance: factor }),
      await plan(SMALL, { bitsPerWeight: 4 }, by),
    ];
    expect(levelsOf(a)).toEqual(levelsOf(b));
    expect(a.warnings).toHaveLength(3);
  });

  test("wrong targets and options", async () => {
    await expect(plan(SMALL, {})).rejects.toThrow(RangeError);
    await expect(plan(SMALL, { bytes: 9000, sqnrDb: 20 })).rejects.toThrow("one of bytes, bitsPerWeight and sqnrDb");
    await expect(plan(SMALL, { bytes: -1 })).rejects.toThrow("bytes must be positive, got -1");
    await expect(plan(SMALL, { bytes: 9000 }, { levels: 16 } as object)).rejects.toThrow("a target or levels");
    await expect(plan(SMALL, { bytes: 9000 }, { method: "lloyd" })).rejects.toThrow('method "optimal", got "lloyd"');
    await expect(plan(SMALL, { bytes: 9000 }, { exclude: /./ })).rejects.toThrow("no tensor of this model");
    const chosen = await plan(SMALL, { bitsPerWeight: 4 });
    await expect(compressed(SMALL, { plan: chosen, levels: 16 })).rejects.toThrow("give a plan or levels");
  });
});

describe("a plan as JSON", () => {
  test("applied after a round trip: the same file", async () => {
    const chosen = await plan(SMALL, { bitsPerWeight: 4 });
    const again = JSON.parse(JSON.stringify(chosen)) as Plan;
    expect(again).toEqual(chosen);
    expect((await compressed(SMALL, { plan: again })).written).toBe(chosen.bytes);
  });

  test("of another model, or no plan at all: refused, with what differs", async () => {
    const chosen = await plan(SMALL, { bitsPerWeight: 4 });
    const [first, ...rest] = chosen.tensors;
    const other = (...list: object[]): Plan => ({ ...chosen, tensors: list as Plan["tensors"] });
    const cases: [unknown, string][] = [
      [
        other({ ...first, shape: [40, 64] }, ...rest),
        'tensor "layer0.weight": the plan is for another model: there it is F32 [40,64], here F32 [64,40]',
      ],
      [other(...rest), 'tensor "layer0.weight": the plan is for another model: that one does not have this tensor'],
      [
        other({ ...first, name: "x" }, ...chosen.tensors),
        'tensor "x": the plan is for another model: this one does not have this tensor',
      ],
      [{ ...chosen, format: "onnx" }, "the plan is for another model: that is onnx, this safetensors"],
      [{ ...chosen, plan: 2 }, "the plan is of version 2, version 1 is known"],
      [{ ...chosen, tensors: 7 }, "the plan lacks format, to or tensors"],
      [
        other({ ...first, options: undefined }, ...rest),
        'tensor "layer0.weight": the plan has to say either its options or why it is kept',
      ],
      [
        other({ ...first, options: { levels: 1 } }, ...rest),
        'tensor "layer0.weight": levels must be an integer from 2 to 256, got 1',
      ],
      [{}, "this is not a plan"],
      [[], "this is not a plan"],
    ];
    for (const [data, message] of cases) {
      await expect(compressed(SMALL, { plan: data as Plan })).rejects.toMatchObject({ message });
    }
  });
});

describe("entropy-coded", () => {
  const method = "ecsq";

  test.each([
    ["pp-ocr-det", 7],
    ["pp-ocr-det", 5],
    ["silero-vad-v5", 7],
    ["silero-vad-v5", 5],
  ] as const)("%s at a %s-th: the size to 1 %%, and 3 dB more than levels of one width", async (name, share) => {
    const source = model(name);
    const bytes = Math.floor(source.length / share);
    const [levels, priced] = [
      await plan(source, { bytes }, { formats }),
      await plan(source, { bytes }, { formats, method }),
    ];
    const [a, b] = [await compressed(source, { plan: levels }), await compressed(source, { plan: priced })];
    console.log(
      `${name}: ${bytes} wanted, ${b.written} written, ${b.sqnrDb?.toFixed(2)} dB, levels ${a.sqnrDb?.toFixed(2)} dB`,
    );
    expect(b.written).toBe(priced.bytes);
    expect(b.written).toBeLessThanOrEqual(bytes);
    expect(b.written).toBeGreaterThanOrEqual(0.99 * bytes);
    expect(b.sqnrDb).toBeCloseTo(priced.sqnrDb as number, 6);
    expect(b.sqnrDb as number).toBeGreaterThan((a.sqnrDb as number) + 3);
  });

  test("bits a weight and decibels, from the right side", async () => {
    for (const bitsPerWeight of [1.5, 3, 5]) {
      const found = await plan(SMALL, { bitsPerWeight }, { method, granularity: "tensor" });
      expect(found.bitsPerWeight).toBeLessThanOrEqual(bitsPerWeight);
      expect(found.bitsPerWeight).toBeGreaterThan(0.98 * bitsPerWeight);
    }
    for (const sqnrDb of [8, 20, 31]) {
      const found = await plan(SMALL, { sqnrDb }, { method });
      expect(found.sqnrDb).toBeGreaterThanOrEqual(sqnrDb);
      expect(found.sqnrDb).toBeLessThan(sqnrDb + 0.2);
    }
  });

  test("relative: tensors of all sizes end at about the same SQNR; absolute: small ones pay", async () => {
    // levels of one width come in steps of 6 dB
    for (const [how, most] of [[{ method }, 4] as const, [{}, 8] as const]) {
      const [absolute, relative] = [
        await plan(SMALL, { bitsPerWeight: 3.5 }, how),
        await plan(SMALL, { bitsPerWeight: 3.5 }, { ...how, weighting: "relative" }),
      ];
      const range = ({ tensors: list }: Plan): number => {
        const db = list.flatMap(({ sqnrDb }) => (typeof sqnrDb === "number" ? [sqnrDb] : []));
        return Math.max(...db) - Math.min(...db);
      };
      expect(range(relative)).toBeLessThan(most);
      expect(range(absolute)).toBeGreaterThan(20);
      expect([absolute.weighting, relative.weighting]).toEqual([undefined, "relative"]);
      const [a, b] = [await compressed(SMALL, { plan: absolute }), await compressed(SMALL, { plan: relative })];
      expect([a.written, b.written]).toEqual([absolute.bytes, relative.bytes]);
      expect(a.sqnrDb as number).toBeGreaterThan(b.sqnrDb as number);
    }
    await expect(plan(SMALL, { bytes: 9e3 }, { weighting: "none" as "relative" })).rejects.toThrow(
      "weighting must be one of absolute, relative, got none",
    );
  });

  test("out of reach, to onnx, a tensor that is not finite", async () => {
    await expect(plan(SMALL, { bytes: 900 }, { method })).rejects.toThrow(
      /900 bytes cannot be reached: this model takes from \d+/,
    );
    await expect(plan(SMALL, { bytes: 9e3 }, { method, to: "onnx" })).rejects.toThrow(/needs an ONNX model/);
    const bad = Float32Array.from(random.normals(64 * 64));
    bad[77] = Number.NaN;
    const source = safetensorsFile([{ name: "bad", dtype: "F32", shape: [64, 64], bytes: bytesOf(bad) }, ...tensors]);
    const found = await plan(source, { bitsPerWeight: 3 }, { method });
    expect(found.tensors[0]).toMatchObject({ name: "bad", kept: "has a NaN or infinity" });
    expect(found.warnings.join()).toMatch(/tensor "bad" is left as it is: weight 77 is NaN/);
    await expect(plan(source, { bitsPerWeight: 3 }, { method, include: /./ })).rejects.toThrow(
      /tensor "bad": weight 77/,
    );
  });

  test("sensitivities and importance move bits; the plan survives JSON", async () => {
    const target = { bitsPerWeight: 3 };
    const even = await plan(SMALL, target, { method });
    const uneven = await plan(SMALL, target, { method, sensitivities: { "layer0.weight": 100 } });
    const bytesOfFirst = ({ tensors: list }: Plan): number => list[0]?.bytes as number;
    expect(bytesOfFirst(uneven)).toBeGreaterThan(1.3 * bytesOfFirst(even));
    const importance = safetensorsFile([
      { name: "layer0.weight", dtype: "F32", shape: [1], bytes: bytesOf(Float32Array.of(100)) },
      ...tensors.slice(1).map(({ name }) => ({ name, dtype: "F32", shape: [1], bytes: bytesOf(Float32Array.of(1)) })),
    ]);
    const weighed = await plan(SMALL, target, { method, importance });
    expect(bytesOfFirst(weighed)).toBe(bytesOfFirst(uneven));
    const again = JSON.parse(JSON.stringify(uneven)) as Plan;
    expect((await compressed(SMALL, { plan: again })).written).toBe(uneven.bytes);
  });
});

describe("the command line", () => {
  const cwd = mkdtempSync(join(tmpdir(), "wlq-plan-"));
  afterAll(() => rmSync(cwd, { recursive: true }));
  writeFileSync(join(cwd, "in"), SMALL);
  writeFileSync(join(cwd, "other"), safetensorsFile(tensors.slice(1)));
  const run = (...args: string[]) => wlq([...args, "-q"], { cwd });

  test("wlq plan shows and saves; compress --plan follows", async () => {
    const { code, stdout, stderr } = await run("plan", "in", "--target-bits", "3.9", "-o", "plan.json");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^tensor +type +codebook +levels +bytes +SQNR/);
    expect(stdout).toMatch(/size +bits\/weight +SQNR/);
    expect(stdout).toMatch(/in: .* as container, 3\.\d\d bits\/weight, SQNR \d+\.\d dB to be expected\n$/);
    const saved = JSON.parse(readFileSync(join(cwd, "plan.json"), "utf8")) as Plan;
    expect(saved.bitsPerWeight).toBeLessThanOrEqual(3.9);
    expect(saved.bitsPerWeight).toBeGreaterThan(0.99 * 3.9);
    const json = await run("plan", "in", "--target-bits", "3.9", "--json");
    expect(JSON.parse(json.stdout)).toEqual(saved);
    expect((await run("compress", "in", "out", "--plan", "plan.json")).code).toBe(0);
    expect(statSync(join(cwd, "out")).size).toBe(saved.bytes);
    const refused = await run("compress", "other", "no", "--plan", "plan.json");
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringMatching(/the plan is for another model/)]);
    const own = await run("plan", "in", "--target-bits", "3.9", "--weighting", "relative");
    expect(own.stdout).toMatch(/SQNR \d+\.\d dB over tensors to be expected\n$/);
    const idle = await run("compress", "in", "no", "--weighting", "relative");
    expect([idle.code, idle.stderr]).toEqual([2, expect.stringMatching(/--weighting is for --target-size/)]);
    const both = await run("compress", "in", "no", "--plan", "plan.json", "--levels", "16");
    expect([both.code, both.stderr]).toEqual([2, expect.stringMatching(/give a plan or levels/)]);
    expect(existsSync(join(cwd, "no"))).toBe(false);
  });

  test("compress --target-size in one go", async () => {
    const { code } = await run("compress", "in", "small", "--target-size", "12kB", "--granularity", "tensor");
    expect(code).toBe(0);
    const { size } = statSync(join(cwd, "small"));
    expect(size).toBeLessThanOrEqual(12_000);
    expect(size).toBeGreaterThan(10_000);
  });

  test.each([
    [["plan", "in"], 2, "a plan takes one of --target-size, --target-bits and --target-sqnr"],
    [["plan", "in", "--target-size", "2 parsecs"], 2, "--target-size takes a size"],
    [["plan", "in", "--target-size", "1MB", "--target-bits", "3"], 2, "a plan takes one of"],
    [["compress", "in", "no", "--target-size", "10"], 3, "10 bytes cannot be reached"],
    [["compress", "in", "no", "--target-size", "1kB", "--plan", "plan.json"], 2, "give --plan or --target-size"],
    [["compress", "in", "no", "--target-size", "9kB", "--levels", "16"], 2, "a target or levels"],
    [["compress", "in", "no", "--target-size", "9kB", "--to", "dense"], 2, "--to dense has the size of the input"],
    [["compress", "in", "no", "--plan", "in"], 3, "in is not a plan"],
    [["compress", "in", "no", "--plan", "nowhere"], 3, "there is no file nowhere"],
  ])("wlq %s", async (args, code, message) => {
    const ran = await run(...args);
    expect([ran.code, ran.stderr]).toEqual([code, expect.stringContaining(message)]);
    expect(existsSync(join(cwd, "no"))).toBe(false);
  });
});
