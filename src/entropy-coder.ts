// Entropy coder: loads it, where something is to be coded at its entropy, and hands it what it needs.
import { bitsForLevels, packedBytes } from "./codebook.ts";
import { codedTiles } from "./coded.ts";
import { TANS_BLOCK } from "./container/coding.ts";
import type { EntropyCoder } from "./entropy.ts";
import { countElements } from "./tensor.ts";
import { instantiate, load } from "./wasm/kernel.ts";
import { WorkScope } from "./wasm/scope.ts";

export async function loadEntropyCoder(): Promise<EntropyCoder> {
  const { entropyCoder } = await import("./entropy.ts");
  return entropyCoder({
    TANS_BLOCK,
    bitsForLevels,
    packedBytes,
    countElements,
    codedTiles,
    load,
    instantiate,
    WorkScope,
  });
}
