// Build: AssemblyScript -> Wasm -> JavaScript bundles with the Wasm embedded (and, for workerd, imported) -> types.
import { chmod, cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import process from "node:process";
import asc from "assemblyscript/asc";
import { bundleEntries, bundleTypes } from "./bundle.mjs";

/** Those that pages embed, as text, with and without SIMD. */
const EMBEDDED = ["decode", "tans", "encode", "entropy", "outliers", "slq", "calibrate"];
/** Those in the package as files. */
const PACKAGED = ["decode", "tans", "encode", "coders", "slq", "calibrate"];

async function compile(target, source = target) {
  const options = ["--config", "asconfig.json", "--target", target];
  const { error, stderr } = await asc.main([`assembly/${source}.ts`, ...options]);
  const messages = stderr
    .toString()
    .replace(/^Last converge was suboptimal\.\s*$/gm, "")
    .trim();
  if (messages) console.error(messages);
  if (error) throw error;
}

async function compileWasm() {
  await mkdir("build", { recursive: true });
  await compile("coders");
  for (const name of EMBEDDED) {
    await compile(name);
    await compile(`${name}-scalar`, name);
    for (const kind of ["simd", "scalar"]) {
      await writeFile(`build/${name}.${kind}.wasm.txt`, textOf(await readFile(`build/${name}.${kind}.wasm`)));
    }
  }
}

/** Bytes as the text that `unfold` in src/wasm/kernel.ts reads: base 91, where most take one character. */
function textOf(bytes) {
  const digits = Array.from({ length: 92 }, (_, i) => String.fromCharCode(35 + i)).filter((c) => c !== "\\");
  return Array.from(bytes, (byte) => {
    const value = (byte + 3) & 255;
    return ["", " ", "!"][Math.floor(value / 91)] + digits[value % 91];
  }).join("");
}

async function bundle() {
  await rm("dist", { recursive: true, force: true });
  await bundleEntries("dist");
  await chmod("dist/cli.js", 0o755);
  for (const name of PACKAGED) await cp(`build/${name}.simd.wasm`, `dist/${name}.simd.wasm`);
}

const steps = process.argv.slice(2);
if (steps.length === 0 || steps.includes("wasm")) await compileWasm();
if (steps.length === 0 || steps.includes("bundle")) await bundle();
if (steps.length === 0 || steps.includes("types")) await bundleTypes("dist");
