// Types: what a strict compiler of any age says to the declarations themselves, library check on, and to their use.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { finish } from "../hosts/child.mjs";
import { tool } from "../prepare.mjs";

const USE = `
import { compress, type CompressOptions, init, quantize, type QuantizedTensor, type Report, type Source, WlqError } from "wlq";
import { caffe } from "wlq/caffe";
import { type Decoder, open, WlqError as DecoderError } from "wlq/decoder";
import { fileSink, fileSource } from "wlq/node";
import { onnx } from "wlq/onnx";
import { createSlq, presets, type RoundReport } from "wlq/slq";

export async function all(path: string): Promise<[Report, QuantizedTensor, Decoder, RoundReport]> {
  await init({ encode: new Uint8Array(8), decode: new URL("https://example.org/decode.simd.wasm"), simd: true });
  const options: CompressOptions = { levels: 16, scale: "channel", formats: [onnx(), caffe()] };
  const source: Source = { byteLength: 3, slice: (start: number, end: number) => new ArrayBuffer(end - start) };
  const report = await compress(source, fileSink("out"), options);
  await compress(await fileSource(path), new WritableStream<Uint8Array>(), options);
  const error: WlqError = new DecoderError("malformed", "one class in every entry");
  const q: QuantizedTensor = await quantize(new Float32Array(8), { levels: 4 });
  // @ts-expect-error levels is a number: the declarations are not any
  await quantize(new Float32Array(8), { levels: error.message });
  const slq = await createSlq({ a: new Float32Array(8) }, { ...presets.slq, levels: 5 });
  return [report, q, await open(new ArrayBuffer(8)), await slq.next()];
}
`;

const STRICT = ["--strict", "--exactOptionalPropertyTypes", "--noEmit", "--skipLibCheck", "false"];
const LIBRARY = ["--target", "es2022", "--lib", "es2022,dom,dom.iterable"];

async function typescript(home, version, resolution) {
  const module = resolution === "nodenext" ? "nodenext" : "esnext";
  const flags = [...STRICT, ...LIBRARY, "--module", module, "--moduleResolution", resolution];
  const args = [tool(`typescript-${version}/bin/tsc`), ...flags, "use.ts"];
  return await finish(process.execPath, args, { cwd: home });
}

async function check(run, home) {
  await writeFile(join(home, "use.ts"), USE);
  const { code, stdout, stderr } = await run(home);
  if (code !== 0) throw new Error((stdout + stderr).trim().slice(0, 2000));
}

const compilers = ["5.7", "5.9", "6", "7"].flatMap((version) =>
  ["nodenext", "bundler"].map((resolution) => ({
    name: `types, TypeScript ${version}, ${resolution}`,
    run: (home) => check(() => typescript(home, version, resolution), home),
  })),
);

export const types = [
  ...compilers,
  {
    name: "types, Deno",
    run: (home) => check(() => finish(tool(".bin/deno"), ["check", "--no-remote", "use.ts"], { cwd: home }), home),
  },
];
