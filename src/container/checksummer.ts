// Checksummer: checksums of a file that is being written.
import { CHECKSUM_TILE, checksum, type HashScope } from "./checksum.ts";

/** Hashes bytes as they pass. */
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
    this.#sums.push(checksum(this.#scope, this.#buffer, this.#filled, this.#sums.length));
    this.#filled = 0;
  }

  /** All checksums so far, little-endian. */
  bytes(): Uint8Array {
    return new Uint8Array(BigInt64Array.from(this.#sums).buffer);
  }
}
