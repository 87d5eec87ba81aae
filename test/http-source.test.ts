// httpSource against a real server: what it fetches, and what it says of servers and files that will not do.
import { Buffer } from "node:buffer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { open } from "../src/decoder.ts";
import { compress, httpSource, tensorStream } from "../src/index.ts";
import { safetensorsFile } from "./formats/safetensors-fixture.ts";
import { memorySink } from "./memory-sink.ts";
import { type RangeServer, rangeServer, type Served } from "./range-server.ts";

const MANNERS = ["no-ranges", "no-size", "changing", "short", "busy", "down"] as const;

const weights = Float32Array.from({ length: 300 * 1000 }, (_, i) => Math.fround(((i * 7919) % 4093) / 4093 - 0.5));
const MODEL = safetensorsFile([
  { name: "first", dtype: "F32", shape: [300, 1000], bytes: new Uint8Array(weights.buffer) },
  { name: "second", dtype: "F32", shape: [300, 1000], bytes: new Uint8Array(weights.slice().reverse().buffer) },
  { name: "half", dtype: "F16", shape: [64, 64], bytes: new Uint8Array(new Uint16Array(4096).map((_, i) => i).buffer) },
  { name: "bias", dtype: "F32", shape: [5], bytes: new Uint8Array(new Float32Array([1, 2, 3, 4, 5]).buffer) },
]);

let container: Uint8Array<ArrayBuffer>;
let coded: Uint8Array<ArrayBuffer>;
let server: RangeServer;

/** `toEqual` walks arrays element by element, which takes seconds. */
const same = (a: ArrayBufferView, b: ArrayBufferView): boolean => bufferOf(a).equals(bufferOf(b));
const bufferOf = (a: ArrayBufferView): Buffer => Buffer.from(a.buffer, a.byteOffset, a.byteLength);

async function compressed(source: Parameters<typeof compress>[0]): Promise<Uint8Array<ArrayBuffer>> {
  const { sink, bytes } = memorySink();
  await compress(source, sink, { levels: 16, entropy: "none" });
  return bytes();
}

beforeAll(async () => {
  container = await compressed(MODEL);
  const { sink, bytes } = memorySink();
  // 17 values take 5 bits packed and some 4.1 coded
  await compress(MODEL, sink, { levels: 17 });
  coded = bytes();
  const files: Record<string, Served> = {
    "/model": { bytes: MODEL },
    "/container": { bytes: container },
    "/coded": { bytes: coded },
  };
  for (const manner of MANNERS) files[`/${manner}`] = { bytes: MODEL, manner };
  server = await rangeServer(files);
});
afterAll(() => server.close());

test("a model behind a URL is compressed to the same bytes", async () => {
  expect(same(await compressed(await httpSource(`${server.url}/model`)), container)).toBe(true);
  expect(same(await compressed(await httpSource(new URL("/model", server.url))), container)).toBe(true);
});

// 64 KiB are read for the header, whose size is not known before
test("one tensor costs little more than its bytes", async () => {
  const before = server.sent.bytes;
  const model = await open(await httpSource(`${server.url}/container`));
  const { data } = await model.tensor("second");
  expect(same(data, (await (await open(container)).tensor("second")).data)).toBe(true);
  expect(server.sent.bytes - before).toBeLessThan(model.info("second").byteLength + 70_000);
});

test("an entropy coder's tables are not fetched again with the blocks behind them", async () => {
  const model = await open(await httpSource(`${server.url}/coded`));
  const want = await (await open(coded)).tensor("second");
  await model.tensor("bias");
  const { bytes, requests } = server.sent;
  const { data, byteLength } = await model.tensor("second");
  expect(same(data, want.data)).toBe(true);
  expect(byteLength).toBeLessThan((300_000 * 4.5) / 8);
  // codebook, scales, the tables' tile and the rest: every byte once
  expect(server.sent.bytes - bytes).toBe(byteLength);
  expect(server.sent.requests - requests).toBe(4);
});

test("a server that is busy now and then is asked again", async () => {
  expect(same(await compressed(await httpSource(`${server.url}/busy`)), container)).toBe(true);
});

test.each([
  ["/no-ranges", "unsupported", "does not answer range requests"],
  ["/no-size", "unsupported", "Content-Range"],
  ["/none", "not-found", "404"],
  ["/down", "io", "503"],
])("%s is refused with %s when it is opened", async (path, code, message) => {
  const error = await httpSource(server.url + path).catch((e: unknown) => e);
  expect(error).toMatchObject({ name: "WlqError", code, message: expect.stringContaining(message) });
});

test.each([
  ["/changing", "io", "was changed while it was read"],
  ["/short", "truncated", "the source ends at"],
])("%s is refused with %s when it is read", async (path, code, message) => {
  const error = await compressed(await httpSource(server.url + path)).catch((e: unknown) => e);
  expect(error).toMatchObject({ name: "WlqError", code, message: expect.stringContaining(message) });
});

test("nobody there, or stopped by the caller", async () => {
  await expect(httpSource("http://127.0.0.1:9/model")).rejects.toMatchObject({ code: "io" });
  const signal = AbortSignal.abort();
  await expect(httpSource(`${server.url}/model`, { signal })).rejects.toMatchObject({ code: "aborted" });
});

test("a stream of one tensor has the decoder's values, whatever the tensor is", async () => {
  const decoder = await open(container);
  for (const as of ["float32", "dtype"] as const) {
    for (const name of decoder.names) {
      const { dtype, shape, byteLength, body } = await tensorStream(container, name, { as });
      const { data } = await decoder.tensor(name, { as });
      const bytes = new Uint8Array(await new Response(body).arrayBuffer());
      expect(same(bytes, data), `${name} as ${as}`).toBe(true);
      expect([dtype, shape, byteLength]).toEqual([
        as === "float32" && name === "half" ? "F32" : decoder.info(name).dtype,
        decoder.info(name).shape,
        bytes.length,
      ]);
    }
  }
});

test("a stream of a tensor of a model file has its bytes", async () => {
  const { dtype, shape, body } = await tensorStream(MODEL, "half");
  const bits = new Uint16Array(await new Response(body).arrayBuffer());
  expect([dtype, shape, bits]).toEqual(["F16", [64, 64], new Uint16Array(4096).map((_, i) => i)]);
  await expect(tensorStream(MODEL, "none")).rejects.toMatchObject({ code: "not-found" });
});

test("a stream of a tensor that is damaged or missing fails", async () => {
  const damaged = container.slice();
  const header = Number(new DataView(damaged.buffer).getBigUint64(0, true));
  damaged[8 + header + 100_000] = (damaged[8 + header + 100_000] as number) ^ 1;
  const { body } = await tensorStream(damaged, "first");
  await expect(new Response(body).arrayBuffer()).rejects.toMatchObject({ code: "checksum" });
  await expect(tensorStream(container, "none")).rejects.toMatchObject({ code: "not-found" });
});
