// Streams: the same bytes as with random access however the input is cut, at the reader's pace, and an end to every failure.
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { onnx } from "../src/formats/onnx.ts";
import {
  type CompressOptions,
  type CompressStreamOptions,
  compress,
  compressStream,
  decompress,
  decompressStream,
  type StreamPair,
  WlqError,
} from "../src/index.ts";
import { openParts, seal } from "./container-fixture.ts";
import { bytesOf, type FixtureTensor, safetensorsFile } from "./formats/safetensors-fixture.ts";
import { Random } from "./kernels/random.ts";
import { memorySink } from "./memory-sink.ts";
import { bf16Bits, f16Bits } from "./reference/half.ts";

const random = new Random(4711);

function weight(name: string, dtype: string, shape: number[]): FixtureTensor {
  const values = random.normals(shape.reduce((a, b) => a * b, 1)).map((x) => x * 0.05);
  const bits = dtype === "F16" ? f16Bits : bf16Bits;
  return { name, dtype, shape, bytes: dtype === "F32" ? bytesOf(values) : bytesOf(Uint16Array.from(values, bits)) };
}
const other = (name: string, dtype: string, shape: number[], bytes: number): FixtureTensor => ({
  name,
  dtype,
  shape,
  bytes: random.bytes(bytes),
});

/** Quantized tensors among others, of sizes that a container and a restored file put in another order. */
const mixed = (): Uint8Array<ArrayBuffer> =>
  safetensorsFile(
    [
      other("first", "U8", [3], 3),
      weight("odd.weight", "F16", [33, 67]),
      other("none", "F32", [0], 0),
      other("four", "F32", [1], 4),
      weight("a.weight", "F32", [32, 80]),
      weight("bias", "BF16", [5]),
      weight("b.weight", "BF16", [48, 64]),
      other("ids", "I64", [4], 32),
      other("last", "U8", [7], 7),
    ],
    { format: "pt", note: "kept" },
  );
const small = (): Uint8Array<ArrayBuffer> => safetensorsFile([other("x", "U8", [3], 3), weight("w", "F16", [3, 5])]);
const all: CompressOptions = { minSize: 1, levels: 5 };

function inPieces(bytes: Uint8Array, sizes: (at: number) => number): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at === bytes.length) return controller.close();
      const end = Math.min(bytes.length, at + sizes(at));
      controller.enqueue(bytes.slice(at, end));
      at = end;
    },
  });
}

async function passed(input: ReadableStream<Uint8Array>, pair: StreamPair): Promise<Uint8Array> {
  return new Uint8Array(await new Response(input.pipeThrough(pair)).arrayBuffer());
}

async function compressed(
  file: Uint8Array<ArrayBuffer>,
  options: CompressOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const out = memorySink();
  await compress(file, out.sink, { ...options, entropy: "none" });
  return out.bytes();
}

async function decompressed(file: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const out = memorySink();
  await decompress(file, out.sink);
  return out.bytes();
}

/** How both ends of a pair that is fed `bytes` end. */
async function failure(bytes: Uint8Array, pair: StreamPair, size = 1000): Promise<unknown> {
  const out = memorySink();
  const errors = await Promise.all([
    pair.readable.pipeTo(out.sink).catch((error: unknown) => error),
    inPieces(bytes, () => size)
      .pipeTo(pair.writable)
      .catch((error: unknown) => error),
  ]);
  expect(errors[1]).toBe(errors[0]);
  expect(out.state()).toBe(errors[0] === undefined ? "closed" : "aborted");
  return errors[0];
}

