// A segment: a stretch of an output file whose size is known before its bytes are made.
import { WlqError } from "../error.ts";

/** Bytes at hand, or a promise of exactly `byteLength` bytes made tile by tile when they are wanted. */
export type Segment = Uint8Array | LazySegment;

/** Bytes that are made tile by tile; `chunks()` yields `byteLength` bytes in all. */
export interface LazySegment {
  readonly byteLength: number;
  chunks(): AsyncIterable<Uint8Array>;
}

/** Total bytes of a list of segments. */
export function segmentsByteLength(segments: readonly Segment[]): number {
  let total = 0;
  for (const segment of segments) total += segment.byteLength;
  return total;
}

// What is copied at a time: large enough that requests do not dominate, small enough for a Worker.
const COPY_BYTES = 1_048_576;

/** Bytes `start` to `end` of something that reads ranges. */
export function copySegment(
  from: { read(start: number, end: number): Promise<Uint8Array> },
  start: number,
  end: number,
): LazySegment {
  return {
    byteLength: end - start,
    async *chunks() {
      for (let at = start; at < end; at += COPY_BYTES) yield await from.read(at, Math.min(end, at + COPY_BYTES));
    },
  };
}

/** The bytes of segments, one after the other; each lazy one must give just the bytes it promised. */
export async function* segmentChunks(segments: Iterable<Segment>): AsyncGenerator<Uint8Array, void, void> {
  for (const segment of segments) {
    if (segment instanceof Uint8Array) {
      yield segment;
      continue;
    }
    let given = 0;
    for await (const chunk of segment.chunks()) {
      given += chunk.length;
      yield chunk;
    }
    if (given !== segment.byteLength) {
      throw new WlqError("io", `a part of the output has ${given} bytes, ${segment.byteLength} were announced`);
    }
  }
}
