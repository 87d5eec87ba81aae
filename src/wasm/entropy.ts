// The entropy binary: kernels that code codes at their entropy.
import embedded from "../../build/entropy.simd.wasm.txt";
import type { Binary } from "./kernel.ts";
import type { WorkScope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type EntropyKernels = Awaited<ReturnType<typeof import("../../build/entropy.simd.js").instantiate>>;
export type EntropyScope = WorkScope<EntropyKernels>;

export const entropyBinary: Binary = { embedded };
