// wlq/decoder: reads single tensors out of a container, and carries no encoder.
import { type CodedTensor, isCoded, roundFormat } from "./container/coding.ts";
import { type Container, copy, find, openContainer } from "./container/reader.ts";
import type { SafeTensor } from "./container/safetensors.ts";
import { WlqError } from "./error.ts";
import { byteSource, type Source } from "./io/source.ts";
import { decodeBinary, decodeScope } from "./wasm/decode.ts";
import type { WasmInput } from "./wasm/kernel.ts";
import { load } from "./wasm/kernel.ts";

export { WlqError, type WlqErrorCode } from "./error.ts";
export type { Source } from "./io/source.ts";

/** What is known of a tensor before its bytes are read. */
export interface TensorInfo {
  readonly name: string;
  /** The original's dtype. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes it takes in the container. */
  readonly byteLength: number;
  /** Values a codebook; undefined for tensors that passed through. */
  readonly levels?: number | undefined;
}

/** A tensor: float32 for coded ones, the original's elements for others (F16 and BF16 as their bits). */
export interface DecodedTensor extends TensorInfo {
  readonly data: TensorData;
}

export type TensorData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

export interface TensorOptions {
  /** `dtype`: F16 and BF16 tensors as their 16 bits (Uint16Array), F64 as Float64Array. Default `float32`. */
  readonly as?: "float32" | "dtype";
}

export interface OpenDecoderOptions {
  /** Whether to compare checksums. Default true. */
  readonly check?: boolean;
  /** The decode binary, where the runtime cannot compile the embedded one. */
  readonly wasm?: WasmInput;
}

/** An open container. */
export interface Decoder {
  /** Format of the model that was compressed. */
  readonly format: string;
  /** The original's metadata. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The original's tensors: those that passed through, in file order, then the coded ones. */
  readonly names: readonly string[];
  info(name: string): TensorInfo;
  /** Reads, checks and decodes one tensor. Throws `not-found`, `checksum`, `malformed`, `truncated`. */
  tensor(name: string, options?: TensorOptions): Promise<DecodedTensor>;
  /** All tensors, one after the other. */
  tensors(options?: TensorOptions): AsyncGenerator<DecodedTensor, void, void>;
}

/** Opens a container; reads its header and checksums. */
export async function open(source: Source, options: OpenDecoderOptions = {}): Promise<Decoder> {
  await load(decodeBinary, options.wasm);
  const container = await openContainer(byteSource(source), decodeScope(), options.check ?? true);
  const { format, metadata, tensors } = container.header;
  // a scope is used by one call at a time
  let last: Promise<unknown> = Promise.resolve();
  const decoder: Decoder = {
    format,
    metadata,
    names: [...tensors.keys()],
    info: (name) => infoOf(find(tensors, name)),
    async tensor(name, { as } = {}) {
      const tensor = find(tensors, name);
      const turn = last.then(() => dataOf(container, tensor, as === "dtype"));
      last = turn.catch(() => {});
      return { ...infoOf(tensor), data: await turn };
    },
    async *tensors(tensorOptions) {
      for (const name of tensors.keys()) yield decoder.tensor(name, tensorOptions);
    },
  };
  return decoder;
}

function infoOf(tensor: SafeTensor | CodedTensor): TensorInfo {
  const { name, dtype, shape, byteLength, levels } = tensor as CodedTensor;
  return { name, dtype, shape, byteLength, levels };
}

/** Coded tensors as float32 or, with `own`, in their dtype; others always in theirs. */
async function dataOf(container: Container, tensor: SafeTensor | CodedTensor, own: boolean): Promise<TensorData> {
  const Elements = ARRAYS[tensor.dtype] ?? Uint8Array;
  if (!isCoded(tensor)) return new Elements(copy(await container.read(tensor)));
  const data = room(own ? Elements : Float32Array, tensor);
  const format = own && roundFormat(tensor.dtype);
  for await (const { scope, values, start, count } of container.tiles(tensor)) {
    // 16 bits fit in the place of 32
    if (format) scope.kernels.f32To16(values, values, count, format);
    (data as Float32Array).set(format ? scope.u16(values, count) : scope.f32(values, count), start);
  }
  return data;
}

/** An array for a coded tensor, which may be larger than memory. */
function room(Elements: new (length: number) => TensorData, { name, grouping }: CodedTensor): TensorData {
  try {
    return new Elements(grouping.count);
  } catch (cause) {
    throw new WlqError("resources", `tensor "${name}": ${cause}`, { tensor: name, cause });
  }
}

/** Elements in JavaScript; other dtypes come as bytes. */
const ARRAYS: Readonly<Record<string, new (content: ArrayBuffer | number) => TensorData>> = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
};
