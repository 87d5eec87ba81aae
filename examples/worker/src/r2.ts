// R2 as a source and a sink of wlq: ranged reads, and multipart uploads that leave nothing behind when they break off.
import type { RangeSource, Sink } from "wlq";

/** An object read in ranges. It is read in the version that `object` is, or not at all. */
export function r2Source(bucket: R2Bucket, { key, size, etag }: R2Object): RangeSource {
  const get = async (offset: number, length: number): Promise<R2ObjectBody> => {
    const part = await bucket.get(key, { range: { offset, length }, onlyIf: { etagMatches: etag } });
    if (!part || !("body" in part)) throw new Error(`${key} was replaced or deleted while it was read`);
    return part;
  };
  return {
    byteLength: size,
    slice: async (start, end) => (await get(start, end - start)).arrayBuffer(),
    // weights are read many times: into the same memory each time, not into megabytes that wait to be collected
    async readInto(room, start) {
      const { body } = await get(start, room.length);
      const { value } = await body.getReader({ mode: "byob" }).readAtLeast(room.length, room);
      return value ?? new Uint8Array();
    },
  };
}

// R2 wants parts of equal size, at least 5 MiB, at most 10,000 of them: objects of up to 50 GiB.
const PART_BYTES = 5 << 20;

/** An object written as a multipart upload: it appears when the sink is closed, and never if the sink is aborted. */
export function r2Sink(bucket: R2Bucket, key: string, options?: R2MultipartOptions): Sink {
  const part = new Uint8Array(PART_BYTES);
  const parts: R2UploadedPart[] = [];
  let filled = 0;
  let upload: R2MultipartUpload | undefined;
  const send = async (): Promise<void> => {
    upload ??= await bucket.createMultipartUpload(key, options);
    parts.push(await upload.uploadPart(parts.length + 1, part.subarray(0, filled)));
    filled = 0;
  };
  const discard = async (): Promise<void> => {
    await upload?.abort();
    upload = undefined;
  };
  // a stream whose write or close fails is not aborted by anyone else
  const orDiscard = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      await discard();
      throw error;
    }
  };
  return new WritableStream<Uint8Array>({
    write: (chunk) =>
      orDiscard(async () => {
        for (let at = 0; at < chunk.length; ) {
          const taken = chunk.subarray(at, at + PART_BYTES - filled);
          part.set(taken, filled);
          filled += taken.length;
          at += taken.length;
          if (filled === PART_BYTES) await send();
        }
      }),
    close: () =>
      orDiscard(async () => {
        if (filled > 0 || parts.length === 0) await send();
        await upload?.complete(parts);
      }),
    abort: discard,
  });
}
