// Containers that lie, sealed with right checksums: everything their map and their parts can claim.
import { describe, expect, test } from "vitest";
import { open } from "../../src/decoder.ts";
import { type CompressOptions, compress, decompress, inspect, verify, WlqError } from "../../src/index.ts";
import { type ContainerParts, openParts, seal } from "../container-fixture.ts";
import * as onnxFile from "../formats/onnx-fixture.ts";
import { type FixtureTensor, safetensorsFile } from "../formats/safetensors-fixture.ts";
import { checkSafetensors } from "../formats/safetensors-rules.ts";
import { Random } from "../kernels/random.ts";
import { CONTAINER } from "./container-model.ts";
import { RAW } from "./models.ts";
import { containerOf, FORMATS, outcome, readAll, SMALL, useContainer, written } from "./use.ts";

const random = new Random(97);
const LIE = /^(malformed|unsupported|limit)$/;
// stands for a list in a list in a list …
const DEEP = "@deep";

type Fields = Record<string, unknown>;

/** The container with its parts changed, sealed again. */
function changed(change: (parts: ContainerParts) => void): Uint8Array<ArrayBuffer> {
  const parts = openParts(CONTAINER);
  change(parts);
  const text = typeof parts.map === "string" ? parts.map : JSON.stringify(parts.map);
  return seal({ ...parts, map: text.replaceAll(JSON.stringify(DEEP), "[".repeat(50_000) + "]".repeat(50_000)) });
}

/** No reader may fall for it, and `verify` says so although the checksums are right. */
async function refused(bytes: Uint8Array): Promise<void> {
  expect(await outcome(() => readAll(bytes))).toMatch(LIE);
  expect(await written(({ sink }) => decompress(bytes, sink, { formats: FORMATS }))).toMatch(LIE);
  const verified = await outcome(async () => {
    const { ok, problems } = await verify(bytes);
    if (!ok) throw new WlqError("malformed", problems.join());
  });
  expect(verified).toMatch(LIE);
  await outcome(() => inspect(bytes));
}

function bytesAt(parts: ContainerParts, name: string): Uint8Array {
  return parts.tensors.find((t) => t.name === name)!.bytes;
}

test("the fixture seals as the library does", () => {
  expect(Buffer.from(changed(() => {})).equals(CONTAINER)).toBe(true);
});

describe("a field of the map", () => {
  // undefined: the field is missing
  test.each<[name: "w" | "v", fields: Fields]>([
    ...[16, 18, 1, 257, 17.5, "17", DEEP, undefined].map((levels): ["w", Fields] => ["w", { levels }]),
    ...[4, 6, undefined].map((bits): ["w", Fields] => ["w", { bits }]),
    ...[0, -16, 14, 20, Number.MAX_SAFE_INTEGER, undefined].map((groupSize): ["w", Fields] => ["w", { groupSize }]),
    ...[3, -1, 0.5, 2, "1", undefined].map((axis): ["v", Fields] => ["v", { axis }]),
    ...["row", DEEP, "tensor", "group", undefined].map((granularity): ["v", Fields] => ["v", { granularity }]),
    ...["row", DEEP, "channel", undefined].map((scale): ["w", Fields] => ["w", { scale }]),
    ["w", { granularity: "group" }],
    ...["tans", DEEP, undefined].map((coding): ["w", Fields] => ["w", { coding }]),
    ...["I32", "toString", "__proto__", DEEP, undefined].map((dtype): ["w", Fields] => ["w", { dtype }]),
    ...[
      [7, 10],
      [5, 10],
      [60, 2],
      [2 ** 31, 2 ** 31, 2 ** 31],
      [-6, -10],
      ["6", 10],
      [null],
      [6, DEEP],
      DEEP,
      "6,10",
      undefined,
    ].map((shape): ["w", Fields] => ["w", { shape }]),
    ["v", { shape: [0, 2 ** 52] }],
    ...["nowhere", 1, null, DEEP, "w.codebook", "v.codes", "i", "__wlq__.checksums", undefined].map(
      (codes): ["w", Fields] => ["w", { codes }],
    ),
    ...["w.codes", "v.codebook", "i", undefined].map((codebook): ["w", Fields] => ["w", { codebook }]),
    ...["w.codes", "w.codebook", "i", undefined].map((scales): ["w", Fields] => ["w", { scales }]),
  ])("of %s: %j", async (name, fields) => {
    await refused(
      changed(({ map }) => {
        Object.assign((map as Record<string, Fields>)[name]!, fields);
      }),
    );
  });
});

