// wlq calibrate: a model and sample inputs in files to the statistics of its layers' inputs.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type CalibrateReport, calibrate, type Feeds, type OrtTensor } from "../adapters/onnxruntime.ts";
import { readSafetensors } from "../container/safetensors.ts";
import { WlqError } from "../error.ts";
import { byteSource } from "../io/source.ts";
import { fileSink, fileSource, folderResolver } from "../node.ts";
import { openNpz } from "./npz.ts";
import { findRuntime, type Runtime } from "./runtime.ts";
import { bytesText } from "./show.ts";

/** Options that the command line gives. */
export interface CalibrateFlags {
  readonly include?: RegExp | undefined;
  readonly exclude?: RegExp | undefined;
  /** Share of the runs that are held out. */
  readonly heldOut?: number | undefined;
  readonly noise?: number | undefined;
  readonly signal: AbortSignal;
  readonly onRun: (runs: number) => void;
}

/** Runs the command; returns the report. */
export async function runCalibrate(
  model: string,
  inputs: string,
  output: string,
  flags: CalibrateFlags,
): Promise<CalibrateReport> {
  const ort = await findRuntime();
  const files = await inputFiles(inputs);
  const source = await fileSource(model);
  const folder = folderResolver(model);
  try {
    const { include, exclude, heldOut, noise, signal, onRun } = flags;
    return await calibrate(ort, source, () => feedsOf(files, ort), fileSink(output), {
      ...(include ? { include } : {}),
      ...(exclude ? { exclude } : {}),
      ...(heldOut === undefined ? {} : { heldOut }),
      ...(noise === undefined ? {} : { noise }),
      resolve: (name) => folder.resolve(name),
      onProgress: ({ runs }) => onRun(runs),
      signal,
    });
  } finally {
    await source.close();
    await folder.closeAll();
  }
}

/** The report's closing line. */
export function calibrateText(output: string, { layers, runs, heldOut, bytesOut, seconds }: CalibrateReport): string {
  const full = layers.filter((layer) => layer.full).length;
  const part = full < layers.length ? `, ${layers.length - full} of them by mean squares alone` : "";
  return `${output} (${bytesText(bytesOut)}): ${layers.length} layers${part}, ${runs} runs${heldOut > 0 ? `, ${heldOut} of them held out` : ""}, ${seconds.toFixed(1)} s`;
}

export async function inputFiles(path: string): Promise<string[]> {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => /\.(npz|safetensors)$/.test(name)).sort();
  if (names.length === 0) throw new WlqError("not-found", `the folder ${path} has no .npz and no .safetensors file`);
  return names.map((name) => join(path, name));
}

interface Named {
  readonly name: string;
  load(): Promise<OrtTensor>;
}

/** One run a file; where names begin with a number and a slash, "0/x" and "1/x", one run a number. */
export async function* feedsOf(files: readonly string[], ort: Runtime): AsyncGenerator<Feeds> {
  for (const file of files) {
    const source = await fileSource(file);
    try {
      const runs = new Map<string, Named[]>();
      for (const tensor of await tensorsOf(file, byteSource(source), ort)) {
        const [, run = "", name = tensor.name] = /^(\d+)\/(.+)$/s.exec(tensor.name) ?? [];
        runs.set(run, [...(runs.get(run) ?? []), { ...tensor, name }]);
      }
      for (const [, list] of [...runs].sort(([a], [b]) => Number(a) - Number(b))) {
        const feeds: Record<string, OrtTensor> = {};
        for (const { name, load } of list) feeds[name] = await load();
        yield feeds;
      }
    } finally {
      await source.close();
    }
  }
}

// Element types of numpy, of safetensors and of onnxruntime, with the array that its tensors want.
const TYPES: readonly (readonly [string, string, string, (buffer: ArrayBuffer) => unknown])[] = [
  ["f4", "F32", "float32", (b) => new Float32Array(b)],
  ["f8", "F64", "float64", (b) => new Float64Array(b)],
  ["f2", "F16", "float16", (b) => new Uint16Array(b)],
  ["i8", "I64", "int64", (b) => new BigInt64Array(b)],
  ["i4", "I32", "int32", (b) => new Int32Array(b)],
  ["i2", "I16", "int16", (b) => new Int16Array(b)],
  ["i1", "I8", "int8", (b) => new Int8Array(b)],
  ["u8", "U64", "uint64", (b) => new BigUint64Array(b)],
  ["u4", "U32", "uint32", (b) => new Uint32Array(b)],
  ["u2", "U16", "uint16", (b) => new Uint16Array(b)],
  ["u1", "U8", "uint8", (b) => new Uint8Array(b)],
  ["b1", "BOOL", "bool", (b) => new Uint8Array(b)],
];

async function tensorsOf(file: string, source: ReturnType<typeof byteSource>, ort: Runtime): Promise<Named[]> {
  const make = (name: string, column: 0 | 1, type: string, shape: readonly number[], bytes: Uint8Array): OrtTensor => {
    const known = TYPES.find((row) => row[column] === type);
    if (!known) throw new WlqError("unsupported", `${file}: "${name}" has the element type ${type}`, { tensor: name });
    return new ort.Tensor(known[2], known[3](bytes.slice().buffer), shape);
  };
  if (!file.endsWith(".npz")) {
    const { tensors } = await readSafetensors(source);
    return [...tensors.values()].map(({ name, dtype, shape, offset, byteLength }) => ({
      name,
      load: async () => make(name, 1, dtype, shape, await source.read(offset, offset + byteLength)),
    }));
  }
  return (await openNpz(source)).map(({ name, load }) => ({
    name,
    async load() {
      const { type, shape, bytes } = await load();
      return make(name, 0, type, shape, bytes);
    },
  }));
}
