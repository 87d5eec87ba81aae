// A place: where a tensor's bytes are, to be read without waiting or by another thread.
import { WlqError } from "../error.ts";
import type { ByteSource } from "./source.ts";

/** Where a tensor's bytes are: how to have them without waiting, or in another thread. */
export interface Place {
  /** What other threads can read: an open file's descriptor, or a Blob. */
  readonly file: number | Blob | undefined;
  /** Where they begin in it. */
  readonly offset: number;
  /** Fills `target` with the bytes from `start`; throws `WlqError` `truncated` or `io`. */
  readonly fill?: Fill | undefined;
  /** Reads into memory that is used again; the result views it. Throws like `fill`. */
  readonly refill?: Refill | undefined;
}

export type Refill = (room: Uint8Array<ArrayBuffer>, start: number) => Promise<Uint8Array<ArrayBuffer>>;

export type Fill = (target: Uint8Array, start: number) => void;

/** Where bytes from `offset` of a source are. */
export function placeIn({ source }: Pick<ByteSource, "source">, offset: number): Place | undefined {
  if (!source) return undefined;
  if (source instanceof Blob) return { file: source, offset };
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) {
    const all = source instanceof ArrayBuffer ? new Uint8Array(source) : source;
    const read = (target: Uint8Array, start: number): number => {
      const bytes = all.subarray(start, start + target.length);
      target.set(bytes);
      return bytes.length;
    };
    return { file: undefined, offset, fill: filling(read, offset) };
  }
  const { fd } = source;
  return {
    file: fd,
    offset,
    fill: source.readSync && filling((target, start) => source.readSync?.(target, start) ?? 0, offset),
    refill: source.readInto && refilling((room, start) => source.readInto?.(room, start), offset),
  };
}

function refilling(
  read: (room: Uint8Array<ArrayBuffer>, start: number) => Promise<Uint8Array<ArrayBuffer>> | undefined,
  offset: number,
): Refill {
  return async (room, from) => {
    const start = offset + from;
    const { length } = room;
    let bytes: Uint8Array<ArrayBuffer> | undefined;
    try {
      bytes = await read(room, start);
    } catch (cause) {
      throw fault(cause, start, length);
    }
    if (bytes?.length !== length) throw ended(start, length, bytes?.length ?? 0);
    return bytes;
  };
}

function fault(cause: unknown, start: number, length: number): WlqError {
  if (cause instanceof WlqError) return cause;
  return new WlqError("io", `bytes ${start} to ${start + length}: ${cause}`, { cause });
}

function ended(start: number, length: number, count: number): WlqError {
  return new WlqError("truncated", `bytes ${start} to ${start + length}: the source ends at ${start + count}`);
}

/** Reads that fill, from `offset` on. */
export function filling(read: (target: Uint8Array, start: number) => number, offset: number): Fill {
  return (target, from) => {
    const start = offset + from;
    const { length } = target;
    let count: number;
    try {
      count = read(target, start);
    } catch (cause) {
      throw fault(cause, start, length);
    }
    if (count !== length) throw ended(start, length, count);
  };
}
