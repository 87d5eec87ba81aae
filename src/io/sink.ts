// A sink: where bytes go, in order; written with back pressure, closed when whole, aborted when not.
import { WlqError } from "../error.ts";
import { type Segment, segmentChunks } from "./segment.ts";

export type Sink = WritableStream<Uint8Array>;

/** Throws `aborted` if the caller's signal says so. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    const { reason } = signal;
    const why = reason instanceof Error ? reason.message : String(reason ?? "no reason given");
    throw new WlqError("aborted", `stopped by the caller: ${why}`, { cause: reason });
  }
}

/** A sink and what is to be written to it. */
export interface Writing {
  readonly sink: Sink;
  readonly segments: Iterable<Segment>;
}

/**
 * Writes segments to their sinks, one sink after the other, and closes the sinks once all is written; on any error
 * aborts them all, so that file sinks leave nothing behind. Every lazy segment must give just the bytes it promised.
 * Returns the bytes written.
 */
export async function writeAll(writings: readonly Writing[], signal?: AbortSignal): Promise<number> {
  const writers = writings.map(({ sink }) => sink.getWriter());
  let total = 0;
  try {
    for (let i = 0; i < writings.length; i++) {
      const writer = writers[i] as WritableStreamDefaultWriter<Uint8Array>;
      for await (const chunk of segmentChunks((writings[i] as Writing).segments)) {
        checkAborted(signal);
        await writer.ready;
        // a failing write fails the stream, which the next `ready` or `close` reports
        writer.write(chunk).catch(() => {});
        total += chunk.length;
      }
    }
    checkAborted(signal);
    for (const writer of writers) await writer.close();
    return total;
  } catch (error) {
    for (const writer of writers) await writer.abort(error).catch(() => {});
    throw sinkError(error);
  } finally {
    for (const writer of writers) writer.releaseLock();
  }
}

/** Errors of the file system become `io` or `resources`; ours and programming errors stay. */
function sinkError(error: unknown): unknown {
  if (error instanceof WlqError || !(error instanceof Error)) return error;
  const { code } = error as Error & { code?: unknown };
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
    return new WlqError("resources", `no room for the output: ${error.message}`, { cause: error });
  }
  if (typeof code === "string") return new WlqError("io", `writing failed: ${error.message}`, { cause: error });
  return error;
}

/** A sink that keeps nothing: for dry runs. */
export function discardSink(): Sink {
  return new WritableStream<Uint8Array>();
}
