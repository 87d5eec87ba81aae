// The scripts of examples/node and examples/deno in Node, Bun and Deno, with no permission more than they name.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compress } from "../../src/index.ts";
import { run } from "../cli-process.ts";
import { safetensorsFile } from "../formats/safetensors-fixture.ts";
import { memorySink } from "../memory-sink.ts";
import { type RangeServer, rangeServer } from "../range-server.ts";
import { type CopiedExample, copyExample, lacks, tool } from "./copied-example.ts";

const weights = Float32Array.from({ length: 256 * 300 }, (_, i) => Math.fround(((i * 7919) % 4093) / 4093 - 0.5));
const MODEL = safetensorsFile([
  { name: "layer.weight", dtype: "F32", shape: [256, 300], bytes: new Uint8Array(weights.buffer) },
  { name: "layer.bias", dtype: "F32", shape: [256], bytes: new Uint8Array(new Float32Array(256).buffer) },
]);

const folder = mkdtempSync(join(tmpdir(), "wlq-scripts-"));
const model = join(folder, "model.safetensors");
let expected: Uint8Array;

beforeAll(async () => {
  writeFileSync(model, MODEL);
  const output = memorySink();
  await compress(MODEL, output.sink, { levels: 64, scale: "channel" });
  expected = output.bytes();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("examples/node", () => {
  let example: CopiedExample;
  beforeAll(() => {
    example = copyExample("node");
  });
  afterAll(() => example?.remove());

  const runtimes = { Node: process.execPath, Bun: tool("bun") };
  for (const [name, command] of Object.entries(runtimes)) {
    test.skipIf(lacks(command))(`in ${name}`, async () => {
      const output = join(folder, `${name}.wlq.safetensors`);
      const { code, stdout, stderr } = await run(command, ["shrink.mjs", model, output], { cwd: example.folder });
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toContain("layer.bias [256]: not a weight matrix");
      expect(stdout).toContain("layer.weight again: Float32Array [256, 300]");
      expect(readFileSync(output).equals(expected)).toBe(true);
    });
  }
});

describe.skipIf(lacks(tool("deno")))("examples/deno", () => {
  let example: CopiedExample;
  let server: RangeServer;
  beforeAll(async () => {
    example = copyExample("deno");
    server = await rangeServer({ "/model": { bytes: MODEL }, "/whole": { bytes: MODEL, manner: "no-ranges" } });
  });
  afterAll(async () => {
    await server?.close();
    example?.remove();
  });

  /** Runs the script with the permissions of its README; lists what is in the output's folder then. */
  async function shrink(input: string, permissions: (out: string) => string[]) {
    const out = mkdtempSync(join(folder, "out-"));
    const args = ["run", "--no-prompt", "--cached-only", ...permissions(out), "shrink.ts", input, join(out, "small")];
    const ran = await run(tool("deno"), args, {
      cwd: example.folder,
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    });
    return { ...ran, out, files: readdirSync(out) };
  }
  const onDisk = (out: string): string[] => [`--allow-read=${model},${out}`, `--allow-write=${out}`];
  const onServer = (out: string): string[] => [
    `--allow-net=${new URL(server.url).host}`,
    `--allow-read=${out}`,
    `--allow-write=${out}`,
  ];

  test("its types hold", async () => {
    const { code, stderr } = await run(tool("deno"), ["check", "shrink.ts"], { cwd: example.folder });
    expect(code, stderr).toBe(0);
  });

  test("shrinks a file", async () => {
    const { code, stderr, out, files } = await shrink(model, onDisk);
    expect([code, stderr, files]).toEqual([0, "", ["small"]]);
    expect(readFileSync(join(out, "small")).equals(expected)).toBe(true);
  });

  test("shrinks a file behind a URL", async () => {
    const { code, stderr, out, files } = await shrink(`${server.url}/model`, onServer);
    expect([code, stderr, files]).toEqual([0, "", ["small"]]);
    expect(readFileSync(join(out, "small")).equals(expected)).toBe(true);
  });

  test("leaves nothing where it fails", async () => {
    const whole = await shrink(`${server.url}/whole`, onServer);
    expect([whole.code, whole.files]).toEqual([3, []]);
    expect(whole.stderr).toContain("unsupported: ");
    expect(whole.stderr).toContain("download the file first");
    const broken = join(folder, "broken");
    writeFileSync(broken, MODEL.subarray(0, 5000));
    const cut = await shrink(broken, (out) => [`--allow-read=${broken},${out}`, `--allow-write=${out}`]);
    expect([cut.code, cut.files]).toEqual([3, []]);
    expect(cut.stderr).toContain("truncated: ");
  });

  test("needs each of its permissions, and no other", async () => {
    const ways: [string, (out: string) => string[]][] = [
      [model, onDisk],
      [`${server.url}/model`, onServer],
    ];
    for (const [input, permissions] of ways) {
      for (let i = 0; i < permissions("").length; i++) {
        const { code, stderr, files } = await shrink(input, (out) => permissions(out).filter((_, n) => n !== i));
        // 1 where Deno itself stops, 3 where the library says what it was refused
        expect([[1, 3].includes(code ?? 0), files]).toEqual([true, []]);
        expect(stderr).toMatch(/NotCapable|--allow-/);
      }
    }
  });
});
