// What any use of a hostile file must come to: a WlqError with a code, soon, and nothing written, or a result.
import { expect } from "vitest";
import { open } from "../../src/decoder.ts";
import { onnx } from "../../src/formats/onnx.ts";
import {
  type CompressOptions,
  compress,
  decompress,
  type Format,
  inspect,
  type Source,
  verify,
  WlqError,
} from "../../src/index.ts";
import { checkSafetensors } from "../formats/safetensors-rules.ts";
import { type MemorySink, memorySink } from "../memory-sink.ts";

export const FORMATS: readonly Format[] = [onnx()];

/** Options that quantize even the smallest matrix. */
export const SMALL: CompressOptions = { levels: 5, granularity: "tensor", minSize: 1, formats: FORMATS };

/** Codes for bytes that are no valid file. */
export const REFUSED: RegExp = /^(truncated|malformed|unsupported|limit)$/;

/** A container of a model. */
export async function containerOf(model: Source, options: CompressOptions = SMALL): Promise<Uint8Array<ArrayBuffer>> {
  const out = memorySink();
  await compress(model, out.sink, { formats: FORMATS, ...options });
  return out.bytes();
}

/** The code of the WlqError that must come, or "works"; anything else, and anything slow, fails the test. */
export async function outcome(run: () => Promise<unknown>): Promise<string> {
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

/** Outcome of one that writes: if it fails, the sink must know. */
export async function written(run: (out: MemorySink) => Promise<unknown>): Promise<string> {
  const out = memorySink();
  const code = await outcome(() => run(out));
  expect(out.state()).toBe(code === "works" ? "closed" : "aborted");
  return code;
}

/** Everything that reads a model. Where a container comes out, it must be valid and hold what the bytes say. */
export async function useModel(bytes: Uint8Array, options: CompressOptions = SMALL): Promise<string> {
  const out = memorySink();
  const code = await outcome(() => compress(bytes, out.sink, options));
  expect(out.state()).toBe(code === "works" ? "closed" : "aborted");
  if (code === "works") {
    checkSafetensors(out.bytes());
    expect(await verify(out.bytes(), bytes, { formats: FORMATS })).toMatchObject({ ok: true, problems: [] });
  }
  for (const to of ["dense", "onnx"] as const) {
    const other = await written(({ sink }) => compress(bytes, sink, { ...options, to }));
    // dense and onnx may be refused where a container is possible, not the other way round
    if (other === "works") expect(code).toBe("works");
  }
  await outcome(() => inspect(bytes, { formats: FORMATS }));
  return code;
}

/** Reads all tensors of a container. */
export async function readAll(bytes: Source): Promise<void> {
  for await (const { data } of (await open(bytes)).tensors()) expect(data.length).toBeGreaterThanOrEqual(0);
}

/** Everything that reads a container; all must agree that it is damaged, or that it is not. */
export async function useContainer(bytes: Uint8Array): Promise<string> {
  const read = await outcome(() => readAll(bytes));
  const restored = await written(({ sink }) => decompress(bytes, sink, { formats: FORMATS }));
  const verified = await outcome(async () => {
    const { ok, problems } = await verify(bytes);
    if (!ok) throw new WlqError("checksum", problems.join());
  });
  expect([restored === "works", verified === "works"]).toEqual([read === "works", read === "works"]);
  await outcome(() => inspect(bytes));
  return read;
}
