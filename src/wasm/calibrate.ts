// The calibrate binary: kernels for the statistics of layer inputs and for rounding with them.
import embedded from "../../build/calibrate.simd.wasm.txt";
import { type Binary, instantiate, load, type WasmInput } from "./kernel.ts";
import { WorkScope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type CalibrateKernels = Awaited<ReturnType<typeof import("../../build/calibrate.simd.js").instantiate>>;
export type CalibrateScope = WorkScope<CalibrateKernels>;

const calibrateBinary: Binary = { embedded, fallback: () => import("../../build/calibrate.scalar.wasm.txt") };

/** Compiles the kernels, once; again where an option says which. */
export async function loadCalibrate(input?: WasmInput, simd?: boolean): Promise<void> {
  await load(calibrateBinary, input, simd);
}

/** A scope of its own; its memory goes when the scope does. */
export function calibrateScope(): CalibrateScope {
  return new WorkScope(instantiate(calibrateBinary) as unknown as CalibrateKernels);
}
