// Decode: packed codes and a codebook to weights, tile by tile through Wasm memory.
import {
  bitsForLevels,
  type Coding,
  decodeGrouping,
  type Grouping,
  MOST_GROUPS,
  packedBytes,
  runPlace,
} from "./codebook.ts";
import { malformed } from "./error.ts";
import type { RoundFormat } from "./tensor.ts";
import type { DecodeScope } from "./wasm/decode.ts";

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
  tensor?: string,
): TileDecoder {
  const { levels, codebook, scale } = coding;
  const { kernels } = scope;
  const bits = bitsForLevels(levels);
  const size = levels * 4;
  // codebooks held at once: all of them, or those from group `base` on
  const held = Math.min(groups, MOST_GROUPS, Math.floor(CODEBOOK_BYTES / size));
  const all = held === groups;
  let base = 0;
  const packedAt = scope.reserve(TILE);
  const codesAt = scope.reserve(TILE);
  const valuesAt = scope.reserve(TILE * 4);
  const halvesAt = scope.reserve(format && (held * size) / 2);
  // 1 KiB behind: a corrupt code reads there, not outside
  const codebooksAt = scope.reserve(held * size + 1024);

  // of the codebook, not of its products with scales: one that no code uses may be beyond float32
  if (!codebook.every(Number.isFinite)) throw malformed(tensor, "codebook is not finite");
  const prepare = (): void => {
    const values = scope.f32(codebooksAt, held * levels);
    for (let j = 0; j < held; j++) {
      const group = (base + j) % groups;
      // behind scales stands one codebook for all groups
      const [first, factor] = scale ? [0, scale.values[group] as number] : [group * levels, 1];
      for (let k = 0; k < levels; k++) {
        // + 0 turns a negative zero into zero: one bit pattern for one value
        values[j * levels + k] = Math.fround((codebook[first + k] as number) * factor) + 0;
      }
    }
    if (!format || !scale) return;
    (format === 1 ? kernels.f32ToF16 : kernels.f32ToBf16)(halvesAt, codebooksAt, values.length);
    values.set(fromHalves(scope.u16(halvesAt, values.length), format));
  };
  prepare();

  return {
    tileSize: all ? TILE : Math.min(TILE, (held - 1) * inner) & ~7,
    tile(codes, from, start, count) {
      const at = ((start - from) * bits) / 8;
      const bytes = packedBytes(count, bits);
      scope.u8(packedAt, bytes).set(codes.subarray(at, at + bytes));
      // a lone codebook looks up four bits as they are packed
      const nibbles = groups === 1 && bits === 4;
      if (!nibbles) kernels.unpack(codesAt, packedAt, count, bits);
      if (groups === 1) {
        kernels.lookup32(valuesAt, nibbles ? packedAt : codesAt, count, codebooksAt, levels, nibbles);
        return valuesAt;
      }
      const first = start % (groups * inner);
      if (!all && (first < base * inner || first + count > (base + held) * inner)) {
        base = Math.floor(first / inner);
        prepare();
      }
      // codebooks that are not all do not wrap around: -1 is unsigned
      const place = runPlace(inner, first - base * inner);
      kernels.lookupRuns(valuesAt, codesAt, count, codebooksAt, levels, place.inner, all ? groups : -1, place.first);
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

/**
 * 16-bit floats to float32, exactly. float16's digits at float32's place make a number 2^112 too small, subnormals
 * included; its infinities come out as 65536 and more.
 */
export function fromHalves(halves: Uint16Array, format: RoundFormat): Float32Array {
  // in place: a scale for every 64 weights of 2 GiB is 8 million, which Uint32Array.from would hold as a list, too
  const bits = new Uint32Array(halves);
  const values = new Float32Array(bits.buffer);
  halves.forEach((h, i) => {
    bits[i] = format === 2 ? h << 16 : ((h & 0x8000) << 16) | ((h & 0x7fff) << 13);
    if (format === 1) (values[i] as number) *= 2 ** 112;
  });
  return values;
}
