// Hostile files: every prefix, every flipped byte, every lie gives a WlqError with a code, soon, and nothing is written.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { open } from "../src/decoder.ts";
import { onnx } from "../src/formats/onnx.ts";
import {
  type CompressOptions,
  compress,
  decompress,
  inspect,
  type RangeSource,
  type Source,
  verify,
  WlqError,
} from "../src/index.ts";
import { fileSource, folderResolver } from "../src/node.ts";
import { type ContainerParts, openParts, seal } from "./container-fixture.ts";
import * as onnxFile from "./formats/onnx-fixture.ts";
import { bytesOf, type FixtureTensor, fileOf, safetensorsFile } from "./formats/safetensors-fixture.ts";
import { checkSafetensors } from "./formats/safetensors-rules.ts";
import { Random } from "./kernels/random.ts";
import { memorySink } from "./memory-sink.ts";

const formats = [onnx()];
const random = new Random(99);
const f32 = (name: string, shape: number[]): FixtureTensor => ({
  name,
  dtype: "F32",
  shape,
  bytes: bytesOf(random.normals(shape.reduce((a, b) => a * b, 1))),
});

const RAW = safetensorsFile(
  [
    f32("w", [6, 7]),
    { name: "i", dtype: "I16", shape: [3], bytes: random.bytes(6) },
    { name: "b", dtype: "BOOL", shape: [1], bytes: random.bytes(1) },
  ],
  { format: "pt" },
);
const SMALL: CompressOptions = { levels: 5, granularity: "tensor", minSize: 1, formats };

/** A container of that model. */
async function containerOf(model: Source, options: CompressOptions = SMALL): Promise<Uint8Array<ArrayBuffer>> {
  const out = memorySink();
  await compress(model, out.sink, { formats, ...options });
  return out.bytes();
}

/** The code of the WlqError that must come, or "works"; anything else, and anything slow, fails the test. */
async function outcome(run: () => Promise<unknown>): Promise<string> {
  const start = performance.now();
  try {
    await run();
    return "works";
  } catch (error) {
    if (!(error instanceof WlqError)) throw error;
    expect(error.message.length).toBeLessThan(2000);
    return error.code;
  } finally {
    expect(performance.now() - start).toBeLessThan(10_000);
  }
}

/** Runs one that writes: if it fails, the sink must know. */
async function written(run: (out: ReturnType<typeof memorySink>) => Promise<unknown>): Promise<string> {
  const out = memorySink();
  const code = await outcome(() => run(out));
  expect(out.state()).toBe(code === "works" ? "closed" : "aborted");
  return code;
}

/** Everything that reads a model: inspects, compresses to each output, and compares what passed through. */
async function useModel(bytes: Uint8Array, options: CompressOptions = SMALL): Promise<string> {
  const code = await written(async ({ sink, bytes: result }) => {
    await compress(bytes, sink, options);
    checkSafetensors(result());
  });
  for (const to of ["dense", "onnx"] as const) {
    const other = await written(({ sink }) => compress(bytes, sink, { ...options, to }));
    // dense and onnx may be refused where a container is possible, not the other way round
    if (other === "works") expect(code).toBe("works");
  }
  await outcome(() => inspect(bytes, { formats }));
  return code;
}

/** Reads all tensors of a container. */
async function readAll(bytes: Source): Promise<void> {
  for await (const { data } of (await open(bytes)).tensors()) expect(data.length).toBeGreaterThanOrEqual(0);
}

/** Everything that reads a container; all must agree that it is damaged, or that it is not. */
async function useContainer(bytes: Uint8Array): Promise<string> {
  const read = await outcome(() => readAll(bytes));
  const restored = await written(({ sink }) => decompress(bytes, sink, { formats }));
  const verified = await outcome(async () => {
    const { ok, problems } = await verify(bytes);
    if (!ok) throw new WlqError("checksum", problems.join());
  });
  expect([restored === "works", verified === "works"]).toEqual([read === "works", read === "works"]);
  await outcome(() => inspect(bytes));
  return read;
}

const REFUSED = /^(truncated|malformed|unsupported|limit)$/;

describe("a raw safetensors file", () => {
  test("every prefix is refused", async () => {
    expect(await useModel(RAW)).toBe("works");
    for (let end = 0; end < RAW.length; end++) expect(await useModel(RAW.slice(0, end)), `${end}`).toMatch(REFUSED);
  });

  test("one byte more is refused", async () => {
    for (const extra of [0, 32, 255]) expect(await useModel(Uint8Array.from([...RAW, extra]))).toBe("malformed");
  });

  test("every flipped bit and byte is refused, or gives the result for those bytes", async () => {
    const header = 8 + Number(new DataView(RAW.buffer).getBigUint64(0, true));
    for (let at = 0; at < RAW.length; at++) {
      for (const flip of at < header ? [1, 2, 4, 8, 16, 32, 64, 128, 255] : [128, 255]) {
        const bytes = RAW.slice();
        bytes[at]! ^= flip;
        expect(await useModel(bytes), `byte ${at} ^ ${flip}`).toMatch(
          at < header ? /works|truncated|malformed|unsupported|limit/ : /works/,
        );
      }
    }
  });
});

