// The decode binary: kernels for unpacking and look-up.
import embedded from "../../build/decode.simd.wasm.txt";
import { type Binary, instantiate, sharedScope } from "./kernel.ts";
import { Scope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type DecodeKernels = Awaited<ReturnType<typeof import("../../build/decode.simd.js").instantiate>>;
export type DecodeScope = Scope<DecodeKernels>;

export const decodeBinary: Binary = { embedded, fallback: () => import("../../build/decode.scalar.wasm.txt") };

/** A scope of its own for work that awaits in between; its memory goes when the scope does. */
export function decodeScope(): DecodeScope {
  return new Scope(instantiate(decodeBinary) as unknown as DecodeKernels);
}

/** The scope that synchronous work shares. */
export function sharedDecodeScope(): DecodeScope {
  return sharedScope(decodeBinary, decodeScope);
}
