// The slq binary: kernels for freezing, and for the grids and the reference of SLQ rounds.
import embedded from "../../build/slq.simd.wasm.txt";
import { type Binary, instantiate } from "./kernel.ts";
import { WorkScope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type SlqKernels = Awaited<ReturnType<typeof import("../../build/slq.simd.js").instantiate>>;
export type SlqScope = WorkScope<SlqKernels>;

export const slqBinary: Binary = { embedded, fallback: () => import("../../build/slq.scalar.wasm.txt") };

/** A scope of its own; its memory goes when the scope does. */
export function slqScope(): SlqScope {
  return new WorkScope(instantiate(slqBinary) as unknown as SlqKernels);
}
