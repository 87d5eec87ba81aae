// Init: the kernels of wlq/slq ahead of use, for runtimes that cannot compile bytes.
import { encodeBinary } from "../wasm/encode.ts";
import { type InitInput, loadFrom } from "../wasm/input.ts";
import { slqBinary } from "../wasm/slq.ts";

/** Where the kernels come from; absent parts use the bytes in the package. */
export interface InitSlqOptions {
  readonly encode?: InitInput;
  readonly slq?: InitInput;
  /** `false` takes the scalar build, which gives the same bytes, slower. Absent: SIMD where the engine has it. */
  readonly simd?: boolean;
}

/** Compiles the kernels. Optional: `createSlq` and `resumeSlq` do it. */
export async function initSlq({ encode, slq, simd }: InitSlqOptions = {}): Promise<void> {
  await Promise.all([loadFrom(encodeBinary, "encode", encode, simd), loadFrom(slqBinary, "slq", slq, simd)]);
}
