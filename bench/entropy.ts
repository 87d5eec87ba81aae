// Entropy coding on data in Wasm memory, beside gzip of the same packed codes; and containers with outliers beside those without.
import { readFileSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import { safetensorsHead } from "../src/container/safetensors.ts";
import type { TansKernels } from "../src/container/tans.ts";
import { open } from "../src/decoder.ts";
import { compress, dequantizeSync, quantizeSync, unpackCodes } from "../src/index.ts";
import { decodeScope } from "../src/wasm/decode.ts";
import { type EntropyKernels, entropyBinary } from "../src/wasm/entropy.ts";
import { instantiate, load } from "../src/wasm/kernel.ts";
import { Scope, WorkScope } from "../src/wasm/scope.ts";
import { measure, type Row } from "./measure.ts";

const BLOCK = 262144;
const TILE = 16384;

/** Tile by tile as a reader does: entropy-coded codes, a copy to the other binary's memory, look-up, a copy out. */
export async function entropyCoding(weights: Float32Array, levels: number): Promise<Row[]> {
  const q = quantizeSync(weights, { levels });
  const codes = unpackCodes(q);
  const join = levels <= 16 ? 2 : 1;
  const symbols = levels ** join;
  await load(entropyBinary);
  const coder = new WorkScope(instantiate(entropyBinary) as unknown as EntropyKernels);
  const count = weights.length;
  const codesAt = coder.reserve(BLOCK);
  const symbolsAt = coder.reserve(BLOCK);
  const tallies = coder.reserve(symbols * 8);
  const shares = coder.reserve(symbols * 2);
  const table = coder.reserve(16384);
  const steps = coder.reserve(symbols * 8);
  const scratch = coder.reserve(1 << 19);
  const out = coder.reserve(1 << 19);
  const counts = new Float64Array(symbols);
  for (let i = 0; i + join <= count; i += join) {
    (counts[(codes[i] as number) + (join === 2 ? levels * (codes[i + 1] as number) : 0)] as number) += 1;
  }
  coder.f64(tallies, symbols).set(counts);
  coder.kernels.shareStates(shares, tallies, symbols);
  const sharesOf = coder.u16(shares, symbols).slice();
  coder.kernels.tansEncodeTable(table, steps, shares, symbols, scratch);
  const blocks: Uint8Array[] = [];
  const encode = (): void => {
    blocks.length = 0;
    for (let from = 0; from < count; from += BLOCK) {
      const n = Math.min(BLOCK, count - from);
      coder.u8(codesAt, n).set(codes.subarray(from, from + n));
      coder.kernels.joinCodes(symbolsAt, codesAt, n, levels, join);
      const size = coder.kernels.tansEncode(out, symbolsAt, Math.ceil(n / join), table, steps, scratch);
      blocks.push(coder.u8(out, size).slice());
    }
  };
  encode();
  const coded = blocks.map((block) => block.slice());

  const module = new WebAssembly.Module(readFileSync("build/tans.simd.wasm"));
  const tans = new Scope(new WebAssembly.Instance(module).exports as unknown as TansKernels);
  const tansTable = tans.reserve(32768);
  const words = tans.reserve(2048);
  const sharesAt = tans.reserve(symbols * 2);
  const own = tans.reserve(TILE);
  const block = tans.reserve((1 << 19) + 32768);
  tans.u16(sharesAt, symbols).set(sharesOf);
  for (let s = 0; s < symbols; s++) {
    for (let j = 0; j < join; j++) tans.u8(words + 8 * s + j, 1)[0] = Math.floor(s / levels ** j) % levels;
  }
  tans.kernels.tansTable(tansTable, sharesAt, symbols);
  const scope = decodeScope();
  const tile = scope.reserve(TILE);
  const values = scope.reserve(TILE * 4);
  const codebook = scope.reserve(2048);
  scope.f32(codebook, levels).set(q.codebook);
  const target = new Float32Array(count);
  const decode = (): void => {
    coded.forEach((bytes, b) => {
      tans.u8(block, bytes.length).set(bytes);
      const end = Math.min(count, (b + 1) * BLOCK);
      for (let start = b * BLOCK; start < end; start += TILE) {
        const n = Math.min(TILE, end - start);
        tans.kernels.tansDecode(own, block, tansTable, words, join, Math.ceil(n / join / 4));
        scope.u8(tile, n).set(tans.u8(own, n));
        scope.kernels.lookup32(values, tile, n, codebook, levels, false);
        target.set(scope.f32(values, n), start);
      }
    });
  };
  const named = (row: Row): Row => ({ ...row, name: `${row.name}, ${(count / row.ms / 1e6).toFixed(2)} G weights/s` });
  const gz = gzipSync(q.codes, { level: 6 });
  const bits = (coded.reduce((sum, bytes) => sum + bytes.length, 0) * 8) / count;
  const rows = [
    named(
      measure(
        `decode, ${levels} levels, ${bits.toFixed(3)} bits (entropy ${q.stats.entropyBits.toFixed(3)})`,
        count * 4,
        decode,
      ),
    ),
    named(measure(`encode, ${levels} levels`, count * 4, encode)),
    named(
      measure(
        `gunzip of packed codes, ${((gz.length * 8) / count).toFixed(3)} bits`,
        count * 4,
        () => void gunzipSync(gz),
      ),
    ),
  ];
  decode();
  const want = dequantizeSync(q);
  if (Buffer.compare(Buffer.from(target.buffer), Buffer.from(want.buffer)) !== 0) throw new Error("decoded otherwise");
  return rows;
}

/** A container's tensor to a fresh array by `wlq/decoder`, with and without a share of outliers. */
export async function outliersDecoded(weights: Float32Array, share: number): Promise<Row[]> {
  const columns = 1000;
  const shape = [Math.floor(weights.length / columns), columns];
  const data = new Uint8Array(weights.buffer, weights.byteOffset, (shape[0] as number) * columns * 4);
  const entry = { name: "w", dtype: "F32", shape, byteLength: data.length };
  const model = new Uint8Array(Buffer.concat([safetensorsHead([entry], {}), data]));
  const rows: Row[] = [];
  for (const outliers of [0, share]) {
    const chunks: Uint8Array[] = [];
    const sink = new WritableStream<Uint8Array>({ write: (chunk) => void chunks.push(chunk.slice()) });
    await compress(model, sink, { levels: 16, scale: "channel", outliers });
    const container = await open(new Uint8Array(Buffer.concat(chunks)));
    const ms: number[] = [];
    for (let i = 0; i < 12; i++) {
      const started = performance.now();
      await container.tensor("w");
      ms.push(performance.now() - started);
    }
    const fastest = Math.min(...ms);
    rows.push({
      name: `wlq/decoder, 16 levels, ${100 * outliers} % outliers, fresh array`,
      ms: fastest,
      meanMs: ms.reduce((a, b) => a + b) / ms.length,
      spread: 0,
      runs: ms.length,
      gbPerSecond: data.length / fastest / 1e6,
    });
  }
  return rows;
}
