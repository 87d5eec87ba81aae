// Entropy: containers with entropy-coded codes hold the weights of those without, at the size that the entropy says.
import { beforeAll, describe, expect, test } from "vitest";
import { open } from "../src/decoder.ts";
import { type CompressOptions, compress, decompress, decompressStream, type Report, verify } from "../src/index.ts";
import { openParts, seal } from "./container-fixture.ts";
import { bytesOf, safetensorsFile } from "./formats/safetensors-fixture.ts";
import { Random } from "./kernels/random.ts";
import { memorySink } from "./memory-sink.ts";

const random = new Random(51);

function sparse(count: number, share: number): Float32Array {
  return random.normals(count).map((x) => (random.unit() < share ? x : 0));
}

const f32 = (name: string, shape: readonly number[], values: Float32Array) => ({
  name,
  dtype: "F32",
  shape,
  bytes: bytesOf(values),
});

const MODEL = safetensorsFile([
  // a block and a bit
  f32("long", [523, 503], random.normals(523 * 503)),
  f32("even", [400, 256], random.normals(400 * 256)),
  f32("sparse", [500, 400], sparse(200_000, 0.05)),
  f32("small", [50, 50], random.normals(2500)),
  f32("same", [64, 64], new Float32Array(4096).fill(0.5)),
  f32("bias", [5], random.normals(5)),
]);

async function compressed(
  options: CompressOptions,
  model: Uint8Array = MODEL,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; report: Report }> {
  const { sink, bytes } = memorySink();
  const report = await compress(model, sink, options);
  return { bytes: bytes(), report };
}

const WAYS: CompressOptions[] = [
  ...[2, 3, 4, 5, 9, 16, 17, 33, 256].map((levels) => ({ levels, scale: "none" as const })),
  { levels: 16, scale: "channel" },
  { levels: 8, granularity: "channel", axis: 1 },
  { levels: 6, granularity: "group", groupSize: 50 },
  { levels: 16, pinZero: true },
  { method: "ecsq", targetBits: 2, scale: "none" },
];

describe.each(WAYS)("%o", (way) => {
  let packed: Awaited<ReturnType<typeof compressed>>;
  let coded: Awaited<ReturnType<typeof compressed>>;
  beforeAll(async () => {
    packed = await compressed({ ...way, entropy: "none" });
    coded = await compressed(way);
  });

  test("the same weights, tensor by tensor and as a file; whole by verify", async () => {
    const [a, b] = [await open(packed.bytes), await open(coded.bytes)];
    expect(b.names).toEqual(a.names);
    for (const name of a.names) expect((await b.tensor(name)).data, name).toEqual((await a.tensor(name)).data);
    const [one, two] = [memorySink(), memorySink()];
    await decompress(packed.bytes, one.sink);
    await decompress(coded.bytes, two.sink);
    expect(Buffer.from(two.bytes()).equals(one.bytes())).toBe(true);
    expect(await verify(coded.bytes, MODEL)).toMatchObject({ ok: true, problems: [] });
  });

  test("no tensor is larger than packed; 100,000 weights take the entropy and less than 1 % more", () => {
    expect(coded.report.bytesOut).toBeLessThanOrEqual(packed.report.bytesOut);
    coded.report.tensors.forEach((tensor, i) => {
      expect(tensor.bytesOut, tensor.name).toBeLessThanOrEqual(packed.report.tensors[i]?.bytesOut as number);
      if (!tensor.stats || tensor.stats.count < 100_000) return;
      const { entropyBits, bitsPerWeight, tableBitsPerWeight } = tensor.stats;
      // where few of 256 symbols carry the information, their shares alone are 2 %: 1 % of a block is allowed for those
      const shares = tensor.name === "sparse" ? ((way.levels ?? 256) * 9) / tensor.stats.count : 0;
      expect(bitsPerWeight - tableBitsPerWeight, tensor.name).toBeLessThan(entropyBits * 1.01 + shares);
    });
  });

  test("the report has the bytes of the file, and statistics apart from them do not change", () => {
    expect(coded.report.bytesOut).toBe(coded.bytes.length);
    coded.report.tensors.forEach((tensor, i) => {
      const other = packed.report.tensors[i];
      if (!tensor.stats || !other?.stats) return;
      expect({ ...tensor.stats, bitsPerWeight: 0 }).toEqual({ ...other.stats, bitsPerWeight: 0 });
      // codebook, scales and codes, and at most 7 zeros
      const bits = tensor.stats.bitsPerWeight * tensor.stats.count;
      expect(tensor.bytesOut * 8 - bits).toBeLessThan(64);
      expect(tensor.bytesOut * 8 - bits).toBeGreaterThan(-1);
    });
  });
});

