// Init: compiles the Wasm kernels ahead of use, from the embedded bytes or from what the caller has.
import { decodeBinary } from "./wasm/decode.ts";
import { encodeBinary } from "./wasm/encode.ts";
import type { Binary, WasmInput } from "./wasm/kernel.ts";

/** A binary, or where to fetch it. */
export type InitInput = WasmInput | Response | URL;

/** Where the kernels come from; absent parts use the bytes in the package. */
export interface InitOptions {
  readonly encode?: InitInput;
  readonly decode?: InitInput;
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
  const load = async (binary: Binary, input: InitInput | undefined): Promise<void> => {
    const response = input instanceof URL ? await fetch(input) : input;
    await binary.load(response instanceof Response ? await response.arrayBuffer() : response, simd);
  };
  await Promise.all([load(encodeBinary, options.encode), load(decodeBinary, options.decode)]);
}
