// Init: the kernels of wlq/calibrate ahead of use, for runtimes that cannot compile bytes.
import { loadCalibrate } from "../wasm/calibrate.ts";
import type { WasmInput } from "../wasm/kernel.ts";

/** Where the kernels come from; absent, they come from the bytes in the package. */
export interface InitCalibrateOptions {
  readonly calibrate?: WasmInput;
  /** `false` takes the scalar build, which gives the same bytes, slower. */
  readonly simd?: boolean;
}

/** Compiles the kernels. Optional: `createObserver` and `calibration` do it. */
export async function initCalibrate({ calibrate, simd = true }: InitCalibrateOptions = {}): Promise<void> {
  await loadCalibrate(calibrate, simd);
}