describe("an ONNX file", () => {
  const {
    attr,
    constant,
    f32: float,
    fn,
    graph,
    i64,
    len,
    model,
    node,
    tensor,
    toHalf,
    TYPE,
    v,
    value,
    varint,
    weights,
  } = onnxFile;
  const W = weights(24);
  const small = model({
    ir: 8,
    graph: graph({
      nodes: [
        constant("k", float("", [3, 2], W.slice(0, 6))),
        node(
          "If",
          ["c"],
          ["z"],
          [
            attr.graph(
              "then_branch",
              graph({
                nodes: [node("Identity", ["w"], ["i"])],
                initializers: [float("s", [2, 2], W.slice(0, 4))],
                outputs: [],
              }),
            ),
          ],
        ),
        node("MatMul", ["x", "w"], ["y"]),
      ],
      initializers: [
        float("w", [4, 6], W),
        tensor("h", [2, 3], TYPE.F16, len(5, ...[...toHalf(W.slice(0, 6))].map(varint))),
        i64("n", [1, 2]),
      ],
      inputs: [value("x", TYPE.F32, ["n", 4])],
      outputs: [value("y", TYPE.F32, ["n", 6])],
    }),
    functions: [fn("local", "F", ["a"], ["b"], [constant("b", float("", [2], W.slice(0, 2)))])],
    domains: ["local"],
  });

  test("every prefix is refused, or is a model", async () => {
    expect(await useModel(small)).toBe("works");
    for (let end = 0; end < small.length; end++)
      expect(await useModel(small.slice(0, end)), `${end}`).toMatch(/works|truncated|malformed|unsupported/);
  });

  test("one byte more is refused", async () => {
    for (const extra of [0, 1, 10, 255]) expect(await useModel(Uint8Array.from([...small, extra]))).toMatch(REFUSED);
  });

  test("every flipped byte is refused, or gives the result for those bytes", async () => {
    for (let at = 0; at < small.length; at++) {
      for (const flip of [1 << (at % 8), 128, 255]) {
        const bytes = small.slice();
        bytes[at]! ^= flip;
        expect(await useModel(bytes), `byte ${at} ^ ${flip}`).toMatch(
          /works|truncated|malformed|unsupported|limit|non-finite/,
        );
      }
    }
  });

  test("graphs nested 20 000 deep are refused", async () => {
    const heads: Uint8Array[] = [];
    let size = 0;
    for (let i = 0; i < 20_000; i++) {
      for (const field of [6, 5, 1]) {
        const head = onnxFile.concat(varint(field * 8 + 2), varint(size));
        heads.push(head);
        size += head.length;
      }
    }
    expect(await useModel(onnxFile.concat(v(1, 8), varint(7 * 8 + 2), varint(size), ...heads.reverse()))).toMatch(
      REFUSED,
    );
  });

  test("its container: prefixes and flips", async () => {
    const container = await containerOf(small, SMALL);
    expect(await useContainer(container)).toBe("works");
    for (let end = 0; end < container.length; end += 7)
      expect(await useContainer(container.slice(0, end))).toMatch(REFUSED);
    for (let at = 0; at < container.length; at += 5) {
      const bytes = container.slice();
      bytes[at]! ^= 255;
      // the skeleton is no tensor: only restoring and verifying meet it
      const out = memorySink();
      expect(await outcome(() => decompress(bytes, out.sink, { formats })), `byte ${at}`).not.toBe("works");
      expect(out.state()).toBe("aborted");
      expect(await outcome(async () => expect((await verify(bytes)).ok).toBe(false)), `byte ${at}`).toMatch(
        /works|malformed|truncated|checksum|unsupported|limit/,
      );
    }
  });

  describe("external data", () => {
    const folder = mkdtempSync(join(tmpdir(), "wlq-external-"));
    afterAll(() => rmSync(folder, { recursive: true }));
    const inside = join(folder, "model");
    mkdirSync(join(inside, "sub"), { recursive: true });
    writeFileSync(join(inside, "good.bin"), bytesOf(W));
    writeFileSync(join(inside, "short.bin"), bytesOf(W.slice(1)));
    writeFileSync(join(folder, "secret.bin"), bytesOf(W));
    symlinkSync("../secret.bin", join(inside, "link.bin"));
    symlinkSync("..", join(inside, "up"));
    symlinkSync("good.bin", join(inside, "alias.bin"));
    symlinkSync("loop.bin", join(inside, "loop.bin"));
    execFileSync("mkfifo", [join(inside, "pipe")]);

    const using = async (location: string, offset?: number | string, length?: number | string): Promise<string> => {
      const w = tensor("w", [4, 6], TYPE.F32, onnxFile.external(location, offset, length));
      const path = join(inside, "model.onnx");
      writeFileSync(
        path,
        model({
          graph: graph({
            nodes: [node("MatMul", ["x", "w"], ["y"])],
            initializers: [w],
            inputs: [value("x", TYPE.F32, [1, 4])],
            outputs: [value("y", TYPE.F32, [1, 6])],
          }),
        }),
      );
      const source = await fileSource(path);
      const { resolve, closeAll } = folderResolver(path);
      try {
        return await written(({ sink }) => compress(source, sink, { ...SMALL, resolve }));
      } finally {
        await closeAll();
        await source.close();
      }
    };

    test.each<[string, RegExp, (number | string)?, (number | string)?]>([
      ["good.bin", /^works$/],
      ["./good.bin", /^works$/],
      ["alias.bin", /^works$/],
      ["good.bin", /^works$/, 0, 96],
      ["../secret.bin", /^unsafe-path$/],
      ["sub/../../secret.bin", /^unsafe-path$/],
      ["sub/../good.bin", /^unsafe-path$/],
      [join(folder, "secret.bin"), /^unsafe-path$/],
      ["/etc/passwd", /^unsafe-path$/],
      ["..\\secret.bin", /^unsafe-path$/],
      ["C:\\secret.bin", /^unsafe-path$/],
      ["file:///etc/passwd", /^unsafe-path$/],
      ["", /^(unsafe-path|malformed)$/],
      [".", /^unsafe-path$/],
      ["good.bin\u0000.txt", /^unsafe-path$/],
      ["link.bin", /^unsafe-path$/],
      ["up/secret.bin", /^unsafe-path$/],
      ["loop.bin", /^(not-found|io)$/],
      ["nothing.bin", /^not-found$/],
      ["sub", /^io$/],
      ["pipe", /^io$/],
      ["short.bin", /^(truncated|malformed)$/],
      ["good.bin", /^(truncated|malformed)$/, 1],
      ["good.bin", /^(truncated|malformed)$/, 0, 97],
      ["good.bin", /^malformed$/, 0, 95],
      ["good.bin", /^malformed$/, -4],
      ["good.bin", /^(truncated|malformed)$/, 2 ** 53],
      ["good.bin", /^(truncated|malformed)$/, "9".repeat(400)],
      ["good.bin", /^malformed$/, "0x10"],
    ])("%s %s %s %s", async (location, code, offset, length) => {
      expect(await using(location, offset, length)).toMatch(code);
    });
  });
});

