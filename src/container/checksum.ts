// Checksums: XXH64 of every 64 KiB of every tensor, of the header first; they lie in the file's last tensor.
import { CHECKSUM_TILE } from "./coding.ts";

interface HashScope {
  readonly kernels: { xxh64(src: number, bytes: number, seed: bigint): bigint };
  reserve(bytes: number): number;
  u8(pointer: number, count: number): Uint8Array;
}

/** Number of checksums of a tensor. */
export function checksumCount(byteLength: number): number {
  return Math.ceil(byteLength / CHECKSUM_TILE);
}

/** Hashes bytes as they pass. The seed is the checksum's number, so that exchanged stretches do not go unnoticed. */
export class Checksummer {
  readonly #scope: HashScope;
  readonly #buffer: number;
  #filled = 0;
  readonly #sums: bigint[] = [];

  constructor(scope: HashScope) {
    this.#scope = scope;
    this.#buffer = scope.reserve(CHECKSUM_TILE);
  }

  /** Bytes of the present tensor. */
  update(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const n = Math.min(bytes.length - at, CHECKSUM_TILE - this.#filled);
      this.#scope.u8(this.#buffer + this.#filled, n).set(bytes.subarray(at, at + n));
      this.#filled += n;
      at += n;
      if (this.#filled === CHECKSUM_TILE) this.endTensor();
    }
  }

  /** The present tensor is complete: the rest of it gets its checksum. */
  endTensor(): void {
    if (this.#filled === 0) return;
    this.#sums.push(this.#hash(this.#filled, this.#sums.length));
    this.#filled = 0;
  }

  /** All checksums so far, little-endian. */
  bytes(): Uint8Array {
    const out = new Uint8Array(this.#sums.length * 8);
    const view = new DataView(out.buffer);
    for (let i = 0; i < this.#sums.length; i++) view.setBigUint64(i * 8, this.#sums[i] as bigint, true);
    return out;
  }

  /** Checksum of one stretch by its number. */
  sumOf(bytes: Uint8Array, number: number): bigint {
    this.#scope.u8(this.#buffer, bytes.length).set(bytes);
    return this.#hash(bytes.length, number);
  }

  #hash(bytes: number, number: number): bigint {
    return BigInt.asUintN(64, this.#scope.kernels.xxh64(this.#buffer, bytes, BigInt(number)));
  }
}
