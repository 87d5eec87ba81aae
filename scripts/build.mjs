// Build: AssemblyScript -> Wasm -> JavaScript bundles with the Wasm embedded (and, for workerd, imported) -> types.
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import process from "node:process";
import { deflateRawSync } from "node:zlib";
import asc from "assemblyscript/asc";
import { build } from "esbuild";
import { rollup } from "rollup";
import { dts } from "rollup-plugin-dts";

const WASM = ["decode", "encode", "slq", "calibrate"];
const ENTRIES = {
  index: "src/index.ts",
  decoder: "src/decoder.ts",
  onnx: "src/formats/onnx.ts",
  caffe: "src/formats/caffe.ts",
  slq: "src/slq/index.ts",
  calibrate: "src/calibrate/index.ts",
  tfjs: "src/adapters/tfjs.ts",
  onnxruntime: "src/adapters/onnxruntime.ts",
  node: "src/node.ts",
};

async function compileWasm() {
  await mkdir("build", { recursive: true });
  for (const name of WASM) {
    for (const target of [name, `${name}-scalar`]) {
      const { error, stderr } = await asc.main([
        `assembly/${name}.ts`,
        "--config",
        "asconfig.json",
        "--target",
        target,
      ]);
      const messages = stderr
        .toString()
        .replace(/^Last converge was suboptimal\.\s*$/gm, "")
        .trim();
      if (messages) console.error(messages);
      if (error) throw error;
    }
    const [simd, scalar] = await Promise.all(["simd", "scalar"].map((kind) => readFile(`build/${name}.${kind}.wasm`)));
    const size = Buffer.alloc(4);
    size.writeUInt32LE(scalar.length);
    await writeFile(
      `build/${name}.wasm.deflate`,
      deflateRawSync(Buffer.concat([size, scalar, simd]), { level: 9, memLevel: 9 }),
    );
  }
}

/** Imports the plain SIMD binary instead of the embedded bytes: workerd, which always has SIMD, compiles it itself. */
const importWasm = {
  name: "import-wasm",
  setup({ onResolve }) {
    onResolve({ filter: /\.wasm\.deflate$/ }, ({ path }) => {
      const name = path.split("/").pop().replace(".wasm.deflate", ".simd.wasm");
      return { path: `../${name}`, external: true };
    });
  },
};

async function bundle() {
  await rm("dist", { recursive: true, force: true });
  const shared = {
    bundle: true,
    format: "esm",
    target: "es2022",
    platform: "neutral",
    splitting: true,
    minify: true,
    legalComments: "none",
    logLevel: "warning",
    chunkNames: "shared-[hash]",
  };
  await build({
    ...shared,
    entryPoints: ENTRIES,
    outdir: "dist",
    loader: { ".deflate": "base64" },
    external: ["node:*"],
  });
  const { node: _, ...portable } = ENTRIES;
  await build({ ...shared, entryPoints: portable, outdir: "dist/workerd", plugins: [importWasm] });
  await build({
    ...shared,
    splitting: false,
    entryPoints: { cli: "src/cli/main.ts" },
    outdir: "dist",
    platform: "node",
    target: "node20",
    loader: { ".deflate": "base64" },
    banner: {
      js: "#!/usr/bin/env node\nimport { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
    },
  });
  for (const name of WASM) await cp(`build/${name}.simd.wasm`, `dist/${name}.simd.wasm`);
  for (const name of WASM) await cp(`build/${name}.scalar.wasm`, `dist/${name}.scalar.wasm`);
}

/** One `.d.ts` an entry, shared ones beside them: what is internal stays out, and a class is the same in every entry. */
async function declareTypes() {
  const input = ENTRIES;
  const onLog = (level, log) => console.error(`${level}: ${log.message}`);
  const declarations = await rollup({
    input,
    plugins: [dts({ tsconfig: "tsconfig.json" })],
    // types of the optional peers stay imports, in the one entry that takes their values
    external: /^(node:|@tensorflow\/)/,
    onLog,
  });
  await declarations.write({
    dir: "dist",
    entryFileNames: "[name].d.ts",
    chunkFileNames: "shared-[hash].d.ts",
  });
}

const steps = process.argv.slice(2);
if (steps.length === 0 || steps.includes("wasm")) await compileWasm();
if (steps.length === 0 || steps.includes("bundle")) await bundle();
if (steps.length === 0 || steps.includes("types")) await declareTypes();