describe("the same bytes as with random access", () => {
  const OPTIONS: CompressStreamOptions[] = [
    {},
    { levels: 16, scale: "none" },
    { granularity: "channel", levels: 3 },
    { scale: "group", groupSize: 24, levels: 256 },
    { to: "dense" },
    { exclude: /a\.weight/ },
    { exclude: /./ },
  ];
  test.each(OPTIONS)("%o", async (options) => {
    const file = mixed();
    const expected = await compressed(file, options);
    for (const size of [61, file.length]) {
      const pair = compressStream(options);
      expect(
        Buffer.compare(
          await passed(
            inPieces(file, () => size),
            pair,
          ),
          expected,
        ),
      ).toBe(0);
      const { seconds: _, ...report } = await pair.report;
      const { seconds: __, ...same } = await compress(file, memorySink().sink, { ...options, entropy: "none" });
      expect(report).toEqual(same);
      if (options.to === "dense") continue;
      const restored = await passed(
        inPieces(expected, () => size),
        decompressStream(),
      );
      expect(Buffer.compare(restored, await decompressed(expected))).toBe(0);
    }
  });

  test("cut at every offset", async () => {
    const file = small();
    const container = await compressed(file, all);
    const restored = await decompressed(container);
    const cut = (bytes: Uint8Array, offset: number) => inPieces(bytes, (at) => (at < offset ? offset : bytes.length));
    for (let offset = 0; offset <= file.length; offset++) {
      expect(
        Buffer.compare(await passed(cut(file, offset), compressStream(all as CompressStreamOptions)), container),
      ).toBe(0);
    }
    for (let offset = 0; offset <= container.length; offset++) {
      expect(Buffer.compare(await passed(cut(container, offset), decompressStream()), restored)).toBe(0);
    }
  });

  test("a tensor of many stretches, and chunks that are other views of bytes", async () => {
    // finite, since bit 14 is clear
    const bytes = random.bytes(2 * 1100 * 2048).map((byte, i) => (i % 2 ? byte & 0xbf : byte));
    const file = safetensorsFile([{ name: "w", dtype: "F16", shape: [1100, 2048], bytes }]);
    const options = { levels: 16, scale: "none" } as const;
    const expected = await compressed(file, options);
    const views = inPieces(file, () => 300_001).pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(bytes, controller) {
          const words = bytes.length % 2 === 0 ? new DataView(bytes.buffer as ArrayBuffer) : bytes.buffer;
          controller.enqueue(words as unknown as Uint8Array);
        },
      }),
    );
    expect(Buffer.compare(await passed(views, compressStream(options)), expected)).toBe(0);
    const restored = await passed(
      inPieces(expected, () => 77_777),
      decompressStream(),
    );
    expect(Buffer.compare(restored, await decompressed(expected))).toBe(0);
  });

  test("containers of another writer, with their tensors in any order", async () => {
    const parts = openParts(await compressed(mixed(), { levels: 16, minSize: 1 }));
    const even = parts.tensors.filter((t) => t.bytes.length % 8 === 0).reverse();
    const container = seal({ ...parts, tensors: [...even, ...parts.tensors.filter((t) => t.bytes.length % 8 !== 0)] });
    const restored = await passed(
      inPieces(container, () => 100),
      decompressStream(),
    );
    expect(Buffer.compare(restored, await decompressed(container))).toBe(0);
  });
});

describe("at the reader's pace", () => {
  const TENSOR = 1 << 18;
  const CHUNK = 1 << 14;
  const names = Array.from({ length: 16 }, (_, i) => `t${String(i).padStart(2, "0")}`);

  /** How much is taken in while the reader has taken `reads` chunks and then rests. */
  async function taken(file: Uint8Array, pair: StreamPair, reads: number): Promise<{ given: number; got: number }> {
    let given = 0;
    let got = 0;
    const input = inPieces(file, () => CHUNK).pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          given += chunk.length;
          controller.enqueue(chunk);
        },
      }),
    );
    const reader = input.pipeThrough(pair).getReader();
    for (let i = 0; i < reads; i++) got += (await reader.read()).value?.length ?? 0;
    await sleep(50);
    const rest = given;
    await sleep(100);
    expect(given).toBe(rest);
    await reader.cancel();
    return { given, got };
  }

  test("compressing takes in one tensor beyond what came out", async () => {
    const file = safetensorsFile(names.map((name) => weight(name, "F32", [256, TENSOR / 1024])));
    // nobody reads: nothing is taken in but what the pipes hold
    expect((await taken(file, compressStream(), 0)).given).toBeLessThanOrEqual(4 * CHUNK);
    for (const reads of [1, 2, 9, 20]) {
      const { given, got } = await taken(file, compressStream(), reads);
      // 6 bits a weight of 32, and a scale
      expect(given).toBeLessThan((got / 6) * 32 + TENSOR + 5 * CHUNK);
    }
  });

  test("decompressing takes in no more than what is decoded at a time", async () => {
    const file = safetensorsFile(names.map((name) => weight(name, "F32", [256, TENSOR / 1024])));
    const container = await compressed(file);
    for (const reads of [0, 1, 2, 9]) {
      const { given } = await taken(container, decompressStream(), reads);
      expect(given).toBeLessThanOrEqual(5 * CHUNK + (reads * TENSOR) / 4);
    }
  });
});

