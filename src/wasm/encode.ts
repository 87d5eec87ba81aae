// The encode binary: kernels for clustering, assignment and packing.
import embedded from "../../build/encode.simd.wasm.txt";
import { type Binary, instantiate, sharedScope } from "./kernel.ts";
import { WorkScope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type EncodeKernels = Awaited<ReturnType<typeof import("../../build/encode.simd.js").instantiate>>;
export type EncodeScope = WorkScope<EncodeKernels>;

export const encodeBinary: Binary = { embedded, fallback: () => import("../../build/encode.scalar.wasm.txt") };

/** A scope of its own for work that awaits in between; its memory goes when the scope does. */
export function encodeScope(): EncodeScope {
  return new WorkScope(instantiate(encodeBinary) as unknown as EncodeKernels);
}

/** The scope that synchronous work shares. */
export function sharedEncodeScope(): EncodeScope {
  return sharedScope(encodeBinary, encodeScope);
}
