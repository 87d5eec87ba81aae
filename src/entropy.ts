// Entropy: what an entropy coder makes of a tensor's codes: the share of every symbol, exact sizes, and the blocks. Loaded
// by import() when it is wanted; it imports nothing of the library's but is handed it, so that no bundler moves code about.

import type { bitsForLevels, packedBytes, QuantizationStats } from "./codebook.ts";
import type { Clustered, codedTiles, codesByThreads, EntropyCode, Stretch } from "./coded.ts";
import type { LazySegment } from "./io/segment.ts";
import type { countElements } from "./tensor.ts";
import type { EntropyData as Code } from "./threads.ts";
import type { EncodeScope } from "./wasm/encode.ts";
import { type EntropyKernels, type EntropyScope, entropyBinary } from "./wasm/entropy.ts";
import type { Binary, load } from "./wasm/kernel.ts";
import type { WorkScope } from "./wasm/scope.ts";

/** What of the library is used here. */
interface Library {
  readonly TANS_BLOCK: number;
  readonly bitsForLevels: typeof bitsForLevels;
  readonly packedBytes: typeof packedBytes;
  readonly countElements: typeof countElements;
  readonly codedTiles: typeof codedTiles;
  readonly codesByThreads: typeof codesByThreads;
  readonly load: typeof load;
  readonly instantiate: (binary: Binary) => WebAssembly.Exports;
  readonly WorkScope: typeof WorkScope;
}

const STATES = 8192;
// Codes of a tensor of up to so many weights are found once, not for counts and for sizes again.
const KEEP_WEIGHTS = 4_194_304;
// Blocks of up to so many bytes, of all tensors together, are held from when their sizes are found until they are written.
const KEEP_BYTES = 8_388_608;
// What goes with the scope of an operation: one instance for all its tensors, gone with it, and room for blocks.
const owned = new WeakMap<object, { readonly scope: EntropyScope; left: number }>();

/** Codes at hand, one byte each: weights from `start` on, at most a tile. */
interface Tile {
  readonly start: number;
  readonly codes: Uint8Array;
}

/** Weights done, out of twice the tensor's. */
type Tell = (weights: number) => void;

/** The coder's functions. */
export interface EntropyCoder {
  entropyCode(
    scope: EncodeScope,
    clustered: Clustered,
    signal: AbortSignal | undefined,
    tell?: Tell,
    part?: Stretch,
    joined?: (part: Float64Array) => Promise<Float64Array>,
  ): Promise<EntropyCode | undefined>;
  codeOf(code: Code): EntropyCode;
  entropyBlocks(
    scope: EncodeScope,
    clustered: Clustered,
    code: Pick<Code, "join" | "shares">,
    signal: AbortSignal | undefined,
    tell: Tell,
    stretch?: Stretch,
    kept?: readonly Tile[],
  ): AsyncGenerator<Uint8Array, void, void>;
}