describe("a safetensors header that lies", () => {
  const data = [new Uint8Array(64)];
  const entry = (shape: unknown, offsets: unknown, dtype: unknown = "F32"): string =>
    JSON.stringify({ dtype, shape, data_offsets: offsets });
  const one = (shape: unknown, offsets: unknown = [0, 64], dtype: unknown = "F32"): string =>
    `{"w":${entry(shape, offsets, dtype)}}`;
  const two = (a: [number, number], b: [number, number]): string =>
    `{"a":${entry([a[1] - a[0]], a, "U8")},"b":${entry([b[1] - b[0]], b, "U8")}}`;
  const deep = (open: string, close: string, depth = 100_000): string => open.repeat(depth) + close.repeat(depth);

  test.each<[string, string]>([
    ["a shape product of 2^93", one([2 ** 31, 2 ** 31, 2 ** 31])],
    ["a shape product that overflows to 16 in 64 bits", one([2 ** 32, 2 ** 32, 16])],
    ["a shape product that overflows to 0", one([2 ** 32, 2 ** 32])],
    ["an infinite dimension", '{"w":{"dtype":"F32","shape":[1e999],"data_offsets":[0,64]}}'],
    ["a negative dimension", one([-16])],
    ["two negative dimensions", one([-4, -4])],
    ["a fraction", one([0.5, 32])],
    ["text", one(["16"])],
    ["null", one([null])],
    ["true", one([true, 16])],
    ["a nested shape", one([[16]])],
    ["no array", one("16")],
    ["a deep shape", `{"w":{"dtype":"F32","shape":${deep("[", "]")},"data_offsets":[0,64]}}`],
    ["deep offsets", `{"w":{"dtype":"F32","shape":[16],"data_offsets":${deep("[", "]")}}}`],
    ["one deep offset", `{"w":{"dtype":"F32","shape":[16],"data_offsets":[0,${deep("[", "]")}]}}`],
    ["a deep dtype", `{"w":{"dtype":${deep('{"a":', "}").replace("}", "0}")},"shape":[16],"data_offsets":[0,64]}}`],
    ["a deep tensor", `{"w":${deep("[", "]")}}`],
    ["deep metadata", `{"__metadata__":{"a":${deep("[", "]")}}}`],
    ["100 000 open brackets", "[".repeat(100_000)],
    ["100 000 open objects", '{"a":'.repeat(100_000)],
    ["a million dimensions", one(new Array(1e6).fill(1), [0, 60])],
    ["a million wrong dimensions", one(new Array(1e6).fill(-1))],
    ["no dtype", '{"w":{"shape":[16],"data_offsets":[0,64]}}'],
    ["a dtype that is no text", one([16], [0, 64], 32)],
    ["a dtype that every object has", one([16], [0, 63], "toString")],
    ["another", one([16], [0, 63], "__proto__")],
    ["no shape", '{"w":{"dtype":"F32","data_offsets":[0,64]}}'],
    ["no offsets", '{"w":{"dtype":"F32","shape":[16]}}'],
    ["one offset", one([16], [64])],
    ["three offsets", one([16], [0, 64, 64])],
    ["offsets that are text", one([16], ["0", "64"])],
    ["negative offsets", one([16], [-64, 0])],
    ["offsets the wrong way round", one([16], [64, 0])],
    ["an offset beyond 2^53", one([16], [0, 2 ** 60])],
    ["more than the file", one([32], [0, 128])],
    ["less than the file", one([8], [0, 32])],
    ["a size that the shape contradicts", one([8])],
    ["sub-byte elements that fill no byte", one([127], [0, 64], "F4")],
    ["an overlap", two([0, 40], [32, 64])],
    ["the same bytes twice", two([0, 64], [0, 64])],
    ["a hole", two([0, 30], [34, 64])],
    ["a hole in front", two([4, 30], [30, 64])],
    ["a tensor in a tensor", two([0, 64], [8, 16])],
    ["metadata that is no object", '{"__metadata__":[]}'],
    ["metadata with a number", '{"__metadata__":{"a":1}}'],
    ["metadata null", `{"__metadata__":null,"w":${entry([16], [0, 64])}}`],
    ["a tensor that is null", '{"w":null}'],
    ["a tensor that is text", '{"w":"F32"}'],
    ["a tensor that is a list", '{"w":["F32",[16],[0,64]]}'],
    ["an array", `[${entry([16], [0, 64])}]`],
    ["no JSON", "{w:1}"],
    ["text behind the object", `${one([16])}x`],
    ["a byte order mark", `\ufeff${one([16])}`],
    ["nothing but spaces", " ".repeat(64)],
    ["null", "null"],
    ["an empty object before data", "{}"],
  ])("%s", async (_, header) => {
    expect(await useModel(fileOf(header, data))).toMatch(REFUSED);
  });

  test("bytes that are no UTF-8", async () => {
    const bytes = fileOf('{"\u0001":0}', []);
    bytes[10] = 0xff;
    expect(await useModel(bytes)).toMatch(REFUSED);
  });

  test("sizes of the header: beyond the file, 2^63, 2^64 - 1, 0", async () => {
    for (const size of [1n << 20n, 1n << 53n, 1n << 63n, (1n << 64n) - 1n, 0n]) {
      expect(await useModel(fileOf(one([16]), data, size))).toMatch(REFUSED);
    }
  });

  describe("in a large file", () => {
    const folder = mkdtempSync(join(tmpdir(), "wlq-large-"));
    afterAll(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "large.safetensors");
    const use = async (head: Uint8Array | string, size: number): Promise<string> => {
      writeFileSync(path, head);
      truncateSync(path, size);
      const source = await fileSource(path);
      try {
        return await written(({ sink }) => compress(source, sink, SMALL));
      } finally {
        await source.close();
      }
    };

    test("a header of 100 MB, of 99 MB, of 4 GB, that are not there to be parsed", async () => {
      expect(await use(fileOf("{", [], 100_000_000n), 101_000_000)).toBe("limit");
      expect(await use(fileOf("{", [], 99_000_000n), 101_000_000)).toBe("limit");
      expect(await use(fileOf("{", [], 1n << 32n), 2 ** 33)).toBe("limit");
    });

    test("a header of 40 MB of spaces", async () => {
      const spaces = fileOf(`{${" ".repeat(40_000_000)}}`, []);
      expect(await use(spaces, spaces.length)).toBe("limit");
    });

    test("a header of 8 MB of spaces is only long", async () => {
      const spaces = fileOf(`{${" ".repeat(8_000_000)}}`, []);
      expect(await use(spaces, spaces.length)).toBe("works");
    });

    test("a header of 8 MB of brackets", async () => {
      for (const header of [
        "[".repeat(8_000_000),
        `{"a":${"[".repeat(4_000_000)}${"]".repeat(4_000_000)}}`,
        `{"a":[${"[],".repeat(2_000_000)}0]}`,
      ]) {
        expect(await useModel(fileOf(header, []))).toMatch(/malformed|unsupported/);
      }
    });
  });
});