describe("a part", () => {
  test.each<[name: string, to: Partial<FixtureTensor>]>([
    ["w.codes", { dtype: "I8" }],
    ["v.codebook", { dtype: "U32" }],
    ["w.scales", { dtype: "BF16" }],
    ["v.codebook", { shape: [5, 3], bytes: new Uint8Array(60) }],
    ["v.codes", { shape: [32], bytes: new Uint8Array(32) }],
    ["v.codes", { shape: [8], bytes: new Uint8Array(8) }],
  ])("%s that is %j", async (name, to) => {
    await refused(
      changed((parts) => {
        parts.tensors = parts.tensors.map((t) => (t.name === name ? { ...t, ...to } : t));
      }),
    );
  });

  test("values that are not finite", async () => {
    for (const [at, value] of [
      [4, Number.NaN],
      [16, Number.NEGATIVE_INFINITY],
    ] as const) {
      await refused(changed((parts) => new Float32Array(bytesAt(parts, "w.codebook").buffer).set([value], at)));
    }
    for (const bits of [0x7e00, 0x7c00, 0xfc00]) {
      // scales that are none may be read as if float16 had larger numbers, but never as weights that are no numbers
      const bytes = changed((parts) => new Uint16Array(bytesAt(parts, "w.scales").buffer).set([bits], 3));
      const code = await outcome(async () => {
        const { data } = await (await open(bytes)).tensor("w");
        expect((data as Float32Array).every(Number.isFinite)).toBe(true);
      });
      expect(code).toMatch(/works|malformed/);
    }
  });

  test("codes beyond the levels neither trap nor read outside", async () => {
    const ways: CompressOptions[] = [
      { granularity: "tensor" },
      { granularity: "channel", axis: 0 },
      { granularity: "channel", axis: 2 },
      { granularity: "group", groupSize: 7 },
      { granularity: "tensor", scale: "channel", axis: 0 },
      { granularity: "tensor", scale: "group", groupSize: 33 },
    ];
    for (const way of ways) {
      for (const levels of [2, 3, 5, 9, 11, 17, 33, 65, 129, 255]) {
        for (const [dtype, width] of [
          ["F32", 4],
          ["F16", 2],
        ] as const) {
          const bytes = random.bytes(620 * width).map((b) => b & 0xbf);
          const model = safetensorsFile([{ name: "w", dtype, shape: [4, 5, 31], bytes }]);
          const parts = openParts(await containerOf(model, { ...SMALL, ...way, levels, entropy: "none" }));
          bytesAt(parts, "w.codes").fill(255);
          const decoder = await open(seal(parts));
          expect((await decoder.tensor("w")).data.length).toBe(620);
          expect((await decoder.tensor("w", { as: "dtype" })).data.length).toBe(620);
        }
      }
    }
  });
});

describe("the map", () => {
  test.each<[string, (parts: ContainerParts, map: Record<string, unknown>) => void]>([
    ["shared codes", (_, map) => Object.assign(map, { x: { ...(map.w as Fields), codebook: "v.codebook" } })],
    ["a tensor under two names", (_, map) => Object.assign(map, { x: map.w })],
    ["a name that is there plain, too", (parts, { w }) => Object.assign(parts, { map: { i: w } })],
    ["an entry that is null", (_, map) => Object.assign(map, { w: null })],
    ["an entry that is text", (_, map) => Object.assign(map, { w: "x" })],
    ["an entry that is a list", (_, map) => Object.assign(map, { w: [] })],
    ["a deep entry", (_, map) => Object.assign(map, { w: DEEP })],
    ["no JSON", (parts) => Object.assign(parts, { map: "{" })],
    ["a list", (parts) => Object.assign(parts, { map: "[]" })],
    ["null", (parts) => Object.assign(parts, { map: "null" })],
    ["open brackets", (parts) => Object.assign(parts, { map: "[".repeat(100_000) })],
    ["version 2", (parts) => Object.assign(parts.metadata, { "wlq.version": "2" })],
    ["an empty version", (parts) => Object.assign(parts.metadata, { "wlq.version": "" })],
    ["no version", (parts) => delete parts.metadata["wlq.version"]],
    ["another checksum", (parts) => Object.assign(parts.metadata, { "wlq.checksum": "crc32/65536" })],
  ])("%s", async (_, change) => {
    await refused(changed((parts) => void change(parts, parts.map as Record<string, unknown>)));
  });
});

