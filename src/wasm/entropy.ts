// The entropy binary: kernels that code codes at their entropy.
import embedded from "../../build/entropy.wasm.txt";
import { type Binary, instantiate, load } from "./kernel.ts";
import { WorkScope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type EntropyKernels = Awaited<ReturnType<typeof import("../../build/entropy.simd.js").instantiate>>;
export type EntropyScope = WorkScope<EntropyKernels>;

const binary: Binary = { embedded };

/** A scope of its own for work that awaits in between. */
export async function entropyScope(): Promise<EntropyScope> {
  await load(binary);
  return new WorkScope(instantiate(binary) as unknown as EntropyKernels);
}