describe("a source that lies", () => {
  const slices: [string, RangeSource["slice"], RegExp][] = [
    ["gives less", (start, end) => RAW.buffer.slice(start, Math.max(start, end - 1)), /truncated/],
    ["gives more", (start, end) => RAW.buffer.slice(Math.max(0, start - 1), end + 1), /truncated/],
    ["gives nothing", () => new ArrayBuffer(0), /truncated/],
    [
      "throws",
      () => {
        throw new RangeError("no");
      },
      /io/,
    ],
    ["rejects", () => Promise.reject(new Error("connection lost")), /io/],
    ["gives no buffer", () => undefined as unknown as ArrayBuffer, /truncated|io/],
    ["gives null", () => null as unknown as ArrayBuffer, /truncated|io/],
    ["gives text", () => "bytes" as unknown as ArrayBuffer, /truncated|io/],
  ];
  test.each(slices)("it %s", async (_, slice, code) => {
    expect(await written(({ sink }) => compress({ byteLength: RAW.length, slice }, sink, SMALL))).toMatch(code);
    expect(await outcome(() => inspect({ byteLength: RAW.length, slice }))).toMatch(code);
  });

  test("a size that is none is the caller's mistake", async () => {
    for (const byteLength of [-1, 1.5, Number.NaN, 2 ** 60]) {
      await expect(inspect({ byteLength, slice: () => new ArrayBuffer(0) })).rejects.toThrow(TypeError);
    }
  });

  test("tensors beyond memory, in a container that would be petabytes", async () => {
    for (const [dims, dtype] of [
      [[2 ** 34], "F32"],
      [[2 ** 40], "BF16"],
      [[2 ** 25, 2 ** 20], "F64"],
    ] as const) {
      const count = dims.reduce((a: number, b) => a * b, 1);
      const codes = count / 8;
      const entry = {
        dtype,
        shape: dims,
        levels: 2,
        bits: 1,
        granularity: "tensor",
        scale: "none",
        coding: "packed",
        codebook: "c",
        codes: "d",
      };
      const sums = Math.ceil(codes / 65536) + 2;
      const header = JSON.stringify({
        __metadata__: {
          "wlq.version": "1",
          "wlq.format": "safetensors",
          "wlq.checksum": "xxh64/65536",
          "wlq.tensors": JSON.stringify({ w: entry }),
        },
        c: { dtype: "F32", shape: [1, 2], data_offsets: [0, 8] },
        d: { dtype: "U8", shape: [codes], data_offsets: [8, 8 + codes] },
        "__wlq__.checksums": { dtype: "U8", shape: [sums * 8], data_offsets: [8 + codes, 8 + codes + sums * 8] },
      });
      const head = fileOf(header, []);
      const source: RangeSource = {
        byteLength: head.length + 8 + codes + sums * 8,
        slice(start, end) {
          const out = new Uint8Array(end - start);
          if (start < head.length) out.set(head.subarray(start, end));
          return out.buffer;
        },
      };
      expect(await outcome(async () => (await open(source, { check: false })).tensor("w"))).toMatch(/resources|limit/);
    }
  });
});

