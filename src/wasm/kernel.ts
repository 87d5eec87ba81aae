// Kernel loading: Wasm bytes or modules to instances, SIMD where the engine has it, once per binary.
import { WlqError } from "../error.ts";

/** What `init` accepts for a binary. */
export type WasmInput = WebAssembly.Module | ArrayBuffer | Uint8Array<ArrayBuffer> | Response | URL;

type Embedded = Uint8Array<ArrayBuffer> | WebAssembly.Module;

/** A binary: compiled at first use or by `init`, then instantiated as often as needed. */
export class Binary {
  readonly #simd: Embedded;
  readonly #scalar: Embedded;
  #module: WebAssembly.Module | undefined;

  constructor(simd: Embedded, scalar: Embedded) {
    this.#simd = simd;
    this.#scalar = scalar;
  }

  /** Compiles, asynchronously; `input` replaces the embedded bytes, `simd: false` forces the scalar build. */
  async load(input?: WasmInput, simd = true): Promise<void> {
    if (input !== undefined) this.#module = await compile(input);
    else if (!this.#module || !simd) this.#module = await compile(this.#choose(simd));
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

  #choose(simd: boolean): Embedded {
    const best = this.#simd;
    if (!simd) return this.#scalar;
    return best instanceof Uint8Array && !WebAssembly.validate(best) ? this.#scalar : best;
  }
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
