// The decode binary: kernels for unpacking and look-up.
import embedded from "../../build/decode.wasm.deflate";
import { Binary, sharing } from "./kernel.ts";
import { Scope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type DecodeKernels = Awaited<ReturnType<typeof import("../../build/decode.simd.js").instantiate>>;
export type DecodeScope = Scope<DecodeKernels>;

export const decodeBinary: Binary = new Binary(embedded);

/** A scope of its own for work that awaits in between; its memory goes when the scope does. */
export function decodeScope(): DecodeScope {
  return new Scope(decodeBinary.exports() as unknown as DecodeKernels);
}

/** The scope that synchronous work shares. */
export const sharedDecodeScope: () => DecodeScope = /* @__PURE__ */ sharing(decodeBinary, decodeScope);

/** Whether the runtime imports the SIMD binary itself (workerd): the scalar one must be handed in then. */
export const decodeImported: boolean = typeof embedded !== "string";
