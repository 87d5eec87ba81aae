// Reader: a container opened by its header; tensors are read one by one, checked, and decoded.
import { DECODE_TILE, fromHalves, tileDecoder } from "../decode.ts";
import { malformed, WlqError } from "../error.ts";
import type { ByteSource } from "../io/source.ts";
import type { DecodeScope } from "../wasm/decode.ts";
import { instantiate, load } from "../wasm/kernel.ts";
import { Scope } from "../wasm/scope.ts";
import { CHECKSUM_TILE, CHECKSUMS_NAME, checksum, checksumCount } from "./checksum.ts";
import { type CodedTensor, type ContainerHeader, parseContainer, roundFormat } from "./coding.ts";
import { readSafetensors, type SafeTensor } from "./safetensors.ts";
import type { TansBlocks } from "./tans.ts";

/** An open container. One operation at a time: it owns one scope. */
export interface Container {
  readonly header: ContainerHeader;
  /** Bytes of a tensor of the file from `start` to `end`, or to the end of the checksum's tile that this is in; checked. */
  read(tensor: SafeTensor, start?: number, end?: number): Promise<Uint8Array>;
  /** Decodes a coded tensor stretch by stretch; a stretch is valid until the next is asked for. */
  tiles(tensor: CodedTensor): AsyncGenerator<DecodedTile, void, void>;
}

/** A stretch of decoded weights: `count` float32 at `values`, from element `start` on. */
export interface DecodedTile {
  readonly scope: DecodeScope;
  readonly values: number;
  readonly start: number;
  readonly count: number;
}

/** One of the tensors by name, or `not-found`. */
export function find<T>(tensors: ReadonlyMap<string, T>, name: string): T {
  const found = tensors.get(name);
  if (!found) throw new WlqError("not-found", `no tensor "${name}"`, { tensor: name });
  return found;
}

/** Opens a container; reads its header. Without `check`, nothing is compared with the checksums. */
export async function openContainer(
  source: Pick<ByteSource, "read" | "byteLength">,
  scope: DecodeScope,
  check: boolean,
): Promise<Container> {
  const file = await readSafetensors(source);
  // number of each tensor's first checksum; the header's own are the first of all
  const firstSum = new Map<SafeTensor, number>();
  let sumCount = checksumCount(file.bytes.length);
  for (const tensor of file.tensors.values()) {
    firstSum.set(tensor, sumCount);
    if (tensor.name !== CHECKSUMS_NAME) sumCount += checksumCount(tensor.byteLength);
  }
  const header = parseContainer(file, sumCount);
  const tileAt = scope.reserve(CHECKSUM_TILE);
  // what is read together
  const unit = check ? CHECKSUM_TILE : 1;
  // read with the first tensor, and good only if the header that was read is
  let sums: BigInt64Array | undefined;

  const compare = (all: BigInt64Array, bytes: Uint8Array, first: number, name: string): BigInt64Array => {
    for (let at = 0; at < bytes.length; at += CHECKSUM_TILE) {
      const tile = bytes.subarray(at, at + CHECKSUM_TILE);
      const number = first + at / CHECKSUM_TILE;
      scope.u8(tileAt, tile.length).set(tile);
      if (checksum(scope, tileAt, tile.length, number) !== all[number]) {
        throw new WlqError("checksum", `"${name}" was changed: checksum ${number}`, { tensor: name });
      }
    }
    return all;
  };

  const read = async (tensor: SafeTensor, start = 0, end: number = tensor.byteLength): Promise<Uint8Array> => {
    const { offset, byteLength } = tensor;
    const from = start - (start % unit);
    const bytes = await source.read(offset + from, offset + Math.min(Math.ceil(end / unit) * unit, byteLength));
    if (check) {
      const { checksums } = header;
      sums ??= compare(
        new BigInt64Array(copy(await source.read(checksums.offset, checksums.offset + checksums.byteLength))),
        file.bytes,
        0,
        "header",
      );
      compare(sums, bytes, (firstSum.get(tensor) as number) + from / CHECKSUM_TILE, tensor.name);
    }
    return bytes.subarray(start - from);
  };

  return {
    header,
    read,
    async *tiles(tensor) {
      const {
        name,
        levels,
        dtype,
        coding,
        bits,
        grouping,
        parts: [codebookPart, codes, scales, outliers],
      } = tensor;
      const codebook = new Float32Array(copy(await read(codebookPart)));
      const scale = scales && { values: fromHalves(new Uint16Array(copy(await read(scales))), 1) };
      const exact = outliers && (await (await import("./exact.ts")).exactly(tensor, read, malformed, fromHalves));
      const mark = scope.mark();
      try {
        const total = grouping.count;
        // where the codes of weight e begin, and their bytes
        const blocks: Pick<TansBlocks, "place" | "read"> & Partial<TansBlocks> =
          coding === "packed"
            ? { place: (e) => (e * bits) / 8, read }
            : await (await import("./tans.ts")).tansBlocks(tensor, read, malformed, load, instantiate, Scope);
        const tile = tileDecoder(scope, { levels, codebook, scale }, grouping, roundFormat(dtype), name, blocks.decode);
        for (let from = 0, end = 0; from < total; from = end) {
          // read at a time: packed, 256 KiB a bit, so always whole checksum tiles; or 8 blocks
          end = Math.min(from + 32 * CHECKSUM_TILE, total);
          const bytes = await blocks.read(codes, blocks.place(from), blocks.place(end));
          for (let start = from; start < end; start += DECODE_TILE) {
            const count = Math.min(DECODE_TILE, end - start);
            const values = tile(bytes, from, start, count);
            if (exact) exact(scope.f32(values, count), start);
            yield { scope, values, start, count };
          }
        }
      } finally {
        scope.release(mark);
      }
    },
  };
}

/** The bytes alone in a buffer, as arrays of wider elements need them. */
export function copy(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}