describe("every failure ends both sides", () => {
  const OWN = { code: expect.any(String), name: "WlqError" };

  test("every prefix, and one byte more", async () => {
    const file = small();
    const container = await compressed(file, all);
    for (const [bytes, pair] of [
      [file, () => compressStream(all as CompressStreamOptions)],
      [container, decompressStream],
    ] as const) {
      for (let length = 0; length < bytes.length; length++) {
        expect(await failure(bytes.subarray(0, length), pair())).toMatchObject({ ...OWN, code: "truncated" });
      }
      expect(await failure(bytes, pair())).toBeUndefined();
      const more = new Uint8Array(bytes.length + 1);
      more.set(bytes);
      expect(await failure(more, pair())).toMatchObject({ ...OWN, code: "malformed" });
      expect(await failure(more, pair(), bytes.length)).toMatchObject({ ...OWN, code: "malformed" });
    }
  });

  test("a changed byte is named by its tensor", async () => {
    const container = await compressed(mixed());
    const { tensors } = openParts(container);
    const start = 8 + Number(new DataView(container.buffer).getBigUint64(0, true));
    let at = start;
    for (const { name, bytes } of tensors) {
      if (bytes.length > 0) {
        const changed = container.slice();
        changed[at + bytes.length - 1] = (changed[at + bytes.length - 1] as number) ^ 1;
        expect(await failure(changed, decompressStream())).toMatchObject({ code: "checksum", tensor: name });
      }
      at += bytes.length;
    }
    const changed = container.slice();
    changed[start - 1] = 9;
    expect(await failure(changed, decompressStream())).toMatchObject({ code: "checksum", tensor: "header" });
  });

  test("what a stream cannot do is said, before anything is written", async () => {
    const model = new Uint8Array([8, 7, 18, 2, 0x70, 0x79, 26, 0, 34, 0]);
    expect(await failure(model, compressStream())).toMatchObject({ code: "unsupported" });
    expect(await failure(model, decompressStream())).toMatchObject({ code: "unsupported" });
    expect(await failure(small(), decompressStream())).toMatchObject({ code: "unsupported" });
    const container = await compressed(small(), all);
    expect(await failure(container, compressStream())).toMatchObject({ code: "already-compressed" });
    const parts = openParts(container);
    const graph = seal({ ...parts, metadata: { ...parts.metadata, "wlq.format": "onnx" } });
    expect(await failure(graph, decompressStream())).toMatchObject({
      code: "unsupported",
      message: expect.stringContaining('"onnx"'),
    });
    expect(await failure(mixed(), compressStream({ maxBuffer: 10_240 + 24 }))).toBeUndefined();
    expect(await failure(mixed(), compressStream({ maxBuffer: 10_240 + 23 }))).toMatchObject({ code: "limit" });
    for (const options of [{ formats: [onnx()] }, { nonFinite: "keep" }, { to: "onnx" }, { calibration: undefined }]) {
      expect(() => compressStream(options as CompressStreamOptions)).toThrow(RangeError);
    }
    expect(await failure(mixed(), compressStream({ method: "ecsq", targetBits: 3 }))).toMatchObject({
      code: "unsupported",
    });
    expect(await failure(mixed(), compressStream({ levels: 1 }))).toBeInstanceOf(RangeError);
  });

  test("a NaN among the weights, named or not", async () => {
    const w = weight("w", "F32", [64, 64]);
    new DataView(w.bytes.buffer).setFloat32(4 * 77, Number.NaN, true);
    const file = safetensorsFile([w]);
    for (const options of [{}, { include: /w/ }, { to: "dense" }] as const) {
      const pair = compressStream(options);
      const error = await failure(file, pair);
      expect(error).toMatchObject({ code: "non-finite", tensor: "w" });
      expect((error as Error).message).toMatch(/weight 77 is NaN.*exclude/);
      await expect(pair.report).rejects.toBe(error);
    }
    expect(await failure(file, compressStream({ exclude: /w/ }))).toBeUndefined();
  });

  test("chunks that are no bytes", async () => {
    const pair = compressStream();
    const writer = pair.writable.getWriter();
    const read = pair.readable.getReader().read();
    await expect(writer.write("text" as unknown as Uint8Array)).rejects.toThrow(TypeError);
    await expect(read).rejects.toThrow("a string, not bytes");
  });

  test.each(["now", "later"])("the caller's signal, %s", async (when) => {
    for (const make of [compressStream, decompressStream]) {
      const abort = new AbortController();
      if (when === "now") abort.abort(new Error("enough"));
      const pair = make({ signal: abort.signal });
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const writer = writable.getWriter();
      const piped = readable.pipeTo(pair.writable).catch((error: unknown) => error);
      const read = pair.readable.getReader().read();
      read.catch(() => {});
      if (when === "later") {
        await writer.write(mixed().subarray(0, 500));
        abort.abort(new Error("enough"));
      }
      await expect(read).rejects.toMatchObject({ code: "aborted", message: expect.stringContaining("enough") });
      expect(await piped).toMatchObject({ code: "aborted" });
      await expect(writer.closed).rejects.toMatchObject({ code: "aborted" });
    }
  });

  test("a source that breaks off, while a read waits and while nobody reads", async () => {
    for (const make of [compressStream, decompressStream]) {
      for (const waits of [true, false]) {
        const pair = make();
        const writer = pair.writable.getWriter();
        const reason = new Error("gone");
        const read = waits ? pair.readable.getReader().read() : undefined;
        read?.catch(() => {});
        writer.write(mixed().subarray(0, 100)).catch(() => {});
        writer.write(mixed().subarray(100, 200)).catch(() => {});
        await sleep(1);
        await writer.abort(reason);
        await expect(read ?? pair.readable.getReader().read()).rejects.toBe(reason);
      }
    }
  });

  test("a reader that stops, and a sink that fails, stop the source", async () => {
    const container = await compressed(mixed());
    for (const [bytes, make] of [
      [mixed(), compressStream],
      [container, decompressStream],
    ] as const) {
      for (const reads of [0, 1, 3]) {
        let stopped: unknown;
        const input = new ReadableStream<Uint8Array>({
          start: (controller) => controller.enqueue(bytes.subarray(0, bytes.length - 9)),
          cancel: (reason) => {
            stopped = reason;
          },
        });
        const reason = new Error("full");
        if (reads === 0) {
          const reader = input.pipeThrough(make()).getReader();
          await reader.read();
          await reader.cancel(reason);
        } else {
          let left = reads;
          const sink = new WritableStream<Uint8Array>({
            write() {
              if (--left === 0) throw reason;
            },
          });
          await expect(input.pipeThrough(make()).pipeTo(sink)).rejects.toBe(reason);
        }
        await sleep(1);
        expect(stopped).toBe(reason);
      }
    }
    const pair = compressStream();
    const reader = pair.readable.getReader();
    await reader.cancel();
    await expect(pair.report).rejects.toBeInstanceOf(WlqError);
  });
});

test("closing the writable side waits for the end, and fails with the stream", async () => {
  const file = small();
  for (const [bytes, code] of [
    [file, undefined],
    [file.subarray(0, -1), "truncated"],
  ] as const) {
    const pair = compressStream(all as CompressStreamOptions);
    const writer = pair.writable.getWriter();
    const read = new Response(pair.readable).arrayBuffer().catch((error: unknown) => error);
    writer.write(bytes);
    const closed = await writer.close().catch((error: unknown) => error);
    expect((closed as WlqError | undefined)?.code).toBe(code);
    expect(await read).toEqual(code ? closed : expect.any(ArrayBuffer));
  }
});
