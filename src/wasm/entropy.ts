// The entropy binary: kernels that code codes at their entropy.
import embedded from "../../build/entropy.simd.wasm.txt";
import { type Binary, instantiate, load } from "./kernel.ts";
import { WorkScope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type EntropyKernels = Awaited<ReturnType<typeof import("../../build/entropy.simd.js").instantiate>>;
export type EntropyScope = WorkScope<EntropyKernels>;

const binary: Binary = { embedded };

const scopes = new WeakMap<object, EntropyScope>();

/** The scope that goes with `owner`, the scope of an operation: one instance for all its tensors, gone with it. */
export async function entropyScope(owner: object): Promise<EntropyScope> {
  await load(binary);
  let scope = scopes.get(owner);
  if (!scope) {
    scope = new WorkScope(instantiate(binary) as unknown as EntropyKernels);
    scopes.set(owner, scope);
  }
  return scope;
}
