// wlq/decoder: reads single tensors out of a container, and carries no encoder.
import { roundFormat } from "./container/coding.ts";
import { Container } from "./container/reader.ts";
import { WlqError } from "./error.ts";
import { byteSource, type Source } from "./io/source.ts";
import { countElements } from "./tensor.ts";
import { decodeBinary, decodeScope } from "./wasm/decode.ts";
import type { WasmInput } from "./wasm/kernel.ts";

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
  /** Values a codebook; absent for tensors that passed through. */
  readonly levels?: number;
}

/** A tensor: float32 for coded ones, the original's elements for others (F16 and BF16 as their bits). */
export interface DecodedTensor extends TensorInfo {
  readonly data: TensorData;
}

export type TensorData =
  | Float64Array | Float32Array | BigInt64Array | BigUint64Array | Int32Array | Uint32Array | Int16Array | Uint16Array
  | Int8Array | Uint8Array;

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
  /** The original's tensors, in file order. */
  readonly names: readonly string[];
  info(name: string): TensorInfo;
  /** Reads, checks and decodes one tensor. Throws `not-found`, `checksum`, `malformed`, `truncated`. */
  tensor(name: string, options?: TensorOptions): Promise<DecodedTensor>;
  /** All tensors, one after the other. */
  tensors(options?: TensorOptions): AsyncGenerator<DecodedTensor, void, void>;
}

/** Opens a container; reads its header only. */
export async function open(source: Source, options: OpenDecoderOptions = {}): Promise<Decoder> {
  if (!decodeBinary.ready || options.wasm) await decodeBinary.load(options.wasm);
  const container = await Container.open(byteSource(source), decodeScope(), options.check ?? true);
  return decoderOf(container);
}

function decoderOf(container: Container): Decoder {
  const { header } = container;
  // a scope is used by one call at a time
  let last: Promise<unknown> = Promise.resolve();
  const decoder: Decoder = {
    format: header.format,
    metadata: header.metadata,
    names: header.names,
    info(name) {
      const coded = header.coded.get(name);
      if (!coded) {
        if (!header.names.includes(name)) throw unknown(name);
        const { dtype, shape, byteLength } = container.part(name);
        return { name, dtype, shape, byteLength };
      }
      const { dtype, shape, levels, codebookName, scaleName, codesName } = coded;
      const parts = [codebookName, codesName, ...(scaleName === undefined ? [] : [scaleName])];
      const byteLength = parts.reduce((sum, part) => sum + container.part(part).byteLength, 0);
      return { name, dtype, shape, byteLength, levels };
    },
    async tensor(name, tensorOptions = {}) {
      const info = decoder.info(name);
      const turn = last.then(() => dataOf(container, info, tensorOptions.as ?? "float32"));
      last = turn.catch(() => {});
      return { ...info, data: await turn };
    },
    async *tensors(tensorOptions) {
      for (const name of header.names) yield await decoder.tensor(name, tensorOptions);
    },
  };
  return decoder;
}

function unknown(name: string): WlqError {
  return new WlqError("not-found", `the file has no tensor "${name}"`, { tensor: name });
}

async function dataOf(container: Container, info: TensorInfo, as: "float32" | "dtype"): Promise<TensorData> {
  const { name, dtype, shape } = info;
  if (info.levels === undefined) {
    const part = container.part(name);
    return typed(dtype, await container.read(part, 0, part.byteLength));
  }
  const count = countElements(shape, name);
  const half = as === "dtype" ? roundFormat(dtype) : 0;
  const data =
    half > 0 ? new Uint16Array(count) : as === "dtype" && dtype === "F64" ? new Float64Array(count) : new Float32Array(count);
  for await (const { scope, values, start, count: n } of container.tiles(name)) {
    // 16 bits fit in the place of 32
    if (half === 1) scope.kernels.f32ToF16(values, values, n);
    else if (half === 2) scope.kernels.f32ToBf16(values, values, n);
    data.set(half > 0 ? scope.u16(values, n) : scope.f32(values, n), start);
  }
  return data;
}

const ARRAYS: Readonly<Record<string, new (buffer: ArrayBuffer) => TensorData>> = {
  F64: Float64Array, F32: Float32Array, I64: BigInt64Array, U64: BigUint64Array, I32: Int32Array, U32: Uint32Array,
  I16: Int16Array, U16: Uint16Array, F16: Uint16Array, BF16: Uint16Array, I8: Int8Array,
};

/** A copy of the bytes as elements of their dtype; bytes where JavaScript has no such elements. */
function typed(dtype: string, bytes: Uint8Array): TensorData {
  const Elements = ARRAYS[dtype] ?? Uint8Array;
  return new Elements(bytes.slice().buffer as ArrayBuffer);
}
