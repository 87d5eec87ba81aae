// Sources that lie, and tensors beyond memory.
import { expect, test } from "vitest";
import { open } from "../../src/decoder.ts";
import { compress, inspect, type RangeSource } from "../../src/index.ts";
import { fileOf } from "../formats/safetensors-fixture.ts";
import { RAW } from "./models.ts";
import { containerOf, outcome, SMALL, written } from "./use.ts";

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

const instant: [string, NonNullable<RangeSource["readSync"]>, RegExp][] = [
  ["gives less", (target) => target.length - 1, /truncated/],
  ["gives nothing", () => 0, /truncated/],
  ["gives no number", () => undefined as unknown as number, /truncated/],
  [
    "throws",
    () => {
      throw new Error("no longer open");
    },
    /io/,
  ],
];
test.each(instant)("who need not wait %s", async (_, readSync, code) => {
  const slice = (start: number, end: number): ArrayBuffer => RAW.buffer.slice(start, end);
  const source = { byteLength: RAW.length, slice, readSync };
  expect(await written(({ sink }) => compress(source, sink, SMALL))).toMatch(code);
});

const shared: [string, NonNullable<RangeSource["readInto"]>, RegExp][] = [
  ["gives less", async (room) => room.subarray(1), /truncated/],
  ["gives more", async (room) => new Uint8Array(room.length + 1), /truncated/],
  ["gives nothing", async () => undefined as unknown as Uint8Array<ArrayBuffer>, /truncated/],
  ["rejects", () => Promise.reject(new Error("connection lost")), /io/],
];
test.each(shared)("who reads into the same memory %s", async (_, readInto, code) => {
  const slice = (start: number, end: number): ArrayBuffer => RAW.buffer.slice(start, end);
  const source = { byteLength: RAW.length, slice, readInto };
  expect(await written(({ sink }) => compress(source, sink, SMALL))).toMatch(code);
});

test("all ways to read give the same file, with memory that is taken away, too", async () => {
  const slice = (start: number, end: number): ArrayBuffer => RAW.buffer.slice(start, end);
  const base = { byteLength: RAW.length, slice };
  const ways: RangeSource[] = [
    base,
    {
      ...base,
      readSync(target, start) {
        target.set(RAW.subarray(start, start + target.length));
        return target.length;
      },
    },
    {
      ...base,
      async readInto(room, start) {
        const { buffer, length } = room;
        const moved = new Uint8Array(structuredClone(buffer, { transfer: [buffer] }), 0, length);
        moved.set(RAW.subarray(start, start + length));
        return moved;
      },
    },
  ];
  const files = await Promise.all([RAW, ...ways].map((source) => containerOf(source)));
  for (const file of files) expect(file).toEqual(files[0]);
});

test("who need not wait lets others have their turn: a timer ends it", async () => {
  const bytes = fileOf(JSON.stringify({ w: { dtype: "F32", shape: [4096, 4096], data_offsets: [0, 2 ** 26] } }), [
    new Uint8Array(2 ** 26),
  ]);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const options = { include: /./, levels: 64, scale: "channel", entropy: "none" } as const;
  try {
    await compress(bytes, new WritableStream(), options);
    expect(turns).toBeGreaterThan(3);
    const stopped = compress(bytes, new WritableStream(), { ...options, signal: AbortSignal.timeout(1) });
    await expect(stopped).rejects.toMatchObject({ code: "aborted" });
  } finally {
    clearInterval(timer);
  }
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
