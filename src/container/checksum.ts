// Checksums: XXH64 of every 64 KiB of every tensor, of the header first; they lie in the file's last tensor.

/** The file's tensor that holds them: 8 bytes each, little-endian. */
export const CHECKSUMS_NAME = "__wlq__.checksums";
/** Bytes a checksum, counted from the tensor's first byte. */
export const CHECKSUM_TILE = 65536;

export interface HashScope {
  readonly kernels: { xxh64(src: number, bytes: number, seed: bigint): bigint };
  reserve(bytes: number): number;
  u8(pointer: number, count: number): Uint8Array;
}

/** Number of checksums of a tensor. */
export function checksumCount(byteLength: number): number {
  return Math.ceil(byteLength / CHECKSUM_TILE);
}

/**
 * Checksum (as a signed number) of the bytes at `at`, padded with zeros to a multiple of 32, for which there must be
 * room. The seed is its number, so that exchanged stretches do not go unnoticed.
 */
export function checksum(scope: HashScope, at: number, bytes: number, number: number): bigint {
  const padding = -bytes & 31;
  scope.u8(at + bytes, padding).fill(0);
  return scope.kernels.xxh64(at, bytes + padding, BigInt(number));
}
