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
}

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
  };
}

/** Reads that fill, from `offset` on. */
export function filling(read: (target: Uint8Array, start: number) => number, offset: number): Fill {
  return (target, from) => {
    const start = offset + from;
    const end = start + target.length;
    let count: number;
    try {
      count = read(target, start);
    } catch (cause) {
      throw cause instanceof WlqError ? cause : new WlqError("io", `bytes ${start} to ${end}: ${cause}`, { cause });
    }
    if (count === target.length) return;
    throw new WlqError("truncated", `bytes ${start} to ${end}: the source ends at ${start + count}`);
  };
}