test("codes and blocks that are held until they are written, and those that are not, hold the same weights", async () => {
  // the first tensor's codes are too many to be held, the second's blocks do not fit beside the first's, the third's do
  const count = 4_200_448;
  const model = safetensorsFile([
    f32("first", [count / 512, 512], random.normals(count)),
    f32("second", [count / 512, 512], random.normals(count)),
    f32("third", [300, 400], random.normals(120_000)),
  ]);
  const told: number[] = [];
  const way: CompressOptions = {
    levels: 256,
    scale: "none",
    onProgress: ({ done, total }) => void told.push(done / total),
  };
  const { bytes } = await compressed(way, model);
  expect(told.at(-1)).toBe(1);
  const [coded, packed] = [await open(bytes), await open((await compressed({ ...way, entropy: "none" }, model)).bytes)];
  for (const name of ["first", "second", "third"]) {
    const [a, b] = [(await coded.tensor(name)).data, (await packed.tensor(name)).data];
    expect(Buffer.from(a.buffer).equals(Buffer.from(b.buffer)), name).toBe(true);
  }
  expect((await verify(bytes, model)).ok).toBe(true);
});

test.each([1.5, 2, 3, 4, 5])(
  "%d bits a weight wanted of ecsq are what the file takes, to a hundredth",
  async (targetBits) => {
    const gauss = random.normals(500_000);
    const model = safetensorsFile([
      f32("gauss", [1000, 500], gauss),
      f32(
        "heavy tails",
        [1000, 500],
        random.normals(500_000).map((x) => x * Math.abs(x)),
      ),
    ]);
    for (const how of [{ scale: "none" }, { scale: "channel" }] as const) {
      const { report } = await compressed({ method: "ecsq", targetBits, ...how }, model);
      for (const { name, bytesOut } of report.tensors) {
        const off = (bytesOut * 8) / gauss.length / targetBits - 1;
        expect(Math.abs(off), `${name}, scale ${how.scale}: ${off}`).toBeLessThan(0.01);
      }
    }
  },
);

test("a stream is restored like a file", async () => {
  const { bytes } = await compressed({ levels: 16 });
  const want = memorySink();
  await decompress(bytes, want.sink);
  const got = memorySink();
  // pieces of odd sizes
  const pieces = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 9973) controller.enqueue(bytes.slice(at, at + 9973));
      controller.close();
    },
  });
  await pieces.pipeThrough(decompressStream()).pipeTo(got.sink);
  expect(Buffer.from(got.bytes()).equals(want.bytes())).toBe(true);
});

test("Wasm instances are made for an operation, not for a tensor", async () => {
  const one = random.normals(8192);
  const many = safetensorsFile(Array.from({ length: 40 }, (_, i) => f32(`w${i}`, [64, 128], one)));
  const { Instance } = WebAssembly;
  let made = 0;
  WebAssembly.Instance = new Proxy(Instance, {
    construct(target, args) {
      made++;
      return Reflect.construct(target, args) as object;
    },
  });
  try {
    const { bytes, report } = await compressed({ levels: 16, scale: "none" }, many);
    expect(report.bitsPerWeight).toBeLessThan(4);
    expect(made).toBeLessThanOrEqual(2);
    made = 0;
    await decompress(bytes, memorySink().sink);
    expect(made).toBeLessThanOrEqual(2);
    expect(made).toBeGreaterThan(0);
  } finally {
    WebAssembly.Instance = Instance;
  }
});

test("two files at once do not disturb each other", async () => {
  const [a, b] = [{ levels: 16 }, { levels: 3 }];
  const want = [await compressed(a), await compressed(b)];
  const got = await Promise.all([compressed(a), compressed(b)]);
  got.forEach(({ bytes }, i) => {
    expect(Buffer.from(bytes).equals(want[i]?.bytes as Uint8Array)).toBe(true);
  });
  const models = await Promise.all(got.map(({ bytes }) => open(bytes)));
  const both = await Promise.all(models.map((model) => model.tensor("long")));
  const alone = await Promise.all(want.map(async ({ bytes }) => (await open(bytes)).tensor("long")));
  both.forEach(({ data }, i) => {
    expect(Buffer.from(data.buffer).equals(Buffer.from(alone[i]?.data.buffer as ArrayBuffer))).toBe(true);
  });
});

