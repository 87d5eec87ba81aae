// Decompress from a stream to a stream: a container of a safetensors model, in bounded memory.

import type { FileOptions } from "./compress.ts";
import { checkStream } from "./compress-stream.ts";
import { CHECKSUM_TILE, CHECKSUMS_NAME, checksumCount } from "./container/checksum.ts";
import { Checksummer } from "./container/checksummer.ts";
import { isCoded } from "./container/coding.ts";
import { openContainer } from "./container/reader.ts";
import type { SafeTensor } from "./container/safetensors.ts";
import { restore, restoredOrder } from "./decompress.ts";
import { WlqError } from "./error.ts";
import type { Inlet } from "./io/inlet.ts";
import { segmentChunks } from "./io/segment.ts";
import { checkBuffer, type StreamPair, through } from "./io/through.ts";
import { decodeBinary, decodeScope } from "./wasm/decode.ts";
import { load } from "./wasm/kernel.ts";

export interface DecompressStreamOptions extends Pick<FileOptions, "onProgress" | "signal"> {
  /** Most bytes of the input held at once, 512 MiB by default: tensors that lie before others they come after. */
  readonly maxBuffer?: number;
}

/**
 * Restores a safetensors model from a container on its way: `body.pipeThrough(decompressStream()).pipeTo(sink)`, with the
 * bytes that {@link decompress} gives. Checksums are the container's last tensor: bytes are handed on before they are
 * known to be right, and the stream fails at its end if they are not.
 *
 * @throws the streams fail with WlqError: `checksum`, `malformed`, `truncated`, `unsupported`
 */
export function decompressStream(options: DecompressStreamOptions = {}): StreamPair {
  return through((inlet) => chunksOf(inlet, options), options.signal);
}

async function* chunksOf(
  inlet: Inlet,
  { onProgress, signal, maxBuffer = 2 ** 29 }: DecompressStreamOptions,
): AsyncGenerator<Uint8Array, void, void> {
  await load(decodeBinary);
  const scope = decodeScope();
  const summer = new Checksummer(scope);
  // the header's own size is not hashed
  let size = 8;
  inlet.onBytes = (bytes) => {
    const skipped = Math.min(size, bytes.length);
    size -= skipped;
    summer.update(bytes.subarray(skipped));
  };
  await checkStream(inlet, "decompress");
  const container = await openContainer(inlet, scope, false);
  const { format, checksums, byName } = container.header;
  if (format !== "safetensors") {
    const why = "its graph is at the end of the container: use decompress with random access";
    throw new WlqError("unsupported", `the container holds a model of format "${format}"; ${why}`);
  }
  const tensors = [...byName.values()];
  const headerBytes = inlet.position - 8;
  // all is read once, in the order of the restored file; what then lies before the place reached has waited
  const reads = restoredOrder(container).flatMap(({ tensor }) => {
    if (!isCoded(tensor)) return [tensor];
    const [codebook, codes, scales, outliers] = tensor.parts;
    return [codebook, scales, outliers, codes].filter((part) => part !== false);
  });
  const waiting = passedOver([...reads, checksums]);
  checkBuffer(
    waiting.reduce((sum, { start, end }) => sum + end - start, 0),
    maxBuffer,
    "decompress",
  );
  inlet.keep(waiting);
  summer.endTensor();
  inlet.onBytes = hashing(summer, tensors);

  const { main } = await restore(container, { onProgress, signal });
  yield* segmentChunks(main);
  const stated = (await container.read(checksums)).slice();
  await inlet.end(tensors.reduce((end, { offset, byteLength }) => Math.max(end, offset + byteLength), inlet.position));
  compare(summer.bytes(), stated, headerBytes, tensors);
}

/** Stretches that lie before the end of one that is read earlier. */
function passedOver(reads: readonly SafeTensor[]): { start: number; end: number; once: boolean }[] {
  let reached = 0;
  const passed: { start: number; end: number; once: boolean }[] = [];
  for (const { offset, byteLength } of reads) {
    if (offset < reached) passed.push({ start: offset, end: offset + byteLength, once: true });
    reached = Math.max(reached, offset + byteLength);
  }
  return passed.sort((a, b) => a.start - b.start);
}

/** Hashes the payloads as they pass. */
function hashing(summer: Checksummer, tensors: readonly SafeTensor[]): (bytes: Uint8Array) => void {
  let i = 0;
  let left = tensors[0]?.byteLength ?? 0;
  return (bytes) => {
    for (let at = 0; at < bytes.length; ) {
      while (left === 0) left = tensors[++i]?.byteLength ?? bytes.length;
      const n = Math.min(left, bytes.length - at);
      if (tensors[i] && tensors[i]?.name !== CHECKSUMS_NAME) summer.update(bytes.subarray(at, at + n));
      at += n;
      left -= n;
      if (left === 0) summer.endTensor();
    }
  };
}

function compare(sums: Uint8Array, stated: Uint8Array, headerBytes: number, tensors: readonly SafeTensor[]): void {
  const byte = sums.findIndex((value, i) => value !== stated[i]);
  if (byte < 0) return;
  const number = Math.floor(byte / 8);
  let next = checksumCount(headerBytes);
  let name = "header";
  for (const tensor of tensors) {
    if (number < next) break;
    if (tensor.name === CHECKSUMS_NAME) continue;
    name = tensor.name;
    next += checksumCount(tensor.byteLength);
  }
  const stretch = `its checksums are of ${CHECKSUM_TILE} bytes each`;
  throw new WlqError("checksum", `"${name}" was changed: checksum ${number} differs (${stretch})`, { tensor: name });
}
