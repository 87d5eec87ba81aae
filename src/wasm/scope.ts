// Scope: the one place that owns a Wasm memory, hands out room in it and makes views of it.
import { WlqError } from "../error.ts";

const PAGE = 65536;

/** A kernel instance with its memory as a stack: what is reserved after `mark` is freed by `release(mark)`. */
export class Scope<Kernels extends { readonly memory: WebAssembly.Memory }> {
  readonly kernels: Kernels;
  // kernels have no static data; the first bytes stay free so that no valid pointer is 0
  #top = 64;

  constructor(kernels: Kernels) {
    this.kernels = kernels;
  }

  /** Pointer to `bytes` bytes, 16-aligned, with 16 more behind that kernels may over-read or over-write. */
  reserve(bytes: number): number {
    const pointer = this.#top;
    const top = pointer + ((bytes + 31) & ~15);
    const memory = this.kernels.memory;
    const missing = top - memory.buffer.byteLength;
    if (missing > 0) {
      try {
        memory.grow(Math.ceil(missing / PAGE));
      } catch (cause) {
        throw new WlqError("resources", `the Wasm memory cannot grow to ${top} bytes`, { cause });
      }
    }
    this.#top = top;
    return pointer;
  }

  mark(): number {
    return this.#top;
  }

  release(mark: number): void {
    this.#top = mark;
  }

  // Views die when memory grows: make them after the last reserve, use them at once.
  u8(pointer: number, count: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.kernels.memory.buffer as ArrayBuffer, pointer, count);
  }

  u16(pointer: number, count: number): Uint16Array<ArrayBuffer> {
    return new Uint16Array(this.kernels.memory.buffer as ArrayBuffer, pointer, count);
  }

  f32(pointer: number, count: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.kernels.memory.buffer as ArrayBuffer, pointer, count);
  }
}

/** A scope with the views that only encoders need: a decoder bundle does without. */
export class WorkScope<Kernels extends { readonly memory: WebAssembly.Memory }> extends Scope<Kernels> {
  i32(pointer: number, count: number): Int32Array<ArrayBuffer> {
    return new Int32Array(this.kernels.memory.buffer as ArrayBuffer, pointer, count);
  }

  f64(pointer: number, count: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.kernels.memory.buffer as ArrayBuffer, pointer, count);
  }
}
