// Snippets: the code blocks of a Markdown file, and a folder with sample models in which to run them.
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { f32, graph, model, node, TYPE, value, weights } from "./formats/onnx-fixture.ts";

/** Runs a program; what it prints. Throws with its messages, shortened where minified code is among them. */
async function run(program: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    return (await promisify(execFile)(program, args, { cwd })).stdout;
  } catch (error) {
    const { stderr = "", stdout = "", code } = error as { stderr?: string; stdout?: string; code?: number };
    const lines = `${stdout}\n${stderr}`.split("\n").filter((line) => line.trim() !== "");
    throw new Error(`exit code ${code}\n${lines.map((line) => line.slice(0, 200)).join("\n")}`);
  }
}

const LANGUAGES: Readonly<Record<string, Snippet["language"]>> = {
  ts: "ts",
  typescript: "ts",
  js: "js",
  javascript: "js",
  mjs: "js",
  sh: "sh",
  bash: "sh",
  shell: "sh",
};

export interface Snippet {
  readonly language: "ts" | "js" | "sh";
  readonly code: string;
  /** Line of the opening fence, from 1. */
  readonly line: number;
  /** The words behind `skip` in the opening fence: why the block is not run. */
  readonly skip?: string;
}

/** All blocks of code that can be run: ```ts, ```js, ```sh. Others (text, JSON, Python …) are not of interest here. */
export function snippetsOf(markdown: string): Snippet[] {
  const found: Snippet[] = [];
  for (const match of markdown.matchAll(/^(`{3,})([^\n`]*)\n([\s\S]*?)^\1[ \t]*$/gm)) {
    const [, , info = "", code = ""] = match;
    const [word = "", ...rest] = info.trim().split(/\s+/);
    const language = LANGUAGES[word];
    if (!language) continue;
    const line = markdown.slice(0, match.index).split("\n").length;
    const [first = "", ...reason] = rest;
    const skip = /^skip:?$/.test(first) ? reason.join(" ") : undefined;
    found.push({ language, code, line, ...(skip === undefined ? {} : { skip }) });
  }
  return found;
}

/** A shell block is run where it begins with `npx wlq` or `node`. */
export function isCommand(snippet: Snippet): boolean {
  const lines = snippet.code.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
  return /^(npx wlq|node)\b/.test(lines[0] ?? "");
}

/**
 * Runs a snippet in `folder`. Code goes to `build/snippets/<name>.mjs` first, since inside this package the name `wlq`
 * means the built package itself; `npx wlq` means the built command line. Gives what it prints; throws where it fails.
 */
export async function runSnippet(snippet: Snippet, name: string, folder: string): Promise<string> {
  if (snippet.language === "sh") {
    const cli = resolve("dist/cli.js");
    const npx = `npx() { [ "$1" = wlq ] || { echo "npx $1 is not run here" >&2; return 1; }; shift; node '${cli}' "$@"; }`;
    return run("bash", ["-euo", "pipefail", "-c", `${npx}\n${snippet.code}`], folder);
  }
  const path = resolve("build/snippets", `${name}.mjs`);
  const { code } = await transform(snippet.code, { loader: snippet.language, format: "esm", target: "es2022" });
  mkdirSync("build/snippets", { recursive: true });
  writeFileSync(path, code);
  return run(process.execPath, [path], folder);
}

/** What the compiler says of TypeScript snippets, by name; empty where all is well. */
export async function checkTypes(snippets: ReadonlyMap<string, Snippet>): Promise<string> {
  const folder = "build/snippets";
  mkdirSync(folder, { recursive: true });
  for (const [name, { code }] of snippets) writeFileSync(join(folder, `${name}.ts`), code);
  const compilerOptions = {
    strict: true,
    noEmit: true,
    target: "ES2022",
    module: "ESNext",
    moduleResolution: "bundler",
    moduleDetection: "force",
    lib: ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
    types: ["node"],
    skipLibCheck: true,
  };
  const config = join(folder, "tsconfig.json");
  writeFileSync(config, JSON.stringify({ compilerOptions, files: [...snippets.keys()].map((name) => `${name}.ts`) }));
  try {
    return await run(process.execPath, ["node_modules/typescript/bin/tsc", "-p", config], ".");
  } catch (error) {
    return (error as Error).message;
  }
}

/** A safetensors file: `embed.weight` 512x64, `layer.weight` 64x64, `layer.bias` 64, `head.weight` 64x128, all F32. */
function sampleSafetensors(): Uint8Array {
  const shapes = { "embed.weight": [512, 64], "layer.weight": [64, 64], "layer.bias": [64], "head.weight": [64, 128] };
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const data = new Uint8Array(
      weights(
        shape.reduce((a, b) => a * b),
        parts.length + 1,
      ).buffer,
    );
    header[name] = { dtype: "F32", shape, data_offsets: [at, at + data.length] };
    at += data.length;
    parts.push(data);
  }
  const text = JSON.stringify(header);
  const json = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const size = new Uint8Array(8);
  new DataView(size.buffer).setBigUint64(0, BigInt(json.length), true);
  return Buffer.concat([size, json, ...parts]);
}

/** An ONNX model: `x` [1, 64] times `w1` 64x256, ReLU, times `w2` 256x64, plus `b` gives `y` [1, 64]. */
function sampleOnnx(): Uint8Array {
  return model({
    graph: graph({
      nodes: [
        node("MatMul", ["x", "w1"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "w2"], ["s"]),
        node("Add", ["s", "b"], ["y"]),
      ],
      initializers: [
        f32("w1", [64, 256], weights(64 * 256, 1)),
        f32("w2", [256, 64], weights(256 * 64, 2)),
        f32("b", [64], weights(64, 3)),
      ],
      inputs: [value("x", TYPE.F32, [1, 64])],
      outputs: [value("y", TYPE.F32, [1, 64])],
    }),
  });
}

/** Puts the sample files there that documents may count on: `model.safetensors` and `model.onnx`. */
export function writeSamples(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "model.safetensors"), sampleSafetensors());
  writeFileSync(join(folder, "model.onnx"), sampleOnnx());
}
