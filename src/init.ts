// Init: compiles the Wasm kernels ahead of use, from the embedded bytes or from what the caller has.
import { decodeBinary } from "./wasm/decode.ts";
import { encodeBinary } from "./wasm/encode.ts";
import { type InitInput, loadFrom } from "./wasm/input.ts";

/** Where the kernels come from; absent parts use the bytes in the package. */
export interface InitOptions {
  readonly encode?: InitInput;
  readonly decode?: InitInput;
  /** `false` takes the scalar build, which gives the same bytes, slower. Absent: SIMD where the engine has it. */
  readonly simd?: boolean;
}

/**
 * Compiles the kernels. Optional: the first asynchronous call does it. Needed before the Sync functions, and where a
 * runtime cannot compile from bytes. Called again with an option, it replaces the kernels for what begins after it.
 *
 * @throws WlqError `unsupported` where the runtime refuses to compile, `io` where a binary cannot be fetched
 */
export async function init({ encode, decode, simd }: InitOptions = {}): Promise<void> {
  await Promise.all([loadFrom(encodeBinary, "encode", encode, simd), loadFrom(decodeBinary, "decode", decode, simd)]);
}