/** The coder, made of the library's parts. */
export function entropyCoder({
  TANS_BLOCK,
  bitsForLevels,
  packedBytes,
  countElements,
  codedTiles,
  codesByThreads,
  load,
  instantiate,
  WorkScope,
}: Library): EntropyCoder {
  return { entropyCode, codeOf, entropyBlocks };

  async function ownedBy(owner: object): Promise<{ readonly scope: EntropyScope; left: number }> {
    await load(entropyBinary);
    let own = owned.get(owner);
    if (!own) {
      own = { scope: new WorkScope(instantiate(entropyBinary) as unknown as EntropyKernels), left: KEEP_BYTES };
      owned.set(owner, own);
    }
    return own;
  }

  /**
   * The smallest entropy code of a tensor, its size exact; `undefined` where packed codes are not larger. A thread that
   * looks at `part` of it gets the sums of all from `joined`. What is kept: of a part whose costs are wanted all blocks, of
   * another part none, of a whole tensor what fits.
   */
  async function entropyCode(
    scope: EncodeScope,
    clustered: Clustered,
    signal: AbortSignal | undefined,
    tell: Tell = () => {},
    part?: Stretch,
    joined: (part: Float64Array) => Promise<Float64Array> = async (part) => part,
  ): Promise<EntropyCode | undefined> {
    const { codebook, scale, levels, shape } = clustered.coding;
    const count = countElements(shape);
    const stretch = part ?? { start: 0, end: count };
    const packed = packedBytes(count, bitsForLevels(levels));
    const blocks = Math.ceil(count / TANS_BLOCK);
    const owner = await ownedBy(scope);
    const own = owner.scope;
    const tiles: Tile[] | undefined = stretch.end - stretch.start <= KEEP_WEIGHTS ? [] : undefined;
    let best: { join: number; shares: Uint16Array; head: number[]; cost: number } | undefined;
    for (const [join, tallies] of await talliesOf(own, scope, clustered, signal, tell, stretch, tiles)) {
      const { shares, bits } = shareStates(own, await joined(tallies));
      const head = shareBytes(shares);
      const bytes = bits / 8 + head.length + 15 * blocks;
      // of two that are as good, the one that decodes faster: with more codes a symbol
      const cost = bytes * (1 - 0.001 * join);
      if (bytes < packed && !(best && best.cost <= cost)) best = { join, shares, head, cost };
    }
    if (!best) {
      tell(count);
      return undefined;
    }
    const found = new Float64Array(blocks);
    let block = stretch.start / TANS_BLOCK;
    let kept: Uint8Array[] | undefined = part && !part.costs ? undefined : [];
    let left = owner.left;
    // costs are known
    const { start, end } = stretch;
    for await (const bytes of entropyBlocks(scope, clustered, best, signal, tell, { start, end }, tiles)) {
      found[block++] = bytes.length;
      left -= bytes.length;
      if (left < 0 && !part) kept = undefined;
      kept?.push(bytes.slice());
    }
    const sizes = [...(await joined(found))];
    // the last block's size holds the zeros behind it
    const before = codebook.length * 4 + (scale ? scale.values.length * 2 : 0);
    const unpadded = sizes.reduce((sum, size) => sum + size, best.head.length + 3 * blocks);
    const padding = -(before + unpadded) & 7;
    const byteLength = unpadded + padding;
    if (byteLength >= packed) return undefined;
    sizes.push((sizes.pop() as number) + padding);
    const tables = Uint8Array.from([...best.head, ...sizes.flatMap((n) => [n & 255, (n >> 8) & 255, n >> 16])]);
    const { join, shares } = best;
    if (kept && !part) owner.left = left;
    return codeOf({ join, shares, tables, byteLength }, kept);
  }

  /** An entropy code from what it is made of, and its blocks where they are at hand. */
  function codeOf(code: Code, kept?: readonly Uint8Array[]): EntropyCode {
    return { ...code, kept, segment: (...how) => entropySegment(code, kept, ...how) };
  }

  /** How often every symbol occurs, by the number of codes that make one: one, and as many as 256 symbols allow. */
  async function talliesOf(
    own: EntropyScope,
    scope: EncodeScope,
    clustered: Clustered,
    signal: AbortSignal | undefined,
    tell: Tell,
    stretch: Stretch,
    kept: Tile[] | undefined,
  ): Promise<Map<number, Float64Array>> {
    const { levels } = clustered.coding;
    const most = [8, 4, 2, 1].find((join) => levels ** join <= 256) as number;
    const joins = [...new Set([1, most])];
    const tallies = new Map(joins.map((join) => [join, new Float64Array(levels ** join)]));
    const mark = own.mark();
    try {
      const codes = own.reserve(TANS_BLOCK);
      const symbols = own.reserve(TANS_BLOCK);
      const counts = own.reserve(1024);
      const scratch = own.reserve(4096);
      for await (const { start, codes: found } of tilesOf(scope, clustered, signal, stretch)) {
        const count = found.length;
        own.u8(codes, count).set(found);
        kept?.push({ start, codes: found.slice() });
        for (const [join, sums] of tallies) {
          own.kernels.joinCodes(symbols, codes, count, levels, join);
          own.i32(counts, 256).fill(0);
          own.kernels.tallySymbols(counts, symbols, Math.ceil(count / join), scratch);
          const tally = own.i32(counts, 256);
          for (let s = 0; s < sums.length; s++) (sums[s] as number) += tally[s] as number;
        }
        tell(count);
      }
    } finally {
      own.release(mark);
    }
    return tallies;
  }

  /** Codes tile by tile, each valid until the next is asked for. */
  async function* tilesOf(...how: Parameters<typeof codedTiles>): AsyncGenerator<Tile, void, void> {
    const [scope] = how;
    for await (const { coder, start, count } of codedTiles(...how))
      yield { start, codes: scope.u8(coder.codes, count) };
  }

  function shareStates(scope: EntropyScope, tallies: Float64Array): { shares: Uint16Array; bits: number } {
    const mark = scope.mark();
    const symbols = tallies.length;
    const talliesAt = scope.reserve(symbols * 8);
    const sharesAt = scope.reserve(symbols * 2);
    scope.f64(talliesAt, symbols).set(tallies);
    const bits = scope.kernels.shareStates(sharesAt, talliesAt, symbols);
    const shares = scope.u16(sharesAt, symbols).slice();
    scope.release(mark);
    return { shares, bits };
  }

  /** One byte each below 128; above, seven bits and the rest. */
  function shareBytes(shares: Uint16Array): number[] {
    return [...shares].flatMap((share) => (share < 128 ? [share] : [(share & 127) | 128, share >> 7]));
  }

  /** The blocks of a tensor, in order; each is valid until the next is asked for. */
  async function* entropyBlocks(
    scope: EncodeScope,
    clustered: Clustered,
    { join, shares }: Pick<Code, "join" | "shares">,
    signal: AbortSignal | undefined,
    tell: Tell,
    stretch?: Stretch,
    kept?: readonly Tile[],
  ): AsyncGenerator<Uint8Array, void, void> {
    const { levels, shape } = clustered.coding;
    const total = countElements(shape);
    const { scope: own } = await ownedBy(scope);
    const { kernels } = own;
    const mark = own.mark();
    try {
      const table = own.reserve(STATES * 2);
      const steps = own.reserve(shares.length * 8);
      const codes = own.reserve(TANS_BLOCK);
      const symbols = own.reserve(Math.ceil(TANS_BLOCK / join) + 3);
      // 13 bits a symbol at most
      const room = Math.ceil(TANS_BLOCK / join / 4) * 7 + 20;
      const out = own.reserve(room);
      const scratch = own.reserve(Math.max(room, STATES * 4));
      own.u16(symbols, shares.length).set(shares);
      kernels.tansEncodeTable(table, steps, symbols, shares.length, scratch);
      for await (const { start, codes: found } of kept ?? tilesOf(scope, clustered, signal, stretch)) {
        const count = found.length;
        const from = start % TANS_BLOCK;
        const end = start + count;
        own.u8(codes, count).set(found);
        kernels.joinCodes(symbols + from / join, codes, count, levels, join);
        tell(count);
        if (end % TANS_BLOCK !== 0 && end < total) continue;
        const n = Math.ceil((from + count) / join);
        // the last symbol again where the last round of four is not full
        own.u8(symbols + n, 3).fill(own.u8(symbols + n - 1, 1)[0] as number);
        yield own.u8(out, kernels.tansEncode(out, symbols, n, table, steps, scratch));
      }
    } finally {
      own.release(mark);
    }
  }

  function entropySegment(
    code: Code,
    kept: readonly Uint8Array[] | undefined,
    ...how: Parameters<EntropyCode["segment"]>
  ): LazySegment {
    const { tables, byteLength } = code;
    const [scope, clustered, signal, tell] = how;
    return {
      byteLength,
      async *chunks() {
        let left = byteLength - tables.length;
        yield tables;
        const { threads, entry } = clustered;
        const blocks = threads
          ? codesByThreads(clustered, threads.codes("blocks"), tell)
          : (kept ?? entropyBlocks(scope, clustered, code, signal, (n) => tell(entry.name, n)));
        if (kept) tell(entry.name, countElements(entry.shape));
        for await (const block of blocks) {
          left -= block.length;
          // a copy: a sink may keep what it gets
          yield block.slice();
        }
        if (left > 0) yield new Uint8Array(left);
        // what is stored now, without the zeros behind; the last tile has left the statistics
        const stats = clustered.stats as QuantizationStats;
        const bits = ((byteLength - left) * 8) / stats.count;
        clustered.stats = { ...stats, bitsPerWeight: bits + stats.tableBitsPerWeight };
      },
    };
  }
}
