// Init: the kernels of wlq/slq ahead of use, for runtimes that cannot compile bytes.
import { encodeBinary } from "../wasm/encode.ts";
import type { WasmInput } from "../wasm/kernel.ts";
import { slqBinary } from "../wasm/slq.ts";

/** Where the kernels come from; absent parts use the bytes in the package. */
export interface InitSlqOptions {
  readonly encode?: WasmInput;
  readonly slq?: WasmInput;
  /** `false` takes the scalar build, which gives the same bytes, slower. */
  readonly simd?: boolean;
}

/** Compiles the kernels. Optional: `createSlq` and `resumeSlq` do it. */
export async function initSlq({ encode, slq, simd = true }: InitSlqOptions = {}): Promise<void> {
  await Promise.all([encodeBinary.load(encode, simd), slqBinary.load(slq, simd)]);
}
