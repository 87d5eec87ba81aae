// Size: what a page pays for what it imports, bundled from dist, minified and gzipped with its Wasm. README.md shows it.
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import process from "node:process";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, test } from "vitest";

/** What is imported, and the most bytes that it may take: what is there with a small margin, never more. */
const IMPORTS: Readonly<Record<string, { readonly code: string; readonly budget: number }>> = {
  "`wlq/decoder`": { code: 'export * from "wlq/decoder"', budget: 6000 },
  "`quantize` of `wlq`": { code: 'export { quantize } from "wlq"', budget: 19_800 },
  "`compress` of `wlq`": { code: 'export { compress } from "wlq"', budget: 28_900 },
  "`compress` and `wlq/onnx`": { code: 'export { compress } from "wlq"; export * from "wlq/onnx"', budget: 41_300 },
  "all of `wlq`": { code: 'import * as wlq from "wlq"; globalThis.wlq = wlq', budget: 39_500 },
};

/** What a decoder loads with the first tensor that is entropy-coded, or has outliers; by the chunk's name. */
const LATER: Readonly<Record<string, { readonly name: string; readonly budget: number }>> = {
  tans: { name: "entropy-coded tensors", budget: 1300 },
  exact: { name: "tensors with outliers", budget: 1000 },
  "scalar-decode": { name: "without SIMD, decoders", budget: 900 },
};

/** What `compress` and `plan` load when it is wanted. */
const WANTED: typeof LATER = {
  entropy: { name: "the entropy coder", budget: 3100 },
  planning: { name: "`plan`, when called", budget: 7700 },
  later: { name: "importance, model graphs", budget: 6800 },
};

/**
 * Bytes by level 9 of zlib (the gzip program takes some 20 less), of what a bundler makes of the package as it is: of what
 * a page loads at first, and, by name, of what it loads when it is needed.
 */
async function sizeOf(code: string): Promise<{ first: number; later: Map<string, number> }> {
  const { outputFiles, warnings, metafile } = await build({
    stdin: { contents: code, resolveDir: process.cwd() },
    outdir: "build/size",
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    target: "es2022",
    // without the paths of tsconfig.json, which lead to src
    tsconfigRaw: {},
    logLevel: "silent",
    metafile: true,
    write: false,
  });
  expect(warnings.map(({ text }) => text)).toEqual([]);
  const first = new Set<string>();
  const visit = (path: string): void => {
    first.add(basename(path));
    for (const { kind, path: next } of metafile.outputs[path]?.imports ?? []) {
      if (kind === "import-statement" && !first.has(basename(next))) visit(next);
    }
  };
  for (const [path, { entryPoint }] of Object.entries(metafile.outputs)) if (entryPoint === "<stdin>") visit(path);
  expect(first.size).toBeGreaterThan(0);
  const sizes = { first: 0, later: new Map<string, number>() };
  for (const { path, contents } of outputFiles) {
    const bytes = gzipSync(contents, { level: 9 }).length;
    const name = basename(path);
    if (first.has(name)) sizes.first += bytes;
    else sizes.later.set(name.slice(0, name.lastIndexOf("-")), bytes);
  }
  return sizes;
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
  const budgets = new Map<string, number>();
  const later: ReadonlyMap<string, number>[] = [];
  for (const [name, { code, budget }] of Object.entries(IMPORTS)) {
    const size = await sizeOf(code);
    sizes.set(name, size.first);
    budgets.set(name, budget);
    later.push(size.later);
  }
  const [decoder = new Map<string, number>(), , compressor = decoder] = later;
  expect([...decoder.keys()].sort()).toEqual(Object.keys(LATER).sort());
  expect([...compressor.keys()]).toEqual(expect.arrayContaining(Object.keys(WANTED)));
  for (const [from, chunks] of [[decoder, LATER] as const, [compressor, WANTED] as const]) {
    for (const [chunk, { name, budget }] of Object.entries(chunks)) {
      sizes.set(name, from.get(chunk) ?? 0);
      budgets.set(name, budget);
    }
  }
  const over = [...sizes].filter(([name, bytes]) => bytes >= (budgets.get(name) ?? 0));
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
  expect(inputs).toContain("build/decode.simd.wasm.txt");
  const encoders =
    /^(src\/(cluster|quantize|compress|assign|scale|wasm\/encode|container\/writer|container\/checksummer|outliers)\.ts|src\/(formats|slq|cli)\/.*|build\/(encode|slq).*)$/;
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
