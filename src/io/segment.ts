// A segment: a stretch of an output file whose size is known before its bytes are made.

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
