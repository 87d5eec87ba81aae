// Reader: a container opened by its header; tensors are read one by one, checked, and decoded.
import type { Coding } from "../codebook.ts";
import { TileDecoder } from "../decode.ts";
import { WlqError } from "../error.ts";
import type { ByteSource } from "../io/source.ts";
import { countElements } from "../tensor.ts";
import type { DecodeScope } from "../wasm/decode.ts";
import { checksumCount, Checksummer } from "./checksum.ts";
import { CHECKSUM_TILE, CHECKSUMS_NAME, type CodedEntry, type ContainerHeader, parseContainer, roundFormat } from "./coding.ts";
import { readSafetensors, type SafeTensor, type SafetensorsHeader } from "./safetensors.ts";

// Codes read at a time while decoding: a whole number of checksum tiles.
const READ = 16 * CHECKSUM_TILE;

/** An open container. One operation at a time: it owns one scope. */
export class Container {
  readonly header: ContainerHeader;
  readonly byteLength: number;
  readonly #source: ByteSource;
  readonly #raw: SafetensorsHeader;
  readonly #scope: DecodeScope;
  readonly #check: boolean;
  readonly #summer: Checksummer;
  readonly #firstSum = new Map<string, number>();
  #sums: Promise<DataView> | undefined;

  private constructor(source: ByteSource, raw: SafetensorsHeader, scope: DecodeScope, check: boolean) {
    this.header = parseContainer(raw);
    this.byteLength = source.byteLength;
    this.#source = source;
    this.#raw = raw;
    this.#scope = scope;
    this.#check = check;
    this.#summer = new Checksummer(scope);
    let next = checksumCount(raw.bytes.length);
    for (const t of raw.tensors) {
      this.#firstSum.set(t.name, next);
      if (t.name !== CHECKSUMS_NAME) next += checksumCount(t.byteLength);
    }
    const sums = this.header.byName.get(CHECKSUMS_NAME);
    if (sums?.dtype !== "U8" || sums.byteLength !== next * 8) {
      throw new WlqError("malformed", `${CHECKSUMS_NAME} has ${sums?.byteLength ?? "no"} bytes, ${next} checksums need ${next * 8}`);
    }
  }

  static async open(source: ByteSource, scope: DecodeScope, check: boolean): Promise<Container> {
    return new Container(source, await readSafetensors(source), scope, check);
  }

  /** Plain tensor or part of a coded one, by its name in the file. */
  part(name: string): SafeTensor {
    const found = this.header.byName.get(name);
    if (!found) throw new WlqError("not-found", `the file has no tensor "${name}"`, { tensor: name });
    return found;
  }

  /** Bytes `start` (a multiple of 64 KiB) to `end` (another, or the tensor's end), checked. */
  async read(part: SafeTensor, start: number, end: number): Promise<Uint8Array> {
    const bytes = await this.#source.read(part.offset + start, part.offset + end);
    if (this.#check) {
      const sums = await this.#checksums();
      const first = (this.#firstSum.get(part.name) as number) + start / CHECKSUM_TILE;
      for (let at = 0; at < bytes.length; at += CHECKSUM_TILE) {
        this.#compare(sums, first + at / CHECKSUM_TILE, bytes.subarray(at, at + CHECKSUM_TILE), part.name);
      }
    }
    return bytes;
  }

  async #checksums(): Promise<DataView> {
    this.#sums ??= this.#readChecksums();
    return this.#sums;
  }

  // Read once; the first of them are the header's own.
  async #readChecksums(): Promise<DataView> {
    const { offset, byteLength } = this.part(CHECKSUMS_NAME);
    const bytes = await this.#source.read(offset, offset + byteLength);
    const sums = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const header = this.#raw.bytes;
    for (let at = 0; at < header.length; at += CHECKSUM_TILE) {
      this.#compare(sums, at / CHECKSUM_TILE, header.subarray(at, at + CHECKSUM_TILE), "header");
    }
    return sums;
  }

  #compare(sums: DataView, number: number, bytes: Uint8Array, what: string): void {
    const said = sums.getBigUint64(number * 8, true);
    const found = this.#summer.sumOf(bytes, number);
    if (said !== found) {
      const hex = (x: bigint) => x.toString(16).padStart(16, "0");
      throw new WlqError("checksum", `"${what}" was changed: checksum ${number} is ${hex(found)}, the file says ${hex(said)}`, {
        tensor: what,
      });
    }
  }

  /** Codebook and scale of a coded tensor. */
  async coding(name: string, entry: CodedEntry): Promise<Coding> {
    const codebookPart = this.part(entry.codebookName);
    const codebook = floats(await this.read(codebookPart, 0, codebookPart.byteLength));
    for (let i = 0; i < codebook.length; i++) {
      if (!Number.isFinite(codebook[i])) {
        throw new WlqError("malformed", `coded tensor "${name}": codebook entry ${i} is ${codebook[i]}`, { tensor: name });
      }
    }
    const { levels, granularity, axis, groupSize, shape, scalePer, scaleName } = entry;
    const base = { levels, granularity, axis, groupSize, shape, codebook };
    if (scalePer === "none" || scaleName === undefined) return base;
    const scalePart = this.part(scaleName);
    const bytes = await this.read(scalePart, 0, scalePart.byteLength);
    return { ...base, scale: { per: scalePer, values: this.#halves(bytes) } };
  }

  #halves(bytes: Uint8Array): Float32Array {
    const count = bytes.length / 2;
    const mark = this.#scope.mark();
    try {
      const src = this.#scope.reserve(bytes.length);
      const dst = this.#scope.reserve(count * 4);
      this.#scope.u8(src, bytes.length).set(bytes);
      this.#scope.kernels.f16ToF32(dst, src, count);
      return this.#scope.f32(dst, count).slice();
    } finally {
      this.#scope.release(mark);
    }
  }

  /** Decodes a coded tensor stretch by stretch; a stretch is valid until the next is asked for. */
  async *tiles(name: string): AsyncGenerator<DecodedTile, void, void> {
    const entry = this.header.coded.get(name);
    if (!entry) throw new WlqError("not-found", `the file has no coded tensor "${name}"`, { tensor: name });
    const coding = await this.coding(name, entry);
    const codes = this.part(entry.codesName);
    const total = countElements(entry.shape);
    const scope = this.#scope;
    const mark = scope.mark();
    try {
      const decoder = new TileDecoder(scope, coding, roundFormat(entry.dtype));
      let bytes = await this.read(codes, 0, Math.min(READ, codes.byteLength));
      let from = 0;
      for (let start = 0; start < total; start += decoder.tileSize) {
        const count = Math.min(decoder.tileSize, total - start);
        const firstByte = (start * entry.bits) / 8;
        const lastByte = Math.ceil(((start + count) * entry.bits) / 8);
        if (lastByte > from + bytes.length) {
          // the next stretch begins at the checksum tile of the first byte still needed
          from = firstByte - (firstByte % CHECKSUM_TILE);
          bytes = await this.read(codes, from, Math.min(from + READ, codes.byteLength));
        }
        yield { scope, values: decoder.tile(bytes.subarray(firstByte - from, lastByte - from), start, count), start, count };
      }
    } finally {
      scope.release(mark);
    }
  }
}

/** A stretch of decoded weights: `count` float32 at `values`, from element `start` on. */
export interface DecodedTile {
  readonly scope: DecodeScope;
  readonly values: number;
  readonly start: number;
  readonly count: number;
}

function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}
