// The package: what `npm pack` puts into it, installed into an empty folder, imported, run and type-checked there.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string; readonly size: number; readonly mode: number }[];
}

type Target = string | Readonly<Record<string, string>>;

const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Record<string, unknown> & {
  exports: Record<string, Target>;
  devDependencies: Record<string, string>;
};
// entries that are code, as import paths' ends: ".", "./decoder" …
const MODULES = Object.keys(manifest.exports).filter((name) => typeof manifest.exports[name] !== "string");
const BINARIES = Object.keys(manifest.exports).filter((name) => name.endsWith(".wasm"));

const folder = mkdtempSync(join(tmpdir(), "wlq-package-"));
const home = join(folder, "home");
const installed = join(home, "node_modules", "wlq");
let packed: Packed;

function npm(args: readonly string[], cwd: string): string {
  return execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

function node(args: readonly string[]): string {
  return execFileSync(process.execPath, args, { cwd: home, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

beforeAll(() => {
  const output = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", folder], process.cwd()));
  // a list, or an object by name, as npm's major version has it
  packed = Object.values(output as Record<string, Packed>)[0] as Packed;
  mkdirSync(home);
  writeFileSync(join(home, "package.json"), JSON.stringify({ name: "home", private: true, type: "module" }));
  npm(["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", join(folder, packed.filename)], home);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("package.json", () => {
  test("is an ES module for Node 20 without side effects or run-time dependencies", () => {
    expect(manifest).toMatchObject({ name: "wlq", type: "module", license: "MIT", sideEffects: false });
    expect(manifest.engines).toEqual({ node: ">=20" });
    for (const kind of ["dependencies", "optionalDependencies", "bundleDependencies"]) {
      expect(manifest).not.toHaveProperty(kind);
    }
  });

  test("has TensorFlow.js and onnxruntime as its only peers, and those are optional", () => {
    const peers = Object.keys(manifest.peerDependencies as object);
    expect(peers).toEqual(["@tensorflow/tfjs-core", "@tensorflow/tfjs-layers", "onnxruntime-web"]);
    expect(manifest.peerDependenciesMeta).toEqual(Object.fromEntries(peers.map((name) => [name, { optional: true }])));
  });

  test("runs nothing when it is installed", () => {
    const scripts = Object.keys(manifest.scripts as object);
    expect(scripts.filter((name) => /^(pre|post)?install$|^prepare$/.test(name))).toEqual([]);
  });

  test("names exact versions of what it is developed with", () => {
    for (const [name, version] of Object.entries(manifest.devDependencies))
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
  });

  test("is locked for every platform: `npm ci` refuses a lock file without the optional packages of others", () => {
    type Locked = Record<string, { readonly optionalDependencies?: Record<string, string> }>;
    const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as { packages: Locked };
    const wanted = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
    const locked = Object.keys(packages).map((path) => path.slice(path.lastIndexOf("node_modules/") + 13));
    expect(wanted.filter((name) => !locked.includes(name))).toEqual([]);
  });

  test("exports every entry, types first, and every target is in the package", () => {
    const binaries = ["decode", "encode", "slq", "calibrate"].map((name) => `./${name}.simd.wasm`);
    const entries = [".", "./decoder", "./onnx", "./node", ...binaries, "./package.json"];
    expect(Object.keys(manifest.exports)).toEqual(expect.arrayContaining(entries));
    const paths = packed.files.map((file) => `./${file.path}`);
    for (const [name, target] of Object.entries(manifest.exports)) {
      const conditions = typeof target === "string" ? { default: target } : target;
      if (MODULES.includes(name)) {
        expect(Object.keys(conditions)[0], name).toBe("types");
        expect(Object.keys(conditions).at(-1), name).toBe("default");
      }
      for (const path of Object.values(conditions)) expect(paths, name).toContain(path);
    }
  });
});

describe("the packed files", () => {
  test("are few and small", () => {
    expect(packed.files.length).toBeLessThan(60);
    expect(packed.size).toBeLessThan(225_000);
    expect(packed.unpackedSize).toBeLessThan(620_000);
  });

  test("are what is built, and what people read first", () => {
    const outside = packed.files.map((file) => file.path).filter((path) => !path.startsWith("dist/"));
    expect(outside.sort()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "package.json"]);
    const entries = MODULES.map((name) => name.slice(2) || "index").join("|");
    const built = new RegExp(
      `^dist/(workerd/)?(cli|${entries}|wlq-worker|tans|entropy|later|exact|planning|encode|(scalar|common)-[a-z]+|shared(-[A-Za-z0-9_-]+)?)(\\.d\\.ts|\\.js)$|^dist/[a-z.]+\\.wasm$`,
    );
    expect(packed.files.filter(({ path }) => path.startsWith("dist/") && !built.test(path))).toEqual([]);
  });

  test("import of each other only what is there", () => {
    const paths = packed.files.map(({ path }) => path);
    for (const path of paths.filter((name) => /^dist\/.*\.js$/.test(name))) {
      const text = readFileSync(join(installed, path), "utf8");
      for (const [, target = ""] of text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)) {
        expect(paths, `${path} imports ${target}`).toContain(join(path, "..", target));
      }
    }
  });

  test("hold declarations that need no other package, those for TensorFlow.js apart", () => {
    const declarations = readdirSync(join(installed, "dist")).filter((name) => name.endsWith(".d.ts"));
    for (const name of declarations) {
      const text = readFileSync(join(installed, "dist", name), "utf8");
      const imports = [...text.matchAll(/(?:from|import\()\s*['"]([^'"]+)['"]/g)].map((match) => match[1]);
      const peers = name === "tfjs.d.ts" ? /^@tensorflow\/tfjs-(core|layers)$/ : /^$/;
      expect(
        imports.filter((path) => !path?.startsWith("./") && !peers.test(path ?? "")),
        name,
      ).toEqual([]);
    }
  });
});

describe("installed in an empty folder", () => {
  test("it is alone there", () => {
    expect(readdirSync(join(home, "node_modules")).filter((name) => !name.startsWith("."))).toEqual(["wlq"]);
  });

  test("every entry is imported and works", () => {
    const script = `
      import { readFileSync } from "node:fs";
      import { fileURLToPath } from "node:url";
      import * as wlq from "wlq";
      import * as decoder from "wlq/decoder";
      const modules = {};
      for (const name of ${JSON.stringify(MODULES)}) modules[name] = await import(name.replace(".", "wlq"));
      if (decoder.WlqError !== wlq.WlqError) throw new Error("two classes WlqError");
      for (const name of ${JSON.stringify(BINARIES)}) {
        const path = fileURLToPath(import.meta.resolve(name.replace(".", "wlq")));
        if (!WebAssembly.validate(readFileSync(path))) throw new Error(path);
      }
      const weights = Float32Array.from({ length: 5000 }, (_, i) => Math.fround(Math.sin(i)));
      const back = await wlq.dequantize(await wlq.quantize(weights, { levels: 256 }));
      console.log(JSON.stringify({
        worst: Math.max(...weights.map((w, i) => Math.abs(w - back[i]))),
        names: Object.fromEntries(Object.entries(modules).map(([name, entry]) => [name, Object.keys(entry).sort()])),
      }));`;
    writeFileSync(join(home, "use.mjs"), script);
    const { worst, names } = JSON.parse(node(["use.mjs"])) as { worst: number; names: Record<string, string[]> };
    expect(worst).toBeLessThan(0.01);
    const functions = ["compress", "decompress", "dequantize", "init", "inspect", "quantize", "unpackCodes", "verify"];
    expect(names["."]).toEqual(expect.arrayContaining(functions));
    expect(names).toMatchObject({
      "./decoder": ["WlqError", "open"],
      "./onnx": ["onnx"],
      "./tfjs": ["WlqError", "layersOf", "maskOptimizer", "pullWeights", "pushWeights", "slqFit"],
      "./node": ["fileSink", "fileSource", "folderResolver"],
    });
  });

  test("the command line starts", () => {
    const command = join(home, "node_modules", ".bin", "wlq");
    expect(execFileSync(command, ["--version"], { encoding: "utf8" })).toBe(`wlq ${manifest.version}\n`);
  });

  test.each(["nodenext", "bundler"])("its types hold by themselves, module resolution %s", (resolution) => {
    const script = `
      import { compress, type CompressOptions, quantize, type QuantizedTensor, type Report, WlqError } from "wlq";
      import { type Decoder, open, WlqError as DecoderError } from "wlq/decoder";
      import { fileSink, fileSource } from "wlq/node";
      import { onnx } from "wlq/onnx";

      export async function all(path: string): Promise<[Report, QuantizedTensor, Decoder]> {
        const options: CompressOptions = { levels: 16, scale: "channel", formats: [onnx()] };
        const report = await compress(await fileSource(path), fileSink("out"), options);
        const error: WlqError = new DecoderError("malformed", "one class in every entry");
        const q: QuantizedTensor = await quantize(new Float32Array(8), { levels: 4 });
        // @ts-expect-error levels is a number: the declarations are not any
        await quantize(new Float32Array(8), { levels: error.message });
        return [report, q, await open(new ArrayBuffer(8))];
      }`;
    writeFileSync(join(home, "use.ts"), script);
    const module = resolution === "nodenext" ? "nodenext" : "esnext";
    const options = ["--strict", "--noEmit", "--skipLibCheck", "false", "--lib", "es2022,dom", "--target", "es2022"];
    const tsc = resolve("node_modules/typescript/bin/tsc");
    const flags = [...options, "--module", module, "--moduleResolution", resolution];
    let messages = "";
    try {
      node([tsc, "use.ts", ...flags]);
    } catch (error) {
      messages = (error as { stdout: string }).stdout;
    }
    expect(messages).toBe("");
  });
});
