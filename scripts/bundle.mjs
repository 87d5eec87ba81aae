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
/** Planning, loaded when it is wanted: a chunk for all of it, since files are to be few. */
const PLANNING = /\/src\/(allocate|curve|level-plan|output-curve|power|rate-curve|rate-plan)\.ts$/;
/** What few compressions need, loaded when one does: a chunk for all of it, with outliers. */
const LATER = /\/src\/importance\.ts$|^fflate$/;
/** Loaded when they are wanted: most compressions need the entropy coder, a chunk of its own, but no look at a file. */
const CODERS = /\/(?:src|build)\/(?:wasm\/)?(entropy|outliers)\.(?:ts|simd\.wasm\.txt|scalar\.wasm\.txt)$/;
/**
 * The binaries that most load come before all code: the large one is a chunk that its users import first, the decoder's
 * begins the first chunk of code. So gzip, which looks back 32 kB, finds what they have in common, and in the code what
 * would otherwise lie on either side of them.
 */
const FIRST = { "encode.simd.wasm.txt": "encode", "decode.simd.wasm.txt": "common-decoder" };
/** What engines without SIMD load, and which chunk has it. */
const SCALAR = ".scalar.wasm.txt";
const SCALARS = {
  decode: "scalar-decode",
  encode: "scalar-encode",
  slq: "scalar-encode",
  calibrate: "scalar-encode",
};
/** What adapters alone have lies with what they adapt. */
const ADAPTED = { tfjs: "slq", onnxruntime: "calibrate" };
/** Marks the second copy of a module that leads to a binary: workerd's, which imports it. All others are there once. */
const WORKERD = "?workerd";
const NO_TEXT = "\0no-text";

const onLog = (level, log) => console.error(`${level}: ${log.message}`);

/**
 * The names of the entries that need a module, in their order. Its chunk is named after the first: so chunks are few, and
 * none needs another in a circle: what a module imports is needed by the same entry, and lies there or further up.
 */
function usersOf(input) {
  let needs;
  return (id, { getModuleInfo }) => {
    const reach = (from, seen = new Set()) => {
      if (seen.has(from)) return seen;
      seen.add(from);
      const { importedIds, dynamicallyImportedIds } = getModuleInfo(from);
      // a Worker has one script, loaded whole
      const later = from.endsWith(WORKERD) ? dynamicallyImportedIds.filter((next) => next.endsWith(WORKERD)) : [];
      for (const next of [...importedIds, ...later]) reach(next, seen);
      return seen;
    };
    needs ??= Object.entries(input).map(([name, path]) => ({ name, ids: reach(resolve(path)) }));
    return needs.filter(({ ids }) => ids.has(id)).map(({ name }) => name);
  };
}

/** Chunks of JavaScript: `common-` where no binary is needed, `shared-` where one is, and those loaded later. */
function chunkNames(input, leadsToWasm) {
  const usersIn = usersOf(input);
  return (id, api) => {
    if (PLANNING.test(id)) return "planning";
    const path = id.replace(WORKERD, "");
    const [, coder] = CODERS.exec(path) ?? [];
    if (coder && path !== id) return "workerd/shared-index";
    if (coder === "outliers" || LATER.test(id)) return "later";
    if (coder) return coder;
    if (id === NO_TEXT) return "workerd/shared-decoder";
    if (id.endsWith(SCALAR)) return SCALARS[basename(id, SCALAR)];
    if (id.endsWith("/exact.ts")) return "exact";
    if (FIRST[basename(id)]) return FIRST[basename(id)];
    const [first, second] = usersIn(id, api);
    if (!second) return undefined;
    if (leadsToWasm(path)) return first.replace(/[a-z]+$/, "shared-$&");
    return `common-${ADAPTED[first] ?? first}`;
  };
}

