// The encode binary: kernels for clustering, assignment and packing.
import embedded from "../../build/encode.wasm.deflate";
import { Binary, checkReady } from "./kernel.ts";
import { Scope } from "./scope.ts";

/** The kernels, as the compiler types them. */
export type EncodeKernels = Awaited<ReturnType<typeof import("../../build/encode.simd.js").instantiate>>;

/** With the views that only clustering needs. */
export class EncodeScope extends Scope<EncodeKernels> {
  i32(pointer: number, count: number): Int32Array<ArrayBuffer> {
    return new Int32Array(this.kernels.memory.buffer as ArrayBuffer, pointer, count);
  }

  f64(pointer: number, count: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.kernels.memory.buffer as ArrayBuffer, pointer, count);
  }
}

export const encodeBinary: Binary = new Binary(embedded);

let shared: EncodeScope | undefined;

/** A scope of its own for work that awaits in between; its memory goes when the scope does. */
export function encodeScope(): EncodeScope {
  return new EncodeScope(encodeBinary.exports() as unknown as EncodeKernels);
}

/** The scope that synchronous work shares. */
export function sharedEncodeScope(): EncodeScope {
  checkReady(encodeBinary);
  shared ??= encodeScope();
  return shared;
}
