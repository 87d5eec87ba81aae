// Channels of an inner axis: taken out of the rows they lie scattered in, so that each is one stretch.
import type { Grouping } from "./codebook.ts";

type Read = (start: number, end: number) => Promise<Uint8Array>;

// Read at a time: whole rows where they are short, else the wanted piece of each.
const READ_BYTES = 4_194_304;
// A piece this long is worth a read of its own.
const PIECE_BYTES = 65536;
// Rows turned at a time: a cache line of every channel is written while the rows' lines are at hand.
const TURN = 32;

/**
 * Bytes of the channels `first` to `last` in the outer positions `from` to `to`, channel after channel.
 * `width`: bytes an element, even. A tensor of which all channels do not fit is read once a block of them.
 */
export async function takeChannels(
  read: Read,
  { groups, inner }: Grouping,
  width: number,
  first: number,
  last: number,
  from: number,
  to: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const run = inner * width;
  const row = groups * run;
  const piece = (last - first) * run;
  const whole = row <= READ_BYTES && (piece < PIECE_BYTES || 2 * piece > row);
  const out = new Uint8Array(piece * (to - from));
  const rows = whole ? Math.max(1, Math.floor(READ_BYTES / row)) : 1;
  const skip = whole ? first * run : 0;
  for (let o = from; o < to; o += rows) {
    const n = Math.min(rows, to - o);
    const bytes = await (whole ? read(o * row, (o + n) * row) : read(o * row + first * run, o * row + last * run));
    turn(out, (o - from) * run, (to - from) * run, bytes, skip, whole ? row : piece, n, last - first, run);
  }
  return out;
}

/** `n` runs of each of `channels`, which begin at `skip` in rows of `row` bytes, to `at` of each channel's `stride` bytes. */
function turn(
  out: Uint8Array<ArrayBuffer>,
  at: number,
  stride: number,
  bytes: Uint8Array,
  skip: number,
  row: number,
  n: number,
  channels: number,
  run: number,
): void {
  if (run >= 64) {
    for (let c = 0; c < channels; c++) {
      for (let o = 0; o < n; o++) {
        const start = o * row + skip + c * run;
        out.set(bytes.subarray(start, start + run), c * stride + at + o * run);
      }
    }
    return;
  }
  const unit = run % 4 === 0 ? 4 : 2;
  const Units = unit === 4 ? Uint32Array : Uint16Array;
  const whole = bytes.byteOffset % unit === 0 ? bytes : bytes.slice();
  const src = new Units(whole.buffer as ArrayBuffer, whole.byteOffset, whole.length / unit);
  const dst = new Units(out.buffer);
  const units = run / unit;
  for (let o = 0; o < n; o += TURN) {
    const end = Math.min(n, o + TURN);
    for (let c = 0; c < channels; c++) {
      let to = (c * stride + at + o * run) / unit;
      for (let e = o; e < end; e++) {
        let p = (e * row + skip + c * run) / unit;
        for (let u = 0; u < units; u++) dst[to++] = src[p++] as number;
      }
    }
  }
}
