// Decode: packed codes and a codebook to weights, tile by tile through Wasm memory.
import { bitsForLevels, type Coding, decodeGrouping, type Grouping, packedBytes } from "./codebook.ts";
import type { DecodeScope } from "./wasm/decode.ts";

/** How values were rounded to the tensor's dtype: 0 float32, 1 float16, 2 bfloat16. As kernels number them. */
export type RoundFormat = 0 | 1 | 2;

// 16,384 weights are 64 kB of float32: written by the kernel and copied out again while they are in the cache.
const TILE = 16384;
// Codebooks prepared at once take at most this much Wasm memory.
const CODEBOOK_BYTES = 4 << 20;

/** Decodes one tensor stretch by stretch. */
export interface TileDecoder {
  /** Most weights a `tile` call takes; a multiple of 8. */
  readonly tileSize: number;
  /**
   * Decodes `count` weights from `start` on; a pointer to float32. `codes` begin with those of weight `from`;
   * `start` and `from` are multiples of 8.
   */
  tile(codes: Uint8Array, from: number, start: number, count: number): number;
}

/** Reserves room in `scope`; used and released within one operation of the owner. */
export function tileDecoder(
  scope: DecodeScope,
  coding: Pick<Coding, "levels" | "codebook" | "scale">,
  { groups, inner }: Grouping,
  format: RoundFormat,
): TileDecoder {
  const { levels, codebook, scale } = coding;
  const { kernels } = scope;
  const bits = bitsForLevels(levels);
  const size = levels * 4;
  // codebooks held at once: all of them, or those from group `base` on
  const held = Math.min(groups, Math.floor(CODEBOOK_BYTES / size));
  const all = held === groups;
  let base = 0;
  const packedAt = scope.reserve(TILE);
  const codesAt = scope.reserve(TILE);
  const valuesAt = scope.reserve(TILE * 4);
  const sharedAt = scope.reserve(size);
  // 1 KiB behind: a corrupt code reads there, not outside
  const codebooksAt = scope.reserve(held * size + 1024);

  const prepare = (): void => {
    if (scale) scope.f32(sharedAt, levels).set(codebook);
    for (let j = 0; j < held; j++) {
      const group = (base + j) % groups;
      const at = codebooksAt + j * size;
      if (scale) kernels.scaleCodebook(at, sharedAt, levels, scale.values[group] as number, format);
      else scope.f32(at, levels).set(codebook.subarray(group * levels, (group + 1) * levels));
    }
  };
  prepare();

  return {
    tileSize: all ? TILE : Math.min(TILE, (held - 1) * inner) & ~7,
    tile(codes, from, start, count) {
      const at = ((start - from) * bits) / 8;
      const bytes = packedBytes(count, bits);
      scope.u8(packedAt, bytes).set(codes.subarray(at, at + bytes));
      if (groups === 1 && bits === 4) {
        kernels.decode4(valuesAt, packedAt, count, codebooksAt);
        return valuesAt;
      }
      kernels.unpack(codesAt, packedAt, count, bits);
      if (groups === 1) {
        kernels.lookup32(valuesAt, codesAt, count, codebooksAt, levels);
        return valuesAt;
      }
      const first = start % (groups * inner);
      if (!all && (first < base * inner || first + count > (base + held) * inner)) {
        base = Math.floor(first / inner);
        prepare();
      }
      // codebooks that are not all do not wrap around: -1 is unsigned
      kernels.lookupRuns(valuesAt, codesAt, count, codebooksAt, levels, inner, all ? groups : -1, first - base * inner);
      return valuesAt;
    },
  };
}

/** All of `coding.codes` to `out` (Float32Array, element count of the shape). */
export function decodeInto(
  scope: DecodeScope,
  coding: Coding & { readonly codes: Uint8Array },
  format: RoundFormat,
  out: Float32Array,
): void {
  const mark = scope.mark();
  try {
    const { tileSize, tile } = tileDecoder(scope, coding, decodeGrouping(coding), format);
    for (let start = 0; start < out.length; start += tileSize) {
      const count = Math.min(tileSize, out.length - start);
      out.set(scope.f32(tile(coding.codes, 0, start, count), count), start);
    }
  } finally {
    scope.release(mark);
  }
}
