// A source: random-access bytes, and the one function that reads them and checks what came back.
import { WlqError } from "../error.ts";
import { isSize } from "../tensor.ts";

/** Random access to bytes: a file handle, an HTTP range reader, an R2 object, a Deno file. An ArrayBuffer is one. */
export interface RangeSource {
  /** Size in bytes. */
  readonly byteLength: number;
  /** The bytes from `start` (inclusive) to `end` (exclusive). */
  slice(start: number, end: number): ArrayBuffer | Promise<ArrayBuffer>;
  /**
   * Of a source that need not wait: puts the bytes from `start` into `target`, which ends where they end, and says how
   * many there were. Weights are read by it, straight into Wasm memory.
   */
  readSync?(target: Uint8Array, start: number): number;
  /**
   * As `slice`, of as many bytes as `room` has, into its memory: what comes back views that memory, or other where it was
   * detached. Who reads many weights in turn does not leave a trail of buffers so.
   */
  readInto?(room: Uint8Array<ArrayBuffer>, start: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Of an open file whose bytes these are: threads of the process read it themselves. */
  readonly fd?: number;
}

/** Where bytes come from. */
export type Source = RangeSource | ArrayBuffer | Uint8Array | Blob;

/** Finds a companion file (ONNX external data) by the relative name that the model gives. */
export type Resolve = (name: string) => Source | Promise<Source>;

/** A source in its one internal form: reads are checked, results are bytes. */
export interface ByteSource {
  readonly byteLength: number;
  /** What was wrapped. */
  readonly source?: Source;
  /** Exactly `end - start` bytes; throws `WlqError` `truncated` or `io`. */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** Wraps any {@link Source}. */
export function byteSource(source: Source): ByteSource {
  const byteLength = source instanceof Blob ? source.size : source.byteLength;
  if (!isSize(byteLength)) throw new TypeError(`source.byteLength is ${byteLength}`);
  return {
    byteLength,
    source,
    async read(start, end) {
      // what is there, or as much as the source gives of it
      const stop = Math.max(start, Math.min(end, byteLength));
      const bytes = stop > start ? await readOnce(source, start, stop) : new Uint8Array();
      if (bytes.length === end - start) return bytes;
      throw new WlqError("truncated", `bytes ${start} to ${end}: the source ends at ${start + bytes.length}`);
    },
  };
}

async function readOnce(source: Source, start: number, end: number): Promise<Uint8Array> {
  // views, not copies; a Buffer is a Uint8Array whose slice() shares memory: readers get a plain view
  const all = source instanceof ArrayBuffer ? new Uint8Array(source) : source;
  if (all instanceof Uint8Array) return new Uint8Array(all.buffer, all.byteOffset + start, end - start);
  try {
    const part = await source.slice(start, end);
    return new Uint8Array(part instanceof Blob ? await part.arrayBuffer() : part);
  } catch (cause) {
    throw cause instanceof WlqError ? cause : new WlqError("io", `bytes ${start} to ${end}: ${cause}`, { cause });
  }
}
