// Exact: outliers, weights that are stored exactly, and where they belong; loaded by who reads or makes a tensor with some.
import type { fromHalves } from "../decode.ts";
import type { WlqError } from "../error.ts";
import type { CodedTensor } from "./coding.ts";
import type { SafeTensor } from "./safetensors.ts";

/** Weights whose outliers are listed together, by their place among them. */
export const BLOCK = 262144;
/** Bytes of a block in the table: how many outliers, and bytes of their gaps, three each. */
const ROW = 6;

/** Calls `put` with the place, counted from `start`, and the number of every outlier from `start` to `end`, in order. */
export type EachOutlier = (start: number, end: number, put: (place: number, index: number) => void) => void;

/**
 * A walk over the places that `bytes` list, of which nothing is checked yet: all places are looked at here, so that none
 * is wrong later; at work, those of one block are held. `width` is that of a value. Throws `wrong`.
 */
export function outlierPlaces(
  bytes: Uint8Array,
  exact: number,
  count: number,
  width: number,
  wrong: () => WlqError,
): EachOutlier {
  const blocks = Math.ceil(count / BLOCK);
  const table = exact * width;
  let end = table + 1 + ROW * blocks;
  if (!(Number.isSafeInteger(exact) && end <= bytes.length)) throw wrong();
  const low = bytes[table] as number;
  const firsts = [0];
  const ends = [end];
  const next = (at: number): number =>
    (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
  for (let b = 0, at = table + 1; b < blocks; b++, at += ROW) {
    firsts.push((firsts[b] as number) + next(at));
    end += next(at + 3);
    ends.push(end);
  }
  if (low > 17 || firsts[blocks] !== exact || end > bytes.length || end + 7 < bytes.length) throw wrong();

  let held = -1;
  let places = new Uint32Array();
  const hold = (block: number): void => {
    held = block;
    places = new Uint32Array(Math.min(BLOCK + 1, (firsts[block + 1] as number) - (firsts[block] as number)));
    const gaps = bytes.subarray(ends[block], ends[block + 1]);
    const room = Math.min(BLOCK, count - block * BLOCK);
    let at = 0;
    // 24 bits at least
    const bits = (): number => {
      const i = at >> 3;
      const high = ((gaps[i + 2] as number) << 16) | ((gaps[i + 3] as number) << 24);
      return ((gaps[i] as number) | ((gaps[i + 1] as number) << 8) | high) >>> (at & 7);
    };
    let place = -1;
    for (let i = 0; i < places.length; i++) {
      let word = bits() & 0xffffff;
      while (word === 0 && at < gaps.length * 8) {
        at += 24;
        place += 24 << low;
        word = bits() & 0xffffff;
      }
      const zeros = 31 - Math.clz32(word & -word);
      at += zeros + 1;
      place += (zeros << low) + (bits() & ((1 << low) - 1)) + 1;
      at += low;
      if (!(word && place < room && at <= gaps.length * 8)) throw wrong();
      places[i] = place;
    }
  };
  for (let b = 0; b < blocks; b++) hold(b);

  return (start, stop, put) => {
    for (let b = Math.floor(start / BLOCK); b * BLOCK < stop; b++) {
      if (b !== held) hold(b);
      const base = b * BLOCK - start;
      // the first that is not before the start
      let i = 0;
      for (let n = places.length; i < n; ) {
        const middle = (i + n) >> 1;
        if (base + (places[middle] as number) < 0) i = middle + 1;
        else n = middle;
      }
      for (; i < places.length && base + (places[i] as number) < stop - start; i++) {
        put(base + (places[i] as number), (firsts[b] as number) + i);
      }
    }
  };
}

/** Bytes of an outlier's value: those of the dtype, float64 as float32. */
export function outlierWidth(dtype: string): number {
  return dtype === "F64" || dtype === "F32" ? 4 : 2;
}

/**
 * What puts a tensor's outliers among its decoded values, which begin at weight `start`. Throws `malformed`.
 *
 * The rest of the decoder is handed in: this file imports nothing, so that bundlers can keep it apart.
 */
export async function exactly(
  { name, dtype, exact = 0, grouping, parts }: CodedTensor,
  read: (part: SafeTensor) => Promise<Uint8Array>,
  malformed: (tensor: string, message: string) => WlqError,
  halves: typeof fromHalves,
): Promise<(values: Float32Array, start: number) => void> {
  const { count } = grouping;
  const bytes = await read(parts[3] as SafeTensor);
  const wrong = (): WlqError =>
    malformed(name, `${bytes.length} bytes do not hold ${exact} outliers of ${count} weights`);
  const width = outlierWidth(dtype);
  const each = outlierPlaces(bytes, exact, count, width, wrong);
  const raw = bytes.slice(0, exact * width).buffer;
  const own = width === 4 ? new Float32Array(raw) : halves(new Uint16Array(raw), dtype === "F16" ? 1 : 2);
  // infinities of float16 come out as 65536 and more
  if (!own.every((x) => Number.isFinite(x) && !(dtype === "F16" && Math.abs(x) > 65504))) throw wrong();
  return (values, start) =>
    each(start, start + values.length, (place, i) => {
      values[place] = own[i] as number;
    });
}
