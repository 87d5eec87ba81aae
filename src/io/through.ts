// Through: a writable and a readable side with work between them, for `pipeThrough`; the reader sets the pace.
import { WlqError } from "../error.ts";
import { Inlet } from "./inlet.ts";
import { checkAborted } from "./sink.ts";

/** Two ends of one stream: `source.pipeThrough(pair).pipeTo(sink)`. */
export interface StreamPair {
  readonly writable: WritableStream<Uint8Array>;
  readonly readable: ReadableStream<Uint8Array>;
}

/**
 * The work runs when the reader asks for bytes, and reads the inlet when it needs some: nothing piles up on either side.
 * Whatever goes wrong, at either end or between, fails both ends with the same reason, tells `failed` and ends the work.
 */
export function through(
  work: (inlet: Inlet) => AsyncGenerator<Uint8Array, void, void>,
  signal: AbortSignal | undefined,
  failed: (reason: unknown) => void = () => {},
): StreamPair {
  let controller: ReadableStreamDefaultController<Uint8Array>;
  let over = false;
  const end = (): boolean => {
    if (over) return false;
    over = true;
    signal?.removeEventListener("abort", abort);
    return true;
  };
  const fail = (reason: unknown): void => {
    if (!end()) return;
    inlet.fail(reason);
    controller.error(reason);
    failed(reason);
    // runs its `finally`, behind the step in hand if there is one
    chunks.return().catch(() => {});
  };
  const abort = (): void => {
    try {
      checkAborted(signal);
    } catch (error) {
      fail(error);
    }
  };
  const inlet = new Inlet(fail);
  const chunks = work(inlet);
  const readable = new ReadableStream<Uint8Array>(
    {
      start(c) {
        controller = c;
      },
      async pull() {
        try {
          const { done, value } = await chunks.next();
          if (over) return;
          if (!done) return controller.enqueue(value);
          end();
          inlet.finish();
          controller.close();
        } catch (error) {
          fail(error);
        }
      },
      async cancel(given) {
        const reason = given ?? new WlqError("aborted", "stopped by the reader");
        end();
        inlet.fail(reason);
        failed(reason);
        await chunks.return().catch(() => {});
      },
    },
    { highWaterMark: 0 },
  );
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  return { writable: inlet.writable, readable };
}

/** Throws `limit` where a stream would have to hold more of its input than the caller allows. */
export function checkBuffer(bytes: number, maxBuffer: number, instead: string): void {
  if (bytes <= maxBuffer) return;
  throw new WlqError(
    "limit",
    `${bytes} bytes of the stream must be held at once, maxBuffer is ${maxBuffer}: allow more or use ${instead} with random access`,
  );
}