describe("a container", async () => {
  const model = safetensorsFile(
    [
      f32("w", [6, 10]),
      f32("v", [3, 4, 5]),
      { name: "i", dtype: "I16", shape: [3], bytes: random.bytes(6) },
      { name: "e", dtype: "F32", shape: [0], bytes: new Uint8Array(0) },
    ],
    { format: "pt" },
  );
  const rules: CompressOptions = {
    ...SMALL,
    tensors: [
      { match: /w/, options: { levels: 17, scale: "group", groupSize: 16 } },
      { match: /v/, options: { levels: 3, granularity: "channel", axis: 1 } },
    ],
  };
  const container = await containerOf(model, rules);

  test("is whole, and sealed as the fixture seals it", async () => {
    expect(await useContainer(container)).toBe("works");
    expect(Buffer.from(seal(openParts(container))).equals(container)).toBe(true);
  });

  test("every prefix is refused", async () => {
    for (let end = 0; end < container.length; end++)
      expect(await useContainer(container.slice(0, end)), `${end}`).toMatch(REFUSED);
  });

  test("one byte more is refused", async () => {
    for (const extra of [0, 255]) expect(await useContainer(Uint8Array.from([...container, extra]))).toBe("malformed");
  });

  test("every flipped byte is noticed by verify, by decompress and by reading", async () => {
    for (let at = 0; at < container.length; at++) {
      for (const flip of [1 << (at % 8), 255]) {
        const bytes = container.slice();
        bytes[at]! ^= flip;
        expect(await useContainer(bytes), `byte ${at} ^ ${flip}`).toMatch(
          /^(checksum|malformed|truncated|unsupported|limit)$/,
        );
      }
    }
  });

  test("so it is where there are no weights at all", async () => {
    const empty = await containerOf(
      safetensorsFile([{ name: "e", dtype: "F32", shape: [0], bytes: new Uint8Array(0) }], { a: "b" }),
    );
    for (let at = 0; at < empty.length; at++) {
      const bytes = empty.slice();
      bytes[at]! ^= 1;
      expect(await useContainer(bytes), `byte ${at}`).not.toBe("works");
    }
  });

  // stands for a list in a list in a list …
  const deep = "@deep";
  const changed = (
    change: (parts: ContainerParts, w: Record<string, unknown>, v: Record<string, unknown>) => void,
  ): Uint8Array<ArrayBuffer> => {
    const parts = openParts(container);
    const map = parts.map as Record<string, Record<string, unknown>>;
    change(parts, map.w!, map.v!);
    if (typeof parts.map === "object")
      parts.map = JSON.stringify(parts.map).replaceAll(JSON.stringify(deep), "[".repeat(50_000) + "]".repeat(50_000));
    return seal(parts);
  };
  const bytesAt = (parts: ContainerParts, name: string): Uint8Array =>
    parts.tensors.find((t) => t.name === name)!.bytes;
  const replace = (parts: ContainerParts, name: string, to: Partial<FixtureTensor>): void => {
    parts.tensors = parts.tensors.map((t) => (t.name === name ? { ...t, ...to } : t));
  };

  const lies: [string, Parameters<typeof changed>[0]][] = [
    ["a NaN in a codebook", (p) => new Float32Array(bytesAt(p, "v.codebook").buffer).set([Number.NaN], 4)],
    [
      "an infinity in a codebook",
      (p) => new Float32Array(bytesAt(p, "w.codebook").buffer).set([Number.NEGATIVE_INFINITY], 16),
    ],
    ["a NaN among the scales", (p) => new Uint16Array(bytesAt(p, "w.scales").buffer).set([0x7e00], 1)],
    ["an infinity among the scales", (p) => new Uint16Array(bytesAt(p, "w.scales").buffer).set([0xfc00], 3)],
    [
      "fewer levels",
      (_, w) => {
        w.levels = 16;
      },
    ],
    [
      "more levels",
      (_, w) => {
        w.levels = 18;
      },
    ],
    [
      "one level",
      (_, w) => {
        w.levels = 1;
      },
    ],
    [
      "257 levels",
      (_, w) => {
        w.levels = 257;
      },
    ],
    [
      "17.5 levels",
      (_, w) => {
        w.levels = 17.5;
      },
    ],
    [
      "levels as text",
      (_, w) => {
        w.levels = "17";
      },
    ],
    [
      "fewer bits",
      (_, w) => {
        w.bits = 4;
      },
    ],
    [
      "more bits",
      (_, w) => {
        w.bits = 6;
      },
    ],
    [
      "no bits",
      (_, w) => {
        delete w.bits;
      },
    ],
    [
      "groups of 0",
      (_, w) => {
        w.groupSize = 0;
      },
    ],
    [
      "groups of -16",
      (_, w) => {
        w.groupSize = -16;
      },
    ],
    [
      "smaller groups",
      (_, w) => {
        w.groupSize = 14;
      },
    ],
    [
      "larger groups",
      (_, w) => {
        w.groupSize = 20;
      },
    ],
    [
      "huge groups",
      (_, w) => {
        w.groupSize = Number.MAX_SAFE_INTEGER;
      },
    ],
    [
      "no groupSize",
      (_, w) => {
        delete w.groupSize;
      },
    ],
    [
      "axis 3",
      (_, __, v) => {
        v.axis = 3;
      },
    ],
    [
      "axis -1",
      (_, __, v) => {
        v.axis = -1;
      },
    ],
    [
      "axis 0.5",
      (_, __, v) => {
        v.axis = 0.5;
      },
    ],
    [
      "another axis",
      (_, __, v) => {
        v.axis = 2;
      },
    ],
    [
      "no axis",
      (_, __, v) => {
        delete v.axis;
      },
    ],
    [
      "an unknown granularity",
      (_, __, v) => {
        v.granularity = "row";
      },
    ],
    [
      "an unknown scale",
      (_, w) => {
        w.scale = "row";
      },
    ],
    [
      "an unknown coding",
      (_, w) => {
        w.coding = "tans";
      },
    ],
    [
      "scale and granularity at once",
      (_, w) => {
        w.granularity = "group";
      },
    ],
    [
      "a dtype that is none",
      (_, w) => {
        w.dtype = "I32";
      },
    ],
    [
      "a dtype that every object has",
      (_, w) => {
        w.dtype = "toString";
      },
    ],
    [
      "a larger shape",
      (_, w) => {
        w.shape = [7, 10];
      },
    ],
    [
      "a smaller shape",
      (_, w) => {
        w.shape = [5, 10];
      },
    ],
    [
      "a huge shape",
      (_, w) => {
        w.shape = [2 ** 31, 2 ** 31, 2 ** 31];
      },
    ],
    [
      "an empty shape of huge channels",
      (_, __, v) => {
        v.shape = [0, 2 ** 52];
      },
    ],
    [
      "a negative shape",
      (_, w) => {
        w.shape = [-6, -10];
      },
    ],
    [
      "a shape with text",
      (_, w) => {
        w.shape = ["6", 10];
      },
    ],
    [
      "a shape with null",
      (_, w) => {
        w.shape = [null];
      },
    ],
    [
      "no shape",
      (_, w) => {
        delete w.shape;
      },
    ],
    [
      "a deep shape",
      (_, w) => {
        w.shape = deep;
      },
    ],
    [
      "a deep dimension",
      (_, w) => {
        w.shape = [6, deep];
      },
    ],
    [
      "a deep dtype",
      (_, w) => {
        w.dtype = deep;
      },
    ],
    [
      "a deep granularity",
      (_, w) => {
        w.granularity = deep;
      },
    ],
    [
      "deep levels",
      (_, w) => {
        w.levels = deep;
      },
    ],
    [
      "a deep name",
      (_, w) => {
        w.codes = deep;
      },
    ],
    [
      "codes that are not there",
      (_, w) => {
        w.codes = "nowhere";
      },
    ],
    [
      "codes that are a number",
      (_, w) => {
        w.codes = 1;
      },
    ],
    ["codes of another dtype", (p) => replace(p, "w.codes", { dtype: "I8" })],
    ["a codebook of another dtype", (p) => replace(p, "v.codebook", { dtype: "U32" })],
    ["scales of another dtype", (p) => replace(p, "w.scales", { dtype: "BF16" })],
    ["a longer codebook", (p) => replace(p, "v.codebook", { shape: [5, 3], bytes: new Uint8Array(60) })],
    ["longer codes", (p) => replace(p, "v.codes", { shape: [32], bytes: new Uint8Array(32) })],
    ["shorter codes", (p) => replace(p, "v.codes", { shape: [8], bytes: new Uint8Array(8) })],
    [
      "shared codes",
      (p, w) => {
        (p.map as Record<string, unknown>).x = { ...w, codebook: "v.codebook" };
      },
    ],
    [
      "a tensor twice, under two names",
      (p, w) => {
        (p.map as Record<string, unknown>).x = { ...w };
      },
    ],
    [
      "codebook and codes the same",
      (_, w) => {
        w.codebook = "w.codes";
      },
    ],
    [
      "the checksums as codes",
      (_, w) => {
        w.codes = "__wlq__.checksums";
      },
    ],
    [
      "a name that is there plain, too",
      (p, w) => {
        p.map = { i: w };
      },
    ],
    [
      "an entry that is null",
      (p) => {
        (p.map as Record<string, unknown>).w = null;
      },
    ],
    [
      "an entry that is text",
      (p) => {
        (p.map as Record<string, unknown>).w = "x";
      },
    ],
    [
      "an entry that is a list",
      (p) => {
        (p.map as Record<string, unknown>).w = [];
      },
    ],
    [
      "a map that is no JSON",
      (p) => {
        p.map = "{";
      },
    ],
    [
      "a map that is a list",
      (p) => {
        p.map = "[]";
      },
    ],
    [
      "a map that is null",
      (p) => {
        p.map = "null";
      },
    ],
    [
      "a deep map",
      (p) => {
        p.map = "[".repeat(100_000);
      },
    ],
    [
      "a deep entry",
      (p) => {
        p.map = `{"w":${'{"shape":'.repeat(50_000)}0${"}".repeat(50_000)}}`;
      },
    ],
    [
      "version 2",
      (p) => {
        p.metadata["wlq.version"] = "2";
      },
    ],
    [
      "an empty version",
      (p) => {
        p.metadata["wlq.version"] = "";
      },
    ],
  ];
  test.each(lies)("%s", async (_, change) => {
    const bytes = changed(change);
    expect(await outcome(() => readAll(bytes))).toMatch(/^(malformed|unsupported|limit)$/);
    expect(await written(({ sink }) => decompress(bytes, sink, { formats }))).toMatch(
      /^(malformed|unsupported|limit)$/,
    );
    // the checksums are right: verify may find nothing wrong with these bytes
    await outcome(() => verify(bytes));
    await outcome(() => inspect(bytes));
  });

  test("no version, no map: not a container, or none of its tensors coded", async () => {
    expect(
      await useContainer(
        changed((p) => {
          delete p.metadata["wlq.version"];
        }),
      ),
    ).toBe("unsupported");
  });

  test("a table of checksums that is missing, short, long or of another dtype", async () => {
    const good = checkSafetensors(container);
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
    for (const table of tables)
      expect(await useContainer(safetensorsFile([...list, ...table], good.metadata))).toBe("malformed");
  });

  test("codes beyond the levels neither trap nor read outside", async () => {
    for (const options of [
      { granularity: "tensor" },
      { granularity: "channel", axis: 0 },
      { granularity: "channel", axis: 2 },
      { granularity: "group", groupSize: 7 },
      { scale: "channel", axis: 0 },
      { scale: "group", groupSize: 33 },
    ] as CompressOptions[]) {
      for (const levels of [2, 3, 5, 9, 11, 17, 33, 65, 129, 255]) {
        for (const dtype of ["F32", "F16"]) {
          const bytes = random.bytes(dtype === "F32" ? 4 * 5 * 31 * 4 : 4 * 5 * 31 * 2).map((b) => b & 0xbf);
          const parts = openParts(
            await containerOf(safetensorsFile([{ name: "w", dtype, shape: [4, 5, 31], bytes }]), {
              ...SMALL,
              ...options,
              granularity: options.granularity,
              levels,
            }),
          );
          bytesAt(parts, "w.codes").fill(255);
          const decoder = await open(seal(parts));
          expect((await decoder.tensor("w")).data.length).toBe(620);
          expect((await decoder.tensor("w", { as: "dtype" })).data.length).toBe(620);
        }
      }
    }
  });

  test("an ONNX container whose skeleton is missing, garbage, or of another model", async () => {
    const { f32: float, graph, model: onnxModel, node, weights } = onnxFile;
    const make = (name: string, shape: number[], seed = 1): Uint8Array =>
      onnxModel({
        graph: graph({
          nodes: [node("MatMul", ["x", name], ["y"])],
          initializers: [float(name, shape, weights(shape[0]! * shape[1]!, seed))],
          outputs: [],
        }),
      });
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
      expect(await written(({ sink }) => decompress(file, sink, { formats })), `${bytes?.length}`).toMatch(code);
    }
    const file = seal({ ...base, metadata: { ...base.metadata, "wlq.format": "pickle" } });
    expect(await written(({ sink }) => decompress(file, sink, { formats }))).toBe("unsupported");
  });

  test("a container is not read as a model of its own, and a model not as a container", async () => {
    expect(await written(({ sink }) => compress(container, sink, SMALL))).toBe("already-compressed");
    expect(await useContainer(RAW)).toBe("unsupported");
    expect(await written(({ sink }) => decompress(RAW, sink))).toBe("unsupported");
    await expect((await open(container)).tensor("nothing")).rejects.toMatchObject({ code: "not-found" });
    await expect((await open(container)).tensor("w.codes")).rejects.toMatchObject({ code: "not-found" });
  });
});

test("files that are no model at all", async () => {
  for (const bytes of [
    new Uint8Array(0),
    new Uint8Array(1),
    new Uint8Array(64),
    new Uint8Array(1000).fill(255),
    new TextEncoder().encode("<!doctype html>".repeat(9)),
    Uint8Array.of(0x50, 0x4b, 3, 4, ...random.bytes(200)),
    Uint8Array.of(0x80, 2, 0x7d, ...random.bytes(200)),
  ]) {
    expect(await useModel(bytes)).toMatch(REFUSED);
    expect(await useContainer(bytes)).toMatch(REFUSED);
  }
  for (let i = 0; i < 500; i++) {
    expect(await useModel(random.bytes(random.below(120)))).toMatch(REFUSED);
  }
});
