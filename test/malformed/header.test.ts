// Headers that lie: shapes, offsets, sizes, nesting, of safetensors and of ONNX.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compress } from "../../src/index.ts";
import { fileSource } from "../../src/node.ts";
import { concat, v, varint } from "../formats/onnx-fixture.ts";
import { fileOf } from "../formats/safetensors-fixture.ts";
import { REFUSED, SMALL, useModel, written } from "./use.ts";

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

    test("a header of 4 MB of brackets", async () => {
      for (const header of [
        "[".repeat(4_000_000),
        `{"a":${"[".repeat(2_000_000)}${"]".repeat(2_000_000)}}`,
        `{"a":[${"[],".repeat(1_300_000)}0]}`,
      ]) {
        expect(await useModel(fileOf(header, []))).toMatch(/malformed|unsupported/);
      }
    });
  });
});
test("ONNX graphs nested 20 000 deep are refused", async () => {
  const heads: Uint8Array[] = [];
  let size = 0;
  for (let i = 0; i < 20_000; i++) {
    for (const field of [6, 5, 1]) {
      const head = concat(varint(field * 8 + 2), varint(size));
      heads.push(head);
      size += head.length;
    }
  }
  expect(await useModel(concat(v(1, 8), varint(7 * 8 + 2), varint(size), ...heads.reverse()))).toMatch(REFUSED);
});