test("entropy is auto or none", async () => {
  await expect(compressed({ entropy: "huffman" as "none" })).rejects.toThrow(/entropy must be one of auto, none/);
});

test("progress goes from nothing to all, phase by phase", async () => {
  const seen: { phase: string; done: number; total: number }[] = [];
  await compressed({ levels: 16, onProgress: ({ phase, done, total }) => seen.push({ phase, done, total }) });
  expect([...new Set(seen.map(({ phase }) => phase))].sort()).toEqual(["cluster", "code", "write"]);
  seen.forEach(({ done }, i) => expect(done).toBeGreaterThanOrEqual(seen[i - 1]?.done ?? 0));
  expect(seen.at(-1)?.done).toBe(seen.at(-1)?.total);
});

describe("a container that lies about its entropy code", () => {
  let parts: ReturnType<typeof openParts>;
  beforeAll(async () => {
    parts = openParts((await compressed({ levels: 16, scale: "none" })).bytes);
  });

  /** What reading `long` says; an array if it gives one. */
  async function outcome(change: (entry: Record<string, unknown>, codes: Uint8Array) => void): Promise<unknown> {
    const map = structuredClone(parts.map) as Record<string, Record<string, unknown>>;
    const tensors = parts.tensors.map((t) => ({ ...t, bytes: t.bytes.slice() }));
    const codes = tensors.find(({ name }) => name === "long.codes") as (typeof tensors)[number];
    change(map.long as Record<string, unknown>, codes.bytes);
    try {
      return (await (await open(seal({ ...parts, map, tensors }))).tensor("long")).data;
    } catch (error) {
      return `${(error as { code?: string }).code}: ${(error as Error).message}`;
    }
  }

  test.each<[string, unknown[]]>([
    ["join", [undefined, 0, 3, 4, 8, "2", [2], -1, 1e9, Number.NaN]],
    ["tables", [undefined, 0, -1, 1, 100, 1e6, 1e15, "9", 0.5]],
  ])("field %s", async (key, values) => {
    for (const value of values) {
      const got = await outcome((entry) => {
        entry[key] = value;
      });
      expect(got, `${key} ${value}`).toMatch(/^malformed: tensor "long": /);
    }
  });

  test("tables that do not fit", async () => {
    const { tables } = (parts.map as Record<string, { tables: number }>).long as { tables: number };
    for (let at = 0; at < tables; at++) {
      const got = await outcome((_, codes) => {
        codes[at] = (codes[at] as number) ^ 1;
      });
      expect(got, `byte ${at}`).toMatch(/^malformed: tensor "long": .*(8192|blocks end)/);
    }
  });

  test("blocks of anything give weights of the codebook, as many as there are", async () => {
    const { tables } = (parts.map as Record<string, { tables: number }>).long as { tables: number };
    const codebook = new Set(
      new Float32Array(parts.tensors.find(({ name }) => name === "long.codebook")?.bytes.buffer as ArrayBuffer),
    );
    for (const fill of [0, 255, undefined]) {
      const got = (await outcome((_, codes) => {
        for (let i = tables; i < codes.length; i++) codes[i] = fill ?? random.below(256);
      })) as Float32Array;
      expect(got.length).toBe(523 * 503);
      expect(got.every((x) => codebook.has(x))).toBe(true);
    }
  });
});

test("a price at which one value is best for all gives a file that opens, in every granularity", async () => {
  const values = random.normals(64 * 512);
  const model = safetensorsFile([f32("w", [64, 512], values)]);
  for (const how of [
    {},
    { scale: "channel" },
    { scale: "group", groupSize: 64 },
    { granularity: "channel" },
  ] as const) {
    const { bytes, report } = await compressed({ method: "ecsq", lambda: 1e9, ...how }, model);
    expect(report.tensors[0]?.stats?.entropyBits).toBe(0);
    expect((await verify(bytes)).problems).toEqual([]);
    const { data } = await (await open(bytes)).tensor("w");
    expect(data.length).toBe(values.length);
    for (const x of data) if (!(Math.abs(Number(x)) < 0.5)) throw new Error(`${x} is no mean`);
  }
});
