// Tensor stream: one tensor of a model file or container piece by piece, for tensors that are larger than memory.
import { isCoded } from "./container/coding.ts";
import { find, openContainer } from "./container/reader.ts";
import { decodedSegment } from "./decompress.ts";
import { WlqError } from "./error.ts";
import type { Format } from "./formats/format.ts";
import { holdsContainer } from "./inspect.ts";
import { copySegment, type LazySegment } from "./io/segment.ts";
import { type ByteSource, byteSource, type Resolve, type Source } from "./io/source.ts";
import { openModel } from "./open.ts";
import { decodeBinary, decodeScope } from "./wasm/decode.ts";
import { load } from "./wasm/kernel.ts";

export interface TensorStreamOptions {
  /** `dtype`: coded tensors in the dtype they had. Default `float32`; other tensors always keep theirs. */
  readonly as?: "float32" | "dtype";
  /** Formats besides safetensors, for tensors of a model file: `[onnx()]`. */
  readonly formats?: readonly Format[];
  /** Finds companion files of a model file (ONNX external data). */
  readonly resolve?: Resolve;
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

interface Part {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly segment: LazySegment;
}

/**
 * Opens one tensor of a container, decoded, or of a model file, as a stream. Holds about 1 MiB of it, however large it
 * is, and reads on when that was taken.
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
  const bytes = byteSource(source);
  const part = (await holdsContainer(bytes)) ? coded(bytes, name, options) : plain(bytes, name, options);
  const { dtype, shape, segment } = await part;
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

async function coded(source: ByteSource, name: string, { as }: TensorStreamOptions): Promise<Part> {
  await load(decodeBinary);
  const container = await openContainer(source, decodeScope(), true);
  const tensor = find(container.header.tensors, name);
  const { shape } = tensor;
  if (!isCoded(tensor)) {
    const read = (start: number, end: number): Promise<Uint8Array> => container.read(tensor, start, end);
    return { dtype: tensor.dtype, shape, segment: copySegment({ read }, 0, tensor.byteLength) };
  }
  const dtype = as === "dtype" ? tensor.dtype : "F32";
  return { dtype, shape, segment: decodedSegment(container, tensor, dtype) };
}

async function plain(source: ByteSource, name: string, options: TensorStreamOptions): Promise<Part> {
  const { formats = [], resolve } = options;
  const { tensors } = await openModel(source, formats, { resolve });
  const tensor = tensors.find((t) => t.name === name);
  if (!tensor) throw new WlqError("not-found", `the model has no tensor "${name}"`, { tensor: name });
  const { dtype, shape, byteLength } = tensor;
  return { dtype, shape, segment: copySegment(tensor, 0, byteLength) };
}
