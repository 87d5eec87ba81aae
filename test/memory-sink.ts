// A sink that keeps what it gets, and how it ended.
import type { Sink } from "../src/index.ts";

/** Where a test's output goes. */
export interface MemorySink {
  readonly sink: Sink;
  /** What was written so far. */
  bytes(): Uint8Array<ArrayBuffer>;
  /** `closed` when whole, `aborted` when given up. */
  state(): "open" | "closed" | "aborted";
}

export function memorySink(): MemorySink {
  const parts: Uint8Array[] = [];
  let state: "open" | "closed" | "aborted" = "open";
  const sink = new WritableStream<Uint8Array>({
    write(chunk) {
      // a copy: the writer may use its buffer again
      parts.push(chunk.slice());
    },
    close() {
      state = "closed";
    },
    abort() {
      state = "aborted";
    },
  });
  return {
    sink,
    bytes() {
      const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of parts) {
        out.set(part, at);
        at += part.length;
      }
      return out;
    },
    state: () => state,
  };
}
