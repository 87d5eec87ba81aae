// The dumped file in docs/format.md is what the library writes.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { safetensorsHead } from "../src/container/safetensors.ts";
import { compress } from "../src/index.ts";
import { memorySink } from "./memory-sink.ts";

/** Offset, sixteen bytes, their characters. */
function dump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((b) => b.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : ".")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join("\n");
}

test("docs/format.md shows the bytes of its example", async () => {
  const weights = Float32Array.of(-1, -1, 0, 0, 1, 1, 1, -1);
  const head = safetensorsHead([{ name: "w", dtype: "F32", shape: [2, 4], byteLength: 32 }], {});
  const model = new Uint8Array(head.length + 32);
  model.set(head);
  model.set(new Uint8Array(weights.buffer), head.length);
  const { sink, bytes } = memorySink();
  await compress(model, sink, { levels: 3, granularity: "tensor", include: /w/ });
  const doc = readFileSync(new URL("../docs/format.md", import.meta.url), "utf8");
  expect(doc).toContain(dump(bytes()));
});
