// Size: what wlq/decoder costs a page, bundled, minified and gzipped with its Wasm, and that no encoder is in it.
import { gzipSync } from "node:zlib";
import { type BuildResult, build } from "esbuild";
import { beforeAll, expect, test } from "vitest";

// Bytes by level 9 of zlib (the gzip program takes some 20 less): what README.md promises. The margin is small.
const BUDGET = 6000;

let result: BuildResult<{ metafile: true; write: false }>;

beforeAll(async () => {
  result = await build({
    entryPoints: ["src/decoder.ts"],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    loader: { ".deflate": "base64" },
    logLevel: "error",
    metafile: true,
    write: false,
  });
});

test(`the decoder takes less than ${BUDGET} bytes`, () => {
  const [bundle] = result.outputFiles;
  expect(gzipSync(bundle?.contents ?? "", { level: 9 }).length).toBeLessThan(BUDGET);
});

test("the decoder's import graph holds no encoder", () => {
  const inputs = Object.keys(result.metafile.inputs);
  expect(inputs).toContain("src/decoder.ts");
  expect(inputs).toContain("build/decode.wasm.deflate");
  const encoders =
    /^(src\/(cluster|quantize|compress|assign|scale|wasm\/encode|container\/writer|container\/checksummer)\.ts|src\/(formats|slq|cli)\/.*|build\/(encode|slq).*)$/;
  expect(inputs.filter((file) => encoders.test(file))).toEqual([]);
});

test("the decode binaries export no encoder kernel", async () => {
  const { default: embedded } = await import("../build/decode.wasm.deflate");
  const deflated = new Blob([Buffer.from(embedded as string, "base64")]);
  const bytes = await new Response(deflated.stream().pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();
  const end = 4 + new DataView(bytes).getUint32(0, true);
  for (const binary of [bytes.slice(4, end), bytes.slice(end)]) {
    const names = WebAssembly.Module.exports(new WebAssembly.Module(binary)).map(({ name }) => name);
    expect(names).toContain("xxh64");
    expect(
      names.filter(
        (name) => /histogram|optimal|lloyd|assign|pack$|sort|atoms|thresholds|tidy/i.test(name) && name !== "unpack",
      ),
    ).toEqual([]);
  }
});
