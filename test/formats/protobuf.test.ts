// The protobuf walker and splice: byte ranges, lengths, limits.
import { expect, test } from "vitest";
import { WlqError } from "../../src/error.ts";
import type { Edit, Field, Message } from "../../src/formats/protobuf.ts";
import { Cursor, varint as encodeVarint, PROTOBUF_LIMITS, splice, WireReader } from "../../src/formats/protobuf.ts";
import { byteSource } from "../../src/io/source.ts";
import { collect, concat, fixed32, fixed64, len, text, v, varint } from "./onnx-fixture.ts";

async function fields(bytes: Uint8Array): Promise<Field[]> {
  const reader = new WireReader(byteSource(bytes));
  const out: Field[] = [];
  await reader.walk(reader.root, (field) => void out.push(field));
  return out;
}

test("fields come with their ranges", async () => {
  const bytes = concat(v(1, 300), text(2, "abc"), fixed32(3, 1.5), fixed64(100, 2.5), v(4, -1));
  const got = await fields(bytes);
  expect(got.map(({ number, wire, start, payload, end, value }) => [number, wire, start, payload, end, value])).toEqual(
    [
      [1, 0, 0, 1, 3, 300],
      [2, 2, 3, 5, 8, 0],
      [3, 5, 8, 9, 13, 0],
      [100, 1, 13, 15, 23, 0],
      [4, 0, 23, 24, 34, -1],
    ],
  );
});

test.each([0, 1, 127, 128, 16383, 16384, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1])(
  "varint %d goes out and comes in",
  async (value) => {
    expect(encodeVarint(value)).toEqual(varint(value));
    const cursor = new Cursor(byteSource(encodeVarint(value)));
    await cursor.ready(10);
    expect(cursor.varint(10)).toBe(value);
  },
);

test("varints of 64 bits keep their sign, and their halves", async () => {
  for (const value of [-1n, -(2n ** 63n), 2n ** 63n - 1n, -123456789012345n]) {
    const cursor = new Cursor(byteSource(varint(value)));
    await cursor.ready(10);
    expect(cursor.varint(10)).toBe(Number(value));
    expect((BigInt(cursor.high | 0) << 32n) + BigInt(cursor.low >>> 0)).toBe(value);
  }
});

test("what is not asked for is not read", async () => {
  const big = new Uint8Array(10_000_000);
  const bytes = concat(v(1, 7), len(2, big), len(2, big), text(3, "end"));
  let read = 0;
  const source = byteSource({
    byteLength: bytes.length,
    slice: (start: number, end: number): ArrayBuffer => {
      read += end - start;
      return bytes.slice(start, end).buffer;
    },
  });
  const reader = new WireReader(source);
  let last = "";
  await reader.walk(reader.root, async (field) => {
    if (field.number === 3) last = await reader.text(field);
  });
  expect(last).toBe("end");
  expect(read).toBeLessThan(3 * PROTOBUF_LIMITS.windowBytes);
});

const refused: [string, Uint8Array, string, RegExp][] = [
  [
    "a length beyond the file",
    concat(varint(10), varint(100), new Uint8Array(5)),
    "truncated",
    /says 100 bytes, its file has 5 left/,
  ],
  ["a length beyond 2^53", concat(varint(10), varint(2n ** 62n)), "truncated", /its file has 0 left/],
  ["a negative length", concat(varint(10), varint(-5)), "malformed", /says -5 bytes/],
  ["an endless varint", concat(varint(8), new Uint8Array(11).fill(255)), "malformed", /longer than 10 bytes/],
  ["a cut varint", Uint8Array.of(8, 255), "truncated", /does not end before byte 2/],
  ["a cut fixed32", Uint8Array.of(13, 1, 2), "truncated", /says 4 bytes, its file has 2 left/],
  ["a group", Uint8Array.of(11, 12), "unsupported", /is a group/],
  ["wire type 6", Uint8Array.of(14), "malformed", /wire type 6/],
  ["wire type 7", Uint8Array.of(15), "malformed", /wire type 7/],
  ["field number 0", Uint8Array.of(0, 0), "malformed", /field number 0/],
  ["a field number beyond 2^29", concat(varint(2 ** 33), varint(0)), "malformed", /field number 1073741824/],
];
test.each(refused)("%s is refused", async (_, bytes, code, message) => {
  const error = await fields(bytes).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(WlqError);
  expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
});

test("a child's fields may not leave it", async () => {
  const reader = new WireReader(byteSource(concat(len(1, varint(10), varint(9)), new Uint8Array(20))));
  const walk = reader.walk(reader.root, (field) => reader.walk(reader.child(reader.root, field), () => {}));
  await expect(walk).rejects.toMatchObject({
    code: "malformed",
    message: expect.stringContaining("says 9 bytes, its message has 0 left"),
  });
});

