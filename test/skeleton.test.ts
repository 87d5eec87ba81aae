// Skeletons: a model's graph is stored deflated in a container, and comes back byte for byte; hostile ones are refused.
import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import fc from "fast-check";
import { zlibSync } from "fflate";
import { describe, expect, test, vi } from "vitest";
import { MODEL_PATH } from "../examples/ocr/model.ts";
import { deflated, inflated, inflatedBytes } from "../src/container/skeleton.ts";
import { onnx } from "../src/formats/onnx.ts";
import { type CompressOptions, compress, decompress, inspect, verify } from "../src/index.ts";
import type { Segment } from "../src/io/segment.ts";
import { openParts, seal } from "./container-fixture.ts";
import { memorySink } from "./memory-sink.ts";

const graph = new TextEncoder().encode(Array.from({ length: 400 }, (_, i) => `conv2d_${i}.w_0 Conv strides`).join());

async function stored(
  ...content: Uint8Array<ArrayBuffer>[]
): Promise<{ coding: string | undefined; bytes: Uint8Array }> {
  const { coding, content: segments } = await deflated(content);
  return { coding, bytes: new Uint8Array(Buffer.concat(segments as Uint8Array[])) };
}

describe("what is stored", () => {
  test("is a zlib stream that any reader inflates, a fraction of a graph's names", async () => {
    const { coding, bytes } = await stored(graph.slice(0, 100), graph.slice(100));
    expect(coding).toBe(`deflate/${graph.length}`);
    expect(bytes.length).toBeLessThan(graph.length / 8);
    expect(inflateSync(bytes).equals(graph)).toBe(true);
  });

  test("comes back as it was, whatever it was, and is never longer", async () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.array(fc.constantFrom(0x78, 0x9c, 0), { maxLength: 300 }).map((list) => Uint8Array.from(list)),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (content) => {
        const { coding, bytes: found } = await stored(content.slice());
        expect(found.length).toBeLessThanOrEqual(content.length);
        const size = inflatedBytes(coding);
        const back = size === undefined ? found : await inflated(found, size);
        expect(Buffer.from(back).equals(content)).toBe(true);
      }),
    );
  });

  test("is left as it is above 4 MiB, and not read before it is written", async () => {
    const chunks = vi.fn();
    const content: Segment[] = [{ byteLength: 4_194_305, chunks }];
    expect(await deflated(content)).toEqual({ coding: undefined, content });
    expect(chunks).not.toHaveBeenCalled();
  });
});

describe("a stream from a stranger", () => {
  const good = zlibSync(graph, { level: 9 });
  const malformed = { code: "malformed" };

  test("that is cut anywhere is refused", async () => {
    for (let size = 0; size < good.length; size++) {
      await expect(inflated(good.slice(0, size), graph.length), `${size}`).rejects.toMatchObject(malformed);
    }
  });

  test("of which a byte is flipped is refused, or is what it was", async () => {
    for (let at = 0; at < good.length; at++) {
      const bad = good.slice();
      (bad[at] as number) ^= 0x55;
      await inflated(bad, graph.length).then(
        // the checksum behind the stream is of what came out
        (bytes) => expect(Buffer.from(bytes).equals(graph), `byte ${at}`).toBe(true),
        (error: unknown) => expect(error, `byte ${at}`).toMatchObject(malformed),
      );
    }
  });

  test("that holds less or more than the header says is refused with both sizes", async () => {
    const size = graph.length;
    await expect(inflated(good, size + 1)).rejects.toThrow(`inflates to ${size} bytes, the header says ${size + 1}`);
    await expect(inflated(good, size - 1)).rejects.toThrow(
      `inflates to ${size} or more bytes, the header says ${size - 1}`,
    );
    const bomb = zlibSync(new Uint8Array(50_000_000), { level: 9 });
    await expect(inflated(bomb, 1000)).rejects.toMatchObject(malformed);
  });

  test.each([
    ["deflate/67108865", "limit"],
    ["deflate/1e99", "unsupported"],
    ["deflate/-", "unsupported"],
    ["deflate/-5", "unsupported"],
    ["deflate/", "unsupported"],
    ["brotli/5", "unsupported"],
  ])("%s is refused: %s", (coding, code) => {
    expect(() => inflatedBytes(coding)).toThrow(expect.objectContaining({ code }));
  });
});

describe("a real model, PP-OCR recognition", () => {
  const model = new Uint8Array(readFileSync(MODEL_PATH));
  const formats = [onnx()];
  const compressed = async (options: CompressOptions): Promise<Uint8Array<ArrayBuffer>> => {
    const { sink, bytes } = memorySink();
    await compress(model, sink, { formats, levels: 16, ...options });
    return bytes();
  };
  const restored = async (container: Uint8Array<ArrayBuffer>): Promise<Buffer> => {
    const { sink, bytes } = memorySink();
    await decompress(container, sink, { formats });
    return Buffer.from(bytes());
  };

  test("is 50 kB smaller for it, restored the same, verified, and nothing of it shows", async () => {
    const [plain, small] = [await compressed({ entropy: "none" }), await compressed({})];
    const sizeIn = (container: Uint8Array): number =>
      openParts(container).tensors.find(({ name }) => name === "__wlq__.model")?.bytes.length as number;
    expect(sizeIn(small)).toBeLessThan(sizeIn(plain) - 50_000);
    expect((await restored(small)).equals(await restored(plain))).toBe(true);
    expect(await verify(small, model, { formats })).toMatchObject({ ok: true, problems: [] });
    expect((await inspect(small)).metadata).toEqual({});
  });

  test("with another size in the header, or none, is refused", async () => {
    const small = await compressed({});
    for (const coding of ["deflate/5", "deflate/9999999999", "zip/5", undefined]) {
      const parts = openParts(small);
      const { "wlq.model": _, ...rest } = parts.metadata;
      const lie = seal({ ...parts, metadata: { ...rest, ...(coding && { "wlq.model": coding }) } });
      await expect(restored(lie), coding).rejects.toMatchObject({ name: "WlqError" });
    }
  });
});
