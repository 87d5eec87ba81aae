// Build: from the same sources the same bytes, wherever they lie; Wasm that imports nothing.
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

// what the build reads
const INPUTS = ["assembly", "scripts", "src", "asconfig.json", "package.json", "tsconfig.json"];

const folder = mkdtempSync(join(tmpdir(), "wlq-build-"));
let first: Map<string, Buffer>;
let second: Map<string, Buffer>;

/** Builds a copy of the sources, over what an earlier build left in dist; all files of dist and build. */
async function built(name: string, left: readonly string[]): Promise<Map<string, Buffer>> {
  const copy = join(folder, name);
  mkdirSync(join(copy, "dist"), { recursive: true });
  for (const file of left) writeFileSync(join(copy, "dist", file), "old");
  for (const input of INPUTS) cpSync(input, join(copy, input), { recursive: true });
  symlinkSync(resolve("node_modules"), join(copy, "node_modules"));
  await promisify(execFile)(process.execPath, ["scripts/build.mjs"], { cwd: copy });
  const files = ["dist", "build"].flatMap((part) =>
    readdirSync(join(copy, part), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(copy.length + 1)),
  );
  return new Map(files.sort().map((file) => [file, readFileSync(join(copy, file))]));
}

beforeAll(async () => {
  [first, second] = await Promise.all([
    built("first", []),
    built("a-longer-path/second", ["index.js", "shared-OLD.js"]),
  ]);
}, 600_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("two builds give the same files with the same bytes", () => {
  expect([...second.keys()]).toEqual([...first.keys()]);
  for (const [file, bytes] of first) expect(bytes.equals(second.get(file) as Buffer), file).toBe(true);
});

test("the build makes every entry and its types", () => {
  const made = [...first.keys()];
  for (const entry of ["index", "decoder", "onnx", "node"]) {
    expect(made).toContain(`dist/${entry}.js`);
    expect(made).toContain(`dist/${entry}.d.ts`);
  }
  expect(made).toContain("dist/cli.js");
});

test("no path of the machine is in what is built", () => {
  for (const [file, bytes] of first) {
    expect(bytes.includes(folder) || bytes.includes(process.cwd()), file).toBe(false);
  }
});

test("the binaries are shipped as they were compiled, and import nothing", () => {
  const compiled = [...first].filter(([file]) => /^build\/.*\.wasm$/.test(file));
  const names = compiled.map(([file]) => file.replace("build/", ""));
  expect(names).toEqual(
    expect.arrayContaining(["decode", "encode"].flatMap((n) => [`${n}.scalar.wasm`, `${n}.simd.wasm`])),
  );
  for (const [file, bytes] of compiled) {
    // the scalar builds are shipped as text; so are those two, which Workers get together, in coders.simd.wasm
    const shipped = first.get(file.replace("build/", "dist/"));
    if (/\.scalar\.|\/(entropy|outliers)\./.test(file)) expect(shipped, file).toBeUndefined();
    else expect(shipped && bytes.equals(shipped), file).toBe(true);
    const module = new WebAssembly.Module(new Uint8Array(bytes));
    expect(WebAssembly.Module.imports(module), file).toEqual([]);
    expect(WebAssembly.Module.exports(module).map((entry) => entry.name)).toContain("memory");
  }
});
