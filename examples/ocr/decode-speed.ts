// How fast the decoder turns a container back into float32 weights.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** The part of `wlq/decoder` that is measured here. */
interface Decoder {
  open(source: ArrayBuffer): Promise<OpenContainer>;
}

interface OpenContainer {
  readonly names: readonly string[];
  tensor(name: string): Promise<{ readonly levels?: number; readonly data: { readonly byteLength: number } }>;
}

/** Passes over all tensors: the first warms the engine up, the fastest counts. */
const PASSES = 10;

/** Float32 bytes a second out of `tensor(name)`, checksums and fresh arrays included; in GB/s, a GB being 10^9 bytes. */
export async function measureDecode(containerPath: string, decoderPath = "dist/decoder.js"): Promise<number> {
  const decoder = (await import(pathToFileURL(resolve(decoderPath)).href)) as Decoder;
  const file = await readFile(containerPath);
  const container = await decoder.open(new Uint8Array(file).buffer);
  let best = Number.POSITIVE_INFINITY;
  let bytes = 0;
  for (let pass = 0; pass < PASSES; pass++) {
    bytes = 0;
    const start = performance.now();
    for (const name of container.names) {
      const { levels, data } = await container.tensor(name);
      if (levels !== undefined) bytes += data.byteLength;
    }
    best = Math.min(best, performance.now() - start);
  }
  return bytes / best / 1e6;
}
