// Entropy coder: loads it, where something is to be coded at its entropy, and hands it what it needs.
import { bitsForLevels, packedBytes } from "./codebook.ts";
import { codedTiles, codesByThreads } from "./coded.ts";
import { TANS_BLOCK } from "./container/coding.ts";
import type { EntropyCoder, entropyCoder } from "./entropy.ts";
import { countElements } from "./tensor.ts";
import { instantiate, load } from "./wasm/kernel.ts";
import { WorkScope } from "./wasm/scope.ts";

/** The coder, which its own module makes. */
export function coderOf(make: typeof entropyCoder): EntropyCoder {
  return make({
    TANS_BLOCK,
    bitsForLevels,
    packedBytes,
    countElements,
    codedTiles,
    codesByThreads,
    load,
    instantiate,
    WorkScope,
  });
}

export async function loadEntropyCoder(): Promise<EntropyCoder> {
  return coderOf((await import("./entropy.ts")).entropyCoder);
}
