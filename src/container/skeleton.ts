// Skeleton: the model file that a container's tensors were cut out of, deflated where that makes it smaller.
import { malformed, WlqError } from "../error.ts";
import { type Segment, segmentChunks, segmentsByteLength } from "../io/segment.ts";

/** Metadata key that says how the skeleton is stored, where it is not as it is. */
export const MODEL_KEY = "wlq.model";
const DEFLATE = "deflate/";
// A graph is names, mostly, that come again and again; what makes a skeleton larger is weights, which hardly shrink.
const MOST_DEFLATED = 4_194_304;
// What a reader holds of a stream that may come from a stranger.
const MOST_INFLATED = 67_108_864;

/** A skeleton as it is stored: what the metadata say of it, or `undefined`, and its bytes. */
export interface StoredSkeleton {
  readonly coding: string | undefined;
  readonly content: readonly Segment[];
}

/** Deflates a skeleton: a zlib stream (RFC 1950), the same bytes in every runtime, which a CompressionStream is not. */
export async function deflated(content: readonly Segment[]): Promise<StoredSkeleton> {
  const byteLength = segmentsByteLength(content);
  if (byteLength > MOST_DEFLATED) return { coding: undefined, content };
  const bytes = new Uint8Array(byteLength);
  let at = 0;
  for await (const chunk of segmentChunks(content)) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  const { zlibSync } = await import("fflate");
  const small = zlibSync(bytes, { level: 9 });
  if (small.length >= byteLength) return { coding: undefined, content: [bytes] };
  return { coding: DEFLATE + byteLength, content: [small] };
}

/** Bytes of the skeleton that is stored so; `undefined` where it is stored as it is. Throws `unsupported` and `limit`. */
export function inflatedBytes(coding: string | undefined): number | undefined {
  if (coding === undefined) return undefined;
  const digits = coding.startsWith(DEFLATE) ? coding.slice(DEFLATE.length) : "";
  const byteLength = /^\d+$/.test(digits) ? Number(digits) : Number.NaN;
  if (!Number.isSafeInteger(byteLength)) throw new WlqError("unsupported", `the model is stored as "${coding}"`);
  if (byteLength <= MOST_INFLATED) return byteLength;
  throw new WlqError("limit", `the model has ${byteLength} bytes without its tensors, ${MOST_INFLATED} are the most`);
}

/** The skeleton's bytes, as many as were said. Throws `malformed` where the stream is damaged or has others. */
export async function inflated(stored: Uint8Array, byteLength: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteLength);
  const differs = (size: number | string): WlqError =>
    malformed(undefined, `the model inflates to ${size} bytes, the header says ${byteLength}`);
  let at = 0;
  try {
    const stream = new Blob([stored as Uint8Array<ArrayBuffer>]).stream();
    const reader = stream.pipeThrough(new DecompressionStream("deflate")).getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      if (at + next.value.length > byteLength) {
        reader.cancel().catch(() => {});
        throw differs(`${at + next.value.length} or more`);
      }
      bytes.set(next.value, at);
      at += next.value.length;
    }
  } catch (cause) {
    if (cause instanceof WlqError) throw cause;
    throw new WlqError("malformed", `the model, ${stored.length} bytes, cannot be inflated: ${cause}`, { cause });
  }
  if (at < byteLength) throw differs(at);
  return bytes;
}
