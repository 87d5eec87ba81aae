// Init: compiles the Wasm kernels ahead of use, from the embedded bytes or from what the caller has.
import { decodeBinary } from "./wasm/decode.ts";
import { encodeBinary } from "./wasm/encode.ts";
import type { WasmInput } from "./wasm/kernel.ts";

/** Where the kernels come from; absent parts use the bytes in the package. */
export interface InitOptions {
  readonly encode?: WasmInput;
  readonly decode?: WasmInput;
  /** `false` takes the scalar build, which gives the same bytes, slower. */
  readonly simd?: boolean;
}

/**
 * Compiles the kernels. Optional: the first asynchronous call does it. Needed before the Sync functions, and where a
 * runtime cannot compile from bytes.
 *
 * @throws WlqError `unsupported` where the runtime refuses to compile
 */
export async function init(options: InitOptions = {}): Promise<void> {
  const simd = options.simd ?? true;
  await Promise.all([encodeBinary.load(options.encode, simd), decodeBinary.load(options.decode, simd)]);
}
