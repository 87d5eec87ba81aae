// The encode binary: kernels for clustering, assignment and packing.
import embedded from "../../build/encode.wasm.deflate";
import { type Binary, sharing } from "./kernel.ts";
import { WorkScope } from "./scope.ts";
import { WorkBinary } from "./work.ts";

/** The kernels, as the compiler types them. */
export type EncodeKernels = Awaited<ReturnType<typeof import("../../build/encode.simd.js").instantiate>>;
export type EncodeScope = WorkScope<EncodeKernels>;

export const encodeBinary: Binary = new WorkBinary(embedded);

/** A scope of its own for work that awaits in between; its memory goes when the scope does. */
export function encodeScope(): EncodeScope {
  return new WorkScope(encodeBinary.exports() as unknown as EncodeKernels);
}

/** The scope that synchronous work shares. */
export const sharedEncodeScope: () => EncodeScope = /* @__PURE__ */ sharing(encodeBinary, encodeScope);

/** Whether the runtime imports the SIMD binary itself (workerd): the scalar one must be handed in then. */
export const encodeImported: boolean = typeof embedded !== "string";
