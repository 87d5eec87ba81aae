// Tile: packed codes and their codebooks to weights, in one call.
import { lookupNibbles, lookupRuns } from "./lookup";
import { unpack } from "./unpack";

/**
 * Decodes `count` weights of `bits` bits a code to float32 at `dst`. `codes` is scratch for `count` bytes; over-reads and
 * over-writes as in `unpack`. Codebooks, `inner`, `groups` and `first` as in `lookupRuns`.
 */
export function decodeTile(
  dst: usize,
  codes: usize,
  packed: usize,
  count: usize,
  bits: i32,
  codebooks: usize,
  levels: i32,
  inner: usize,
  groups: usize,
  first: usize,
): void {
  if (ASC_FEATURE_SIMD) {
    if (bits == 4 && groups == 1) {
      const done = lookupNibbles(dst, packed, count, codebooks);
      dst += done << 2;
      packed += done >> 1;
      count -= done;
    }
  }
  unpack(codes, packed, count, bits);
  lookupRuns(dst, codes, count, codebooks, levels, inner, groups, first);
}
