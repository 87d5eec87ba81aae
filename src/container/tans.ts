// Tans: entropy-coded codes, block by block, to one byte each; loaded by who reads a tensor that has them.
import embedded from "../../build/tans.simd.wasm.txt";
import type { BlockDecoder } from "../decode.ts";
import type { WlqError } from "../error.ts";
import type { Binary, instantiate, load } from "../wasm/kernel.ts";
import type { Scope } from "../wasm/scope.ts";
import type { CodedTensor } from "./coding.ts";
import type { SafeTensor } from "./safetensors.ts";

// TANS_BLOCK of coding.ts, whose import would tie this file to it.
const BLOCK = 262144;
// Places in a block are cut to this by the kernel, and a block to it here.
const BLOCK_BYTES = 1 << 19;
// Most weights that are decoded at once.
const TILE = 16384;

/** The kernels, as the compiler types them. */
export type TansKernels = Awaited<ReturnType<typeof import("../../build/tans.simd.js").instantiate>>;

const binary: Binary = { embedded };
// one instance a container, which does one thing at a time, for all its tensors; by its way to read
const scopes = new WeakMap<object, { readonly scope: Scope<TansKernels>; readonly mark: number }>();

/** Decodes the blocks of one tensor and reads them: what came with the tables is not fetched again. */
export interface TansBlocks {
  /** Where the codes of weight `e`, the first of a block, begin; for the number of weights, where they end. */
  place(e: number): number;
  readonly decode: BlockDecoder;
  /** Bytes `start` to `end` of the coded part, and maybe more. */
  read(part: SafeTensor, start: number, end: number): Promise<Uint8Array>;
}

/**
 * Reads the tables of a tensor whose `join` and `tables` nobody has checked. Throws `malformed`.
 *
 * The rest of the decoder is handed in: this file imports nothing but its binary, so that bundlers can keep it apart.
 */
export async function tansBlocks(
  { name, levels, join, tables, grouping, parts: [, codes] }: CodedTensor,
  read: (part: SafeTensor, start: number, end: number) => Promise<Uint8Array>,
  malformed: (tensor: string, message: string) => WlqError,
  compile: typeof load,
  instance: typeof instantiate,
  OneScope: typeof Scope<TansKernels>,
): Promise<TansBlocks> {
  const blocks = Math.ceil(grouping.count / BLOCK);
  const symbols = levels ** join;
  // two bytes a symbol at most
  if (![1, 2, 4, 8].includes(join) || symbols > 256 || !(tables > 0 && tables <= 2 * symbols + 3 * blocks)) {
    throw malformed(name, `${join} codes of ${levels} levels a symbol and ${tables} bytes of tables`);
  }
  // and what is behind them in the same tile of checksums
  const bytes = await read(codes, 0, tables);
  await compile(binary);
  let own = scopes.get(read);
  if (!own) {
    const fresh = new OneScope(instance(binary) as unknown as TansKernels);
    own = { scope: fresh, mark: fresh.mark() };
    scopes.set(read, own);
  }
  const { scope } = own;
  scope.release(own.mark);
  const { kernels } = scope;
  const tableAt = scope.reserve(32768);
  const wordsAt = scope.reserve(2048);
  const countsAt = scope.reserve(512);
  const codesAt = scope.reserve(TILE);
  // behind the last place a tile of the longest symbols is read
  const blockAt = scope.reserve(BLOCK_BYTES + 2 * TILE);
  const words = scope.u8(wordsAt, 2048);
  const counts = scope.u16(countsAt, 256);
  let at = 0;
  // NaN follows where the tables are too short
  const next = () => bytes[at++] as number;
  let states = 0;
  for (let s = 0; s < symbols; s++) {
    const low = next();
    const share = low < 128 ? low : low + (next() - 1) * 128;
    counts[s] = share;
    states += share;
    for (let j = 0; j < join; j++) words[8 * s + j] = (s / levels ** j) % levels;
  }
  let end = tables;
  const places = [end];
  for (let b = 0; b < blocks; b++) {
    end += next() + next() * 256 + next() * 65536;
    places.push(end);
  }
  if (states !== 8192 || end !== codes.byteLength) {
    throw malformed(name, `symbols have ${states} states of 8192, blocks end at ${end} of ${codes.byteLength} bytes`);
  }
  kernels.tansTable(tableAt, countsAt, symbols);
  return {
    place: (e) => places[Math.ceil(e / BLOCK)] as number,
    async read(part, from, to) {
      const had = bytes.subarray(from);
      if (had.length === 0) return read(part, from, to);
      if (to <= bytes.length) return had;
      const rest = await read(part, bytes.length, to);
      const all = new Uint8Array(had.length + rest.length);
      all.set(had);
      all.set(rest, had.length);
      return all;
    },
    decode(coded, from, start, n) {
      const place = places[start / BLOCK];
      if (place !== undefined) {
        const first = place - (places[from / BLOCK] as number);
        const block = coded.subarray(first, (places[start / BLOCK + 1] as number) - place + first);
        scope.u8(blockAt, BLOCK_BYTES).set(block.subarray(0, BLOCK_BYTES));
      }
      kernels.tansDecode(codesAt, blockAt, tableAt, wordsAt, join, Math.ceil(n / join / 4));
      return scope.u8(codesAt, n);
    },
  };
}
