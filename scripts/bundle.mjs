// Bundles: the entries as few ES modules that share theirs, and their declarations in the same way.
import { readFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { build, transform } from "esbuild";
import { rollup } from "rollup";
import { dts } from "rollup-plugin-dts";

/** The smallest first: what an entry needs lies with the first of this list that needs it, too. */
const ENTRIES = {
  decoder: "src/decoder.ts",
  index: "src/index.ts",
  onnx: "src/formats/onnx.ts",
  caffe: "src/formats/caffe.ts",
  slq: "src/slq/index.ts",
  calibrate: "src/calibrate/index.ts",
  threads: "src/threads/index.ts",
  tfjs: "src/adapters/tfjs.ts",
  onnxruntime: "src/adapters/onnxruntime.ts",
  node: "src/node.ts",
};
const CLI = { cli: "src/cli/main.ts" };
const WORKER = { "wlq-worker": "src/threads/worker.ts" };
const TARGET = "es2022";
/** What few compressions need, loaded when one does: a chunk for all of it, since files are to be few. */
const LATER = /\/(src\/(importance|outliers|rate-plan)\.ts|build\/outliers\..*)$/;
/** The entropy coder, which most compressions need but no look at a file. */
const ENTROPY = /\/(src\/(entropy|wasm\/entropy)\.ts|build\/entropy\..*)$/;
/** What engines without SIMD load, and which chunk has it. */
const SCALAR = ".scalar.wasm.txt";
const SCALARS = {
  decode: "scalar-decode",
  encode: "scalar-encode",
  slq: "scalar-encode",
  calibrate: "scalar-encode",
};
const NO_TEXT = "\0no-text";

const onLog = (level, log) => console.error(`${level}: ${log.message}`);

/**
 * Names the chunk of a module that several entries need after the first of them. So chunks are few, and none needs
 * another in a circle: what a module imports is needed by the same entry, and lies there or further up.
 */
function firstThatNeeds(input) {
  let needs;
  return (id, { getModuleInfo }) => {
    const reach = (from, seen = new Set()) => {
      if (seen.has(from)) return seen;
      seen.add(from);
      for (const next of getModuleInfo(from).importedIds) reach(next, seen);
      return seen;
    };
    needs ??= Object.entries(input).map(([name, path]) => ({ name, ids: reach(resolve(path)) }));
    const users = needs.filter(({ ids }) => ids.has(id));
    return users.length > 1 ? `shared-${users[0].name}` : undefined;
  };
}

/** The same for JavaScript, which has chunks of its own for what is loaded later; decoders load `exact`, too. */
function chunkNames(input) {
  const shared = firstThatNeeds(input);
  return (id, api) => {
    if (LATER.test(id) || (input.threads === undefined && ENTROPY.test(id))) return "later";
    if (ENTROPY.test(id)) return "entropy";
    if (id.endsWith(SCALAR)) return SCALARS[basename(id, SCALAR)];
    return id.endsWith("/exact.ts") ? "exact" : shared(id, api);
  };
}

/** TypeScript to JavaScript, file by file; each chunk made small when all is in it. */
const typescript = {
  name: "typescript",
  async transform(code, id) {
    if (!id.endsWith(".ts")) return null;
    const tsconfigRaw = { compilerOptions: { verbatimModuleSyntax: true, target: TARGET } };
    return (await transform(code, { loader: "ts", target: TARGET, sourcefile: id, tsconfigRaw })).code;
  },
  async renderChunk(code) {
    // nothing runs at import, so what is imported for nothing but that is not: a bundler would warn of each
    const lean = code.replace(/^import '\.\/[^']+';\n/gm, "");
    return (await transform(lean, { minify: true, target: TARGET, legalComments: "none" })).code;
  },
};

/** The bytes of a binary as text. */
const embedWasm = {
  name: "embed-wasm",
  async load(id) {
    if (!id.endsWith(".wasm.txt")) return null;
    return `export default ${JSON.stringify(await readFile(id, "utf8"))};`;
  },
};

/** Imports the plain SIMD binary instead of the embedded bytes: workerd, which always has SIMD, compiles it itself. */
const importWasm = {
  name: "import-wasm",
  load: (id) => (id === NO_TEXT ? "export default undefined;" : null),
  resolveId(source) {
    // has no binary: the same for all
    if (source.endsWith("/exact.ts")) return { id: "../exact.js", external: "absolute" };
    if (!source.endsWith(".wasm.txt")) return null;
    if (source.endsWith(SCALAR)) return NO_TEXT;
    return { id: `../${basename(source, ".txt")}`, external: "absolute" };
  },
};

/** What the command line alone needs: its packages, which are CommonJS and share some of theirs, and the version. */
const CLI_PACKAGES = ["cli-progress", "cli-table3"];
const commandLine = {
  name: "command-line",
  resolveId: (source) => (source.startsWith("cli-") ? source : null),
  async load(id) {
    if (id.endsWith("package.json")) {
      const { version } = JSON.parse(await readFile(id, "utf8"));
      return `export const version = ${JSON.stringify(version)};`;
    }
    const index = CLI_PACKAGES.indexOf(id);
    if (index >= 0) return `export { p${index} as default } from "cli-packages";`;
    if (id !== "cli-packages") return null;
    const { outputFiles } = await build({
      stdin: {
        contents: CLI_PACKAGES.map((name, i) => `export { default as p${i} } from "${name}";`).join(""),
        resolveDir: ".",
      },
      bundle: true,
      // of tables, asked for with a style alone, which ours have not
      external: ["@colors/colors/safe"],
      format: "esm",
      platform: "node",
      target: "node20",
      minify: true,
      legalComments: "none",
      write: false,
      banner: {
        js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
      },
    });
    return outputFiles[0].text;
  },
};

async function bundle(input, dir, plugins) {
  const made = await rollup({
    input,
    plugins: [...plugins, typescript],
    external: /^node:/,
    // as package.json says of all of them
    treeshake: {
      moduleSideEffects: (id) => id.startsWith("cli-") || id.endsWith(CLI.cli) || id.endsWith(WORKER["wlq-worker"]),
    },
    onLog,
  });
  await made.write({
    dir,
    format: "es",
    entryFileNames: "[name].js",
    chunkFileNames: "[name].js",
    manualChunks: chunkNames(input),
    banner: ({ name }) => (name === "cli" ? "#!/usr/bin/env node" : ""),
    hoistTransitiveImports: false,
  });
}

/** Every entry, and the command line, into `dir`; for workerd into `dir`/workerd, with binaries that it imports. */
export async function bundleEntries(dir) {
  await bundle({ ...ENTRIES, ...WORKER, ...CLI }, dir, [embedWasm, commandLine]);
  // no files and no workers there
  const { node: _, threads: _threads, ...portable } = ENTRIES;
  await bundle(portable, `${dir}/workerd`, [importWasm]);
}

/** One `.d.ts` an entry, shared ones beside them: what is internal stays out, and a class is the same in every entry. */
export async function bundleTypes(dir) {
  const shared = firstThatNeeds(ENTRIES);
  const made = await rollup({
    input: ENTRIES,
    plugins: [dts({ tsconfig: "tsconfig.json", compilerOptions: { stripInternal: true } })],
    // types of the optional peers stay imports, in the one entry that takes their values
    external: /^(node:|@tensorflow\/)/,
    onLog,
  });
  await made.write({
    dir,
    entryFileNames: "[name].d.ts",
    chunkFileNames: "[name].d.ts",
    manualChunks: (id, api) => shared(id, api) && "shared",
  });
}