/** Whether a module imports a binary, itself or by another. */
async function wasmLeads() {
  const { metafile } = await build({
    entryPoints: [...Object.values(ENTRIES), WORKER["wlq-worker"]],
    bundle: true,
    outdir: "dist",
    format: "esm",
    platform: "node",
    external: ["@tensorflow/*"],
    loader: { ".txt": "empty" },
    logLevel: "error",
    metafile: true,
    write: false,
  });
  const inputs = Object.entries(metafile.inputs);
  const found = new Set(inputs.flatMap(([path]) => (path.endsWith(".wasm.txt") ? [path] : [])));
  for (let before = -1; before < found.size; ) {
    before = found.size;
    for (const [path, { imports }] of inputs) if (imports.some((next) => found.has(next.path))) found.add(path);
  }
  const ids = new Set([...found].map((path) => resolve(path)));
  return (id) => ids.has(id);
}

/** TypeScript to JavaScript, file by file; each chunk made small when all is in it. */
const typescript = {
  name: "typescript",
  async transform(code, id) {
    if (!id.replace(WORKERD, "").endsWith(".ts")) return null;
    const tsconfigRaw = { compilerOptions: { verbatimModuleSyntax: true, target: TARGET } };
    return (await transform(code, { loader: "ts", target: TARGET, sourcefile: id, tsconfigRaw })).code;
  },
  async renderChunk(code) {
    // nothing runs at import, so what is imported for nothing but that is not: a bundler would warn of each
    const lean = code
      .replace(/^import '\.{1,2}\/[^']+\.js';\n/gm, "")
      .replace(/^(.*?)^(import [^;]+ from '\.\/encode\.js';\n|var \w+ = "[^\n]{1000,}";\n)/ms, "$2$1");
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

/** Modules for workerd: the plain SIMD binary is imported, not embedded: workerd has SIMD and compiles it itself. */
const importWasm = (leadsToWasm) => ({
  name: "import-wasm",
  async load(id) {
    if (id === NO_TEXT) return "export default undefined;";
    return id.endsWith(WORKERD) ? await readFile(id.slice(0, -WORKERD.length), "utf8") : null;
  },
  async resolveId(source, importer, options) {
    if (!importer?.endsWith(WORKERD)) return source.endsWith(WORKERD) ? resolve(source) : null;
    if (source.endsWith(SCALAR)) return NO_TEXT;
    if (source.endsWith(".wasm.txt")) {
      const file = basename(source, ".txt").replace(/^(entropy|outliers)\b/, "coders");
      return { id: `../${file}`, external: "absolute" };
    }
    const found = await this.resolve(source, importer.slice(0, -WORKERD.length), options);
    return found && !found.external && leadsToWasm(found.id) ? found.id + WORKERD : found;
  },
});

/** The one function of a package that is loaded where a model's graph is deflated. */
const deflate = {
  name: "deflate",
  resolveId: (source) => (source === "fflate" ? source : null),
  async load(id) {
    if (id !== "fflate") return null;
    const { outputFiles } = await build({
      stdin: { contents: 'export { zlibSync } from "fflate";', resolveDir: "." },
      bundle: true,
      format: "esm",
      target: TARGET,
      minify: true,
      legalComments: "none",
      write: false,
    });
    return outputFiles[0].text;
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

/** Every entry, and the command line, into `dir`; those that lead to a binary again, for workerd, into `dir`/workerd. */
export async function bundleEntries(dir) {
  const leadsToWasm = await wasmLeads();
  const twice = Object.entries(ENTRIES).filter(([, path]) => leadsToWasm(resolve(path)));
  const input = {
    ...ENTRIES,
    ...WORKER,
    ...CLI,
    ...Object.fromEntries(twice.map(([name, path]) => [`workerd/${name}`, path + WORKERD])),
  };
  const made = await rollup({
    input,
    plugins: [importWasm(leadsToWasm), embedWasm, commandLine, deflate, typescript],
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
    manualChunks: chunkNames(input, leadsToWasm),
    banner: ({ name }) => (name === "cli" ? "#!/usr/bin/env node" : ""),
    hoistTransitiveImports: false,
  });
}

/** One `.d.ts` an entry, shared ones beside them: what is internal stays out, and a class is the same in every entry. */
export async function bundleTypes(dir) {
  const usersIn = usersOf(ENTRIES);
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
    manualChunks: (id, api) => (usersIn(id, api).length > 1 ? "shared" : undefined),
  });
}
