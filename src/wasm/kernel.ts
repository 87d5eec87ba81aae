// Kernel loading: Wasm bytes or modules to instances, SIMD where the engine has it, once per binary.
import { WlqError } from "../error.ts";

/** What `init` accepts for a binary. */
export type WasmInput = WebAssembly.Module | ArrayBuffer | Uint8Array<ArrayBuffer> | Response | URL;

type Embedded = Uint8Array<ArrayBuffer> | WebAssembly.Module;

/**
 * A binary: compiled at first use or by `init`, then instantiated as often as needed.
 *
 * Embedded as raw deflate of: SIMD build's size (u32, little-endian), SIMD build, scalar build. Text that is base64
 * hides from gzip what the two have in common; compressed before, they cost half.
 */
export class Binary {
  readonly #embedded: Embedded;
  #module: WebAssembly.Module | undefined;

  constructor(embedded: Embedded) {
    this.#embedded = embedded;
  }

  /** Compiles, asynchronously; `input` replaces the embedded bytes, `simd: false` forces the scalar build. */
  async load(input?: WasmInput, simd = true): Promise<void> {
    if (input !== undefined) this.#module = await compile(input);
    else if (!this.#module || !simd) this.#module = await compile(await builtIn(this.#embedded, simd));
  }

  /** An instance's exports. Throws `not-ready` before {@link load}. */
  exports(): WebAssembly.Exports {
    if (!this.#module) {
      throw new WlqError("not-ready", "the Wasm kernels are not compiled yet: await init() once before the Sync functions");
    }
    return new WebAssembly.Instance(this.#module).exports;
  }

  get ready(): boolean {
    return this.#module !== undefined;
  }
}

async function builtIn(embedded: Embedded, simd: boolean): Promise<WasmInput> {
  if (embedded instanceof WebAssembly.Module) return embedded;
  const stream = new Blob([embedded]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const end = 4 + new DataView(bytes.buffer).getUint32(0, true);
  const vector = bytes.subarray(4, end);
  return simd && WebAssembly.validate(vector) ? vector : bytes.subarray(end);
}

async function compile(input: WasmInput): Promise<WebAssembly.Module> {
  if (input instanceof WebAssembly.Module) return input;
  try {
    if (input instanceof URL) return await compile(await fetch(input));
    if (typeof Response !== "undefined" && input instanceof Response) {
      return await WebAssembly.compile(await input.arrayBuffer());
    }
    return await WebAssembly.compile(input as BufferSource);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new WlqError(
      "unsupported",
      `the Wasm kernels could not be compiled: ${reason}. Pages need 'wasm-unsafe-eval' in their Content-Security-Policy; ` +
        "Workers pass a module: init({ encode, decode })",
      { cause },
    );
  }
}
