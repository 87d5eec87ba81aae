// A sink that keeps what was written, for tests.

export interface Collected {
  readonly sink: WritableStream<Uint8Array>;
  /** Everything written so far. */
  bytes(): Uint8Array;
  /** Why it was aborted, if it was. */
  aborted(): unknown;
}

export function collect(): Collected {
  const chunks: Uint8Array[] = [];
  let reason: unknown;
  return {
    sink: new WritableStream<Uint8Array>({
      write: (chunk) => void chunks.push(chunk.slice()),
      abort: (why) => {
        reason = why ?? true;
      },
    }),
    bytes() {
      const out = new Uint8Array(chunks.reduce((sum, c) => sum + c.length, 0));
      let at = 0;
      for (const chunk of chunks) {
        out.set(chunk, at);
        at += chunk.length;
      }
      return out;
    },
    aborted: () => reason,
  };
}
