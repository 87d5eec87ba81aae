// An inlet: what is written to a stream, as a source that is read once from start to end and keeps marked stretches.
import { malformed, WlqError } from "../error.ts";

interface Kept {
  readonly start: number;
  readonly end: number;
  /** Given up when its end has been read. */
  readonly once: boolean;
  bytes?: Uint8Array | undefined;
}

/** The writable side of a pair, read from within. One read at a time, each behind the one before or in what is kept. */
export class Inlet {
  readonly writable: WritableStream<Uint8Array>;
  /** Where the stream ends is not known yet: what the reader of headers takes for that. */
  readonly byteLength = 8;
  /** Sees all bytes in their order as they are read or passed over. */
  onBytes: ((bytes: Uint8Array) => void) | undefined;
  #controller: WritableStreamDefaultController | undefined;
  /** Of the chunk in hand, what is not read yet; the next is let in when it is empty. */
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;
  #ended = false;
  #failure: { readonly reason: unknown } | undefined;
  #accept: () => void = () => {};
  #wake: () => void = () => {};
  #finish: { resolve(): void; reject(reason: unknown): void } | undefined;
  #kept: Kept[] = [];
  #nextKept = 0;

  /** `failed` is told of an abort on the writable side. */
  constructor(failed: (reason: unknown) => void) {
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
        // abort() below waits for the write in hand, which may wait for a reader: this does not, but Node must be through
        controller.signal?.addEventListener("abort", () => queueMicrotask(() => failed(controller.signal.reason)));
      },
      write: (chunk) => {
        const bytes = asBytes(chunk);
        if (!bytes) {
          const error = new TypeError(
            `a chunk of the stream is ${chunk === null ? "null" : `a ${typeof chunk}`}, not bytes`,
          );
          failed(error);
          throw error;
        }
        if (bytes.length === 0) return;
        return new Promise((accept) => {
          this.#accept = accept;
          this.#chunk = bytes;
          this.#wake();
        });
      },
      close: () =>
        new Promise((resolve, reject) => {
          this.#ended = true;
          this.#finish = { resolve, reject };
          this.#wake();
        }),
      abort: failed,
    });
  }

  /** Bytes read or passed over so far. */
  get position(): number {
    return this.#at;
  }

  /** Keeps stretches, ascending and apart from each other, from when they come until they are read or released. */
  keep(stretches: readonly { readonly start: number; readonly end: number; readonly once: boolean }[]): void {
    this.#kept = stretches.filter(({ start, end }) => start < end);
    this.#nextKept = 0;
  }

  /** Gives up the kept stretch that begins at `start`. */
  release(start: number): void {
    const kept = this.#find(start);
    if (kept) kept.bytes = undefined;
  }

  /** The bytes from `start` to `end`. Throws `truncated` where the stream ends before. */
  async read(start: number, end: number): Promise<Uint8Array> {
    if (start === end) return new Uint8Array(0);
    const kept = this.#find(start);
    if (!kept) {
      await this.#goTo(start);
      return await this.#take(end - start);
    }
    if (!kept.bytes) await this.#goTo(kept.end);
    const bytes = (kept.bytes as Uint8Array).subarray(start - kept.start, end - kept.start);
    if (kept.once && end === kept.end) kept.bytes = undefined;
    return bytes;
  }

  /** Goes to byte `end`, where the stream must end. */
  async end(end: number): Promise<void> {
    await this.#goTo(end);
    if (await this.#more()) throw malformed(undefined, `the tensors end at byte ${end}, the stream goes on`);
  }

  /** All is read and written: closing the writable side is done. */
  finish(): void {
    this.#finish?.resolve();
  }

  /** Makes the writable side and every read fail. */
  fail(reason: unknown): void {
    if (this.#failure) return;
    this.#failure = { reason };
    this.#chunk = new Uint8Array(0);
    this.#kept = [];
    this.#controller?.error(reason);
    this.#finish?.reject(reason);
    this.#accept();
    this.#wake();
  }

  #find(at: number): Kept | undefined {
    let low = 0;
    let high = this.#kept.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#kept[middle] as Kept).end <= at) low = middle + 1;
      else high = middle;
    }
    const kept = this.#kept[low];
    return kept && kept.start <= at ? kept : undefined;
  }

  /** Passes over what nobody wants, and takes what is kept on the way. */
  async #goTo(to: number): Promise<void> {
    if (to < this.#at) throw new Error(`byte ${to} of a stream is read after byte ${this.#at}`);
    for (;;) {
      const kept = this.#kept[this.#nextKept];
      if (!kept || kept.start >= to) break;
      await this.#skip(kept.start);
      kept.bytes = await this.#take(kept.end - kept.start);
      this.#nextKept++;
    }
    await this.#skip(to);
  }

  async #skip(to: number): Promise<void> {
    while (this.#at < to) {
      if (!(await this.#more())) throw this.#truncated(to);
      this.#advance(to - this.#at);
    }
  }

  async #take(count: number): Promise<Uint8Array> {
    const out = room(count);
    for (let filled = 0; filled < count; ) {
      if (!(await this.#more())) throw this.#truncated(this.#at + count - filled);
      const bytes = this.#advance(count - filled);
      out.set(bytes, filled);
      filled += bytes.length;
    }
    return out;
  }

  #advance(most: number): Uint8Array {
    const bytes = this.#chunk.subarray(0, most);
    this.#at += bytes.length;
    this.onBytes?.(bytes);
    this.#chunk = this.#chunk.subarray(bytes.length);
    // not before the caller has copied, which it does before it awaits
    if (this.#chunk.length === 0) queueMicrotask(this.#accept);
    return bytes;
  }

  /** Whether there are bytes in hand, after waiting for them. */
  async #more(): Promise<boolean> {
    while (this.#chunk.length === 0 && !this.#ended && !this.#failure) {
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
    if (this.#failure) throw this.#failure.reason;
    return this.#chunk.length > 0;
  }

  #truncated(wanted: number): WlqError {
    return new WlqError("truncated", `bytes up to ${wanted} are wanted: the stream ends at ${this.#at}`);
  }
}

function asBytes(chunk: unknown): Uint8Array | undefined {
  if (chunk instanceof Uint8Array) return chunk;
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  return undefined;
}

function room(bytes: number): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new WlqError("resources", `${bytes} bytes of a stream have no room in memory`, { cause });
  }
}
