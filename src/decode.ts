// Decode: packed codes and a codebook to weights, tile by tile through Wasm memory.
import {
  bitsForLevels,
  type Coding,
  decodeGrouping,
  type Grouping,
  packedBytes,
  runPlace,
  type Scale,
} from "./codebook.ts";
import { malformed } from "./error.ts";
import type { RoundFormat } from "./tensor.ts";
import type { DecodeScope } from "./wasm/decode.ts";

// 16,384 weights are 64 kB of float32: written by the kernel and copied out again while they are in the cache.
export const DECODE_TILE = 16384;

/**
 * Decodes `count` weights, at most {@link DECODE_TILE}, from `start` on; returns a pointer to float32. `codes` begin with
 * those of weight `from`; `start` and `from` are multiples of 8. With blocks, `from` begins one, and tiles come in order.
 */
export type TileDecoder = (codes: Uint8Array, from: number, start: number, count: number) => number;

/**
 * Decodes blocks of an entropy coder: `count` codes, at most 16,384, from `start` on, stretch after stretch of a block.
 * `bytes` begin with the block of `from`. The result is valid until the next call.
 */
export type BlockDecoder = (bytes: Uint8Array, from: number, start: number, count: number) => Uint8Array;

/** Reserves room in `scope`; used and released within one operation of the owner. */
export function tileDecoder(
  scope: DecodeScope,
  coding: Pick<Coding, "levels" | "codebook"> & { readonly scale?: Pick<Scale, "values"> | false | undefined },
  { groups, inner }: Grouping,
  format: RoundFormat,
  tensor?: string,
  decode?: BlockDecoder,
): TileDecoder {
  const { levels, codebook, scale } = coding;
  const { kernels } = scope;
  const bits = bitsForLevels(levels);
  // codebooks held at once, 1 KiB each at most: all, or from group `base` on one a weight of a tile and one begun before
  const held = Math.min(groups, DECODE_TILE + 1);
  let base = 0;
  const packedAt = scope.reserve(DECODE_TILE);
  const codesAt = scope.reserve(DECODE_TILE);
  const valuesAt = scope.reserve(DECODE_TILE * 4);
  const halvesAt = scope.reserve(format && held * levels * 2);
  // 1 KiB behind: a corrupt code reads there, not outside
  const codebooksAt = scope.reserve(held * levels * 4 + 1024);

  // of the codebook, not of its products with scales: one that no code uses may be beyond float32
  if (!codebook.every(Number.isFinite)) throw malformed(tensor, "codebook not finite");
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
    kernels.f32To16(halvesAt, codebooksAt, values.length, format);
    values.set(fromHalves(scope.u16(halvesAt, values.length), format));
  };
  prepare();

  return (codes, from, start, count) => {
    // a lone codebook looks up four bits as they are packed
    const nibbles = !decode && groups === 1 && bits === 4;
    if (decode) scope.u8(codesAt, count).set(decode(codes, from, start, count));
    else {
      const at = ((start - from) * bits) / 8;
      const bytes = packedBytes(count, bits);
      scope.u8(packedAt, bytes).set(codes.subarray(at, at + bytes));
      if (!nibbles) kernels.unpack(codesAt, packedAt, count, bits);
    }
    if (groups === 1) {
      kernels.lookup32(valuesAt, nibbles ? packedAt : codesAt, count, codebooksAt, levels, nibbles);
      return valuesAt;
    }
    const first = start % (groups * inner);
    if (held < groups && (first < base * inner || first + count > (base + held) * inner)) {
      base = Math.floor(first / inner);
      prepare();
    }
    // codebooks that are not all do not wrap around: -1 is unsigned
    const place = runPlace(inner, first - base * inner);
    kernels.lookupRuns(
      valuesAt,
      codesAt,
      count,
      codebooksAt,
      levels,
      place.inner,
      held < groups ? -1 : groups,
      place.first,
    );
    return valuesAt;
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
    const tile = tileDecoder(scope, coding, decodeGrouping(coding), format);
    for (let start = 0; start < out.length; start += DECODE_TILE) {
      const count = Math.min(DECODE_TILE, out.length - start);
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
