// Size: what a page pays for what it imports, bundled from dist, minified and gzipped with its Wasm. README.md shows it.
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, test } from "vitest";

/** What is imported, and the most bytes that it may take: what is there with a small margin, never more. */
const IMPORTS: Readonly<Record<string, { readonly code: string; readonly budget: number }>> = {
  "`wlq/decoder`": { code: 'export * from "wlq/decoder"', budget: 6000 },
  "`quantize` of `wlq`": { code: 'export { quantize } from "wlq"', budget: 21_000 },
  "`compress` of `wlq`": { code: 'export { compress } from "wlq"', budget: 29_500 },
  "`compress` and `wlq/onnx`": { code: 'export { compress } from "wlq"; export * from "wlq/onnx"', budget: 42_000 },
  "all of `wlq`": { code: 'import * as wlq from "wlq"; globalThis.wlq = wlq', budget: 44_000 },
};

/** Bytes by level 9 of zlib (the gzip program takes some 20 less), of what a bundler makes of the package as it is. */
async function sizeOf(code: string): Promise<number> {
  const { outputFiles, warnings } = await build({
    stdin: { contents: code, resolveDir: process.cwd() },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    // without the paths of tsconfig.json, which lead to src
    tsconfigRaw: {},
    logLevel: "silent",
    write: false,
  });
  expect(warnings.map(({ text }) => text)).toEqual([]);
  return gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length;
}

const [BEGIN, END] = ["<!-- sizes: begin -->", "<!-- sizes: end -->"];

/** The table between the marks in README.md; `WRITE_SIZES=1` writes it. */
function tableOf(sizes: ReadonlyMap<string, number>): string {
  const rows = [...sizes].map(([name, bytes]) => [name, `${(bytes / 1000).toFixed(1)} kB`]);
  const lines = [["import", "min + gzip"], ...rows].map(([name = "", size = ""]) => [name.padEnd(25), size.padEnd(10)]);
  lines.splice(1, 0, ["-".repeat(25), "-".repeat(10)]);
  return ["", "", ...lines.map((cells) => `| ${cells.join(" | ")} |`), "", ""].join("\n").slice(1);
}

test("every import stays below its budget, and README.md says what it takes", async () => {
  const sizes = new Map<string, number>();
  for (const [name, { code }] of Object.entries(IMPORTS)) sizes.set(name, await sizeOf(code));
  const over = [...sizes].filter(([name, bytes]) => bytes >= (IMPORTS[name]?.budget ?? 0));
  expect(over).toEqual([]);
  const readme = readFileSync("README.md", "utf8");
  const [from, to] = [readme.indexOf(BEGIN) + BEGIN.length, readme.indexOf(END)];
  const table = `\n${tableOf(sizes)}`;
  if (process.env.WRITE_SIZES) writeFileSync("README.md", readme.slice(0, from) + table + readme.slice(to));
  else expect(readme.slice(from, to), "WRITE_SIZES=1 npx vitest run test/size.test.ts writes it").toBe(table);
});

test("the decoder's import graph holds no encoder", async () => {
  const { metafile } = await build({
    entryPoints: ["src/decoder.ts"],
    bundle: true,
    format: "esm",
    logLevel: "error",
    metafile: true,
    write: false,
  });
  const inputs = Object.keys(metafile.inputs);
  expect(inputs).toContain("src/decoder.ts");
  expect(inputs).toContain("build/decode.wasm.txt");
  const encoders =
    /^(src\/(cluster|quantize|compress|assign|scale|wasm\/encode|container\/writer|container\/checksummer)\.ts|src\/(formats|slq|cli)\/.*|build\/(encode|slq).*)$/;
  expect(inputs.filter((file) => encoders.test(file))).toEqual([]);
});

test("the decode binaries export no encoder kernel", async () => {
  for (const build of ["scalar", "simd"]) {
    const binary = readFileSync(`build/decode.${build}.wasm`);
    const names = WebAssembly.Module.exports(new WebAssembly.Module(binary)).map(({ name }) => name);
    expect(names).toContain("xxh64");
    expect(
      names.filter(
        (name) => /histogram|optimal|lloyd|assign|pack$|sort|atoms|thresholds|tidy/i.test(name) && name !== "unpack",
      ),
    ).toEqual([]);
  }
});
