// Tensor stream: one tensor of a container decoded piece by piece, for tensors that are larger than memory.
import { isCoded } from "./container/coding.ts";
import { find, openContainer } from "./container/reader.ts";
import type { SafeTensor } from "./container/safetensors.ts";
import { decodedSegment } from "./decompress.ts";
import { copySegment } from "./io/segment.ts";
import { byteSource, type Source } from "./io/source.ts";
import { decodeBinary, decodeScope } from "./wasm/decode.ts";

export interface TensorStreamOptions {
  /** `dtype`: coded tensors in the dtype they had. Default `float32`; tensors that passed through always keep theirs. */
  readonly as?: "float32" | "dtype";
}

/** A tensor and its elements, little-endian and row-major, as a stream. */
export interface TensorStream {
  readonly name: string;
  /** Of the elements that `body` gives. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes that `body` gives in all. */
  readonly byteLength: number;
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
}

/**
 * Opens one tensor of a container as a stream. Holds about 1 MiB of it, however large it is, and reads on when that
 * was taken.
 *
 * @throws WlqError `not-found`, `malformed`, `truncated`, `unsupported`; the stream also fails with `checksum`
 * @example
 * const { dtype, shape, body } = await tensorStream(await fileSource("model.wlq.safetensors"), "embed.weight");
 */
export async function tensorStream(
  source: Source,
  name: string,
  options: TensorStreamOptions = {},
): Promise<TensorStream> {
  await decodeBinary.load();
  const container = await openContainer(byteSource(source), decodeScope(), true);
  const tensor = find(container.header.tensors, name);
  const { shape } = tensor;
  let { dtype } = tensor;
  let segment = copySegment(
    { read: (from, to) => container.read(tensor as SafeTensor, from, to) },
    0,
    tensor.byteLength,
  );
  if (isCoded(tensor)) {
    const own = options.as === "dtype" ? tensor.dtype : "F32";
    segment = decodedSegment(container, tensor, own);
    dtype = own;
  }
  const chunks = segment.chunks()[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value as Uint8Array<ArrayBuffer>);
      },
      async cancel() {
        await chunks.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  return { name, dtype, shape, byteLength: segment.byteLength, body };
}