test("a table of checksums that is missing, short, long or of another dtype", async () => {
  const good = checkSafetensors(CONTAINER);
  const list = [...good.tensors].map(([name, t]) => ({ name, ...t }));
  const sums = list.pop()!;
  expect(sums.name).toBe("__wlq__.checksums");
  const tables: FixtureTensor[][] = [
    [],
    [{ ...sums, shape: [sums.bytes.length - 8], bytes: sums.bytes.subarray(8) }],
    [{ ...sums, shape: [sums.bytes.length + 8], bytes: new Uint8Array(sums.bytes.length + 8) }],
    [{ ...sums, dtype: "I8" }],
    [{ ...sums, dtype: "F64", shape: [sums.bytes.length / 8] }],
  ];
  for (const table of tables) {
    expect(await useContainer(safetensorsFile([...list, ...table], good.metadata))).toBe("malformed");
  }
});

test("an ONNX container whose skeleton is missing, garbage, or of another model", async () => {
  const { f32, graph, model, node, weights } = onnxFile;
  const make = (name: string, shape: readonly [number, number]): Uint8Array => {
    const initializers = [f32(name, shape, weights(shape[0] * shape[1]))];
    return model({ graph: graph({ nodes: [node("MatMul", ["x", name], ["y"])], initializers, outputs: [] }) });
  };
  const base = openParts(await containerOf(make("w", [8, 9])));
  expect(await useContainer(seal(base))).toBe("works");
  const skeletonOf = async (bytes: Uint8Array): Promise<Uint8Array> =>
    bytesAt(openParts(await containerOf(bytes)), "__wlq__.model");
  const others: [Uint8Array | undefined, RegExp][] = [
    [undefined, /^(malformed|not-found)$/],
    [new Uint8Array(0), /^(malformed|truncated|unsupported)$/],
    [random.bytes(100), /^(malformed|truncated|unsupported)$/],
    [await skeletonOf(make("other", [8, 9])), /^(malformed|not-found)$/],
    [await skeletonOf(make("w", [9, 9])), /^(malformed|truncated)$/],
    [await skeletonOf(make("w", [9, 8])), /^malformed$/],
  ];
  for (const [bytes, code] of others) {
    const tensors = base.tensors.filter((t) => t.name !== "__wlq__.model");
    if (bytes) tensors.push({ name: "__wlq__.model", dtype: "U8", shape: [bytes.length], bytes });
    const file = seal({ ...base, tensors });
    expect(await written(({ sink }) => decompress(file, sink, { formats: FORMATS })), `${bytes?.length}`).toMatch(code);
  }
  const file = seal({ ...base, metadata: { ...base.metadata, "wlq.format": "pickle" } });
  expect(await written(({ sink }) => decompress(file, sink, { formats: FORMATS }))).toBe("unsupported");
});

test("a container is not read as a model of its own, and a model not as a container", async () => {
  expect(await written(({ sink }) => compress(CONTAINER, sink, SMALL))).toBe("already-compressed");
  expect(await useContainer(RAW)).toBe("unsupported");
  const decoder = await open(CONTAINER);
  for (const name of ["nothing", "w.codes", "toString", "__wlq__.checksums"]) {
    await expect(decoder.tensor(name)).rejects.toMatchObject({ code: "not-found" });
    expect(() => decoder.info(name)).toThrow(expect.objectContaining({ code: "not-found" }));
  }
});
