// The calibrate binary: kernels for the statistics of layer inputs and for rounding with them.
import embedded from "../../build/calibrate.wasm.deflate";
import { Binary } from "./kernel.ts";
import { WorkScope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type CalibrateKernels = Awaited<ReturnType<typeof import("../../build/calibrate.simd.js").instantiate>>;
export type CalibrateScope = WorkScope<CalibrateKernels>;

export const calibrateBinary: Binary = new Binary(embedded);

/** A scope of its own; its memory goes when the scope does. */
export function calibrateScope(): CalibrateScope {
  return new WorkScope(calibrateBinary.exports() as unknown as CalibrateKernels);
}