test("depth, fields, names and lists of integers have limits", async () => {
  const deep = (n: number): Message => {
    let message: Message = reader.root;
    for (let i = 0; i < n; i++) message = reader.child(message, field);
    return message;
  };
  const reader = new WireReader(byteSource(new Uint8Array(PROTOBUF_LIMITS.textBytes + 100)));
  const field: Field = {
    tag: 10,
    number: 1,
    wire: 2,
    start: 0,
    lengthStart: 0,
    payload: 0,
    end: PROTOBUF_LIMITS.textBytes + 1,
    value: 0,
  };
  expect(deep(100).depth).toBe(100);
  expect(() => deep(101)).toThrow(/deeper than 100/);
  await expect(reader.text(field)).rejects.toMatchObject({ code: "limit" });
  await expect(reader.integers(field, [], 64)).rejects.toMatchObject({ code: "limit" });
  const many = new Uint8Array(2 * (PROTOBUF_LIMITS.fields + 1));
  for (let i = 0; i < many.length; i += 2) many[i] = 8;
  const count = new WireReader(byteSource(many));
  await expect(count.walk(count.root, () => {})).rejects.toMatchObject({
    code: "limit",
    message: expect.stringContaining("8388608 fields"),
  });
});

test("a name must be UTF-8 and keeps its byte order mark", async () => {
  const read = async (bytes: Uint8Array): Promise<string> => {
    const reader = new WireReader(byteSource(len(1, bytes)));
    let name = "";
    await reader.walk(reader.root, async (field) => {
      name = await reader.text(field);
    });
    return name;
  };
  expect(await read(Uint8Array.of(0xef, 0xbb, 0xbf, 65))).toBe("\ufeffA");
  await expect(read(Uint8Array.of(65, 0xff))).rejects.toMatchObject({ code: "malformed" });
});

test("fields on the edge of a window are read whole, at every offset", async () => {
  for (let pad = PROTOBUF_LIMITS.windowBytes - 40; pad < PROTOBUF_LIMITS.windowBytes + 4; pad++) {
    const bytes = concat(len(1, new Uint8Array(pad)), text(2, "a name of some length"), v(3, 2 ** 40), text(4, "z"));
    const reader = new WireReader(byteSource(bytes));
    const got: unknown[] = [];
    await reader.walk(reader.root, async (field) => {
      got.push(field.number === 1 ? field.end : field.wire === 2 ? await reader.text(field) : field.value);
    });
    expect(got.slice(1)).toEqual(["a name of some length", 2 ** 40, "z"]);
  }
});

/** Nested messages: 1 { 1 { 2: "abc" } 3: "x" } 9: "tail". */
const nested = concat(len(1, len(1, text(2, "abc")), text(3, "x")), text(9, "tail"));

async function openNested(bytes: Uint8Array): Promise<{ outer: Message; inner: Message; leaf: Field; root: Message }> {
  const reader = new WireReader(byteSource(bytes));
  let outer!: Message;
  let inner!: Message;
  let leaf!: Field;
  await reader.walk(reader.root, async (a) => {
    if (a.number !== 1) return;
    outer = reader.child(reader.root, a);
    await reader.walk(outer, async (b) => {
      if (b.number !== 1) return;
      inner = reader.child(outer, b);
      await reader.walk(inner, (c) => {
        leaf = c;
      });
    });
  });
  return { outer, inner, leaf, root: reader.root };
}

test.each([0, 1, 100, 120, 127, 128, 129, 16_384, 100_000])(
  "an edit of %d bytes puts all lengths around it right",
  async (size) => {
    const { inner, leaf } = await openNested(nested);
    const edit: Edit = { within: inner, start: leaf.start, end: leaf.end, bytes: [len(2, new Uint8Array(size))] };
    const got = await collect(splice(byteSource(nested), [edit]));
    expect(got).toEqual(concat(len(1, len(1, len(2, new Uint8Array(size))), text(3, "x")), text(9, "tail")));
  },
);

test("insertions at one position: the inner message's comes first, equals keep their order", async () => {
  const { outer, inner, root } = await openNested(nested);
  const at = (within: Message, start: number, name: string): Edit => ({
    within,
    start,
    end: start,
    bytes: [text(7, name)],
  });
  const edits = [
    at(outer, inner.end, "b"),
    at(outer, inner.end, "c"),
    at(inner, inner.end, "a"),
    at(root, root.end, "e"),
    at(root, 0, "0"),
  ];
  const got = await collect(splice(byteSource(nested), edits));
  expect(got).toEqual(
    concat(
      text(7, "0"),
      len(1, len(1, text(2, "abc"), text(7, "a")), text(7, "b"), text(7, "c"), text(3, "x")),
      text(9, "tail"),
      text(7, "e"),
    ),
  );
});

test("no edit, no change; an overlong length survives where nothing grows", async () => {
  const bytes = concat(Uint8Array.of(10, 0x85, 0x80, 0), text(2, "abc"), v(3, 1));
  expect(await collect(splice(byteSource(bytes), []))).toEqual(bytes);
  const { outer } = await openNested(bytes);
  const same: Edit = { within: outer, start: outer.start, end: outer.end, bytes: [text(2, "xyz")] };
  expect(await collect(splice(byteSource(bytes), [same]))).toEqual(
    concat(Uint8Array.of(10, 0x85, 0x80, 0), text(2, "xyz"), v(3, 1)),
  );
});

test("big ranges are copied a mebibyte at a time", async () => {
  const bytes = concat(len(1, new Uint8Array(3_000_000)), v(2, 1));
  const sizes: number[] = [];
  for (const segment of splice(byteSource(bytes), [])) {
    if (segment instanceof Uint8Array) sizes.push(segment.length);
    else for await (const chunk of segment.chunks()) sizes.push(chunk.length);
  }
  expect(Math.max(...sizes)).toBe(1 << 20);
});
