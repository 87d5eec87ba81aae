// Kernel loading: Wasm bytes or modules to instances, SIMD where the engine has it, once per binary.
import { WlqError } from "../error.ts";

/** A binary that the caller has: compiled or as bytes. */
export type WasmInput = WebAssembly.Module | ArrayBuffer | Uint8Array<ArrayBuffer>;

/** Base64 where the build embeds the bytes, a module where the runtime imports it (workerd). */
type Embedded = string | WebAssembly.Module;

/**
 * A binary: compiled at first use or by `init`, then instantiated as often as needed.
 *
 * Embedded as raw deflate of: scalar build's size (u32, little-endian), scalar build, SIMD build. Text that is base64
 * hides from gzip what the two have in common; compressed before, they cost half.
 */
export class Binary {
  readonly #embedded: Embedded;
  /** The compiled module, once there is one; set by {@link load} alone. */
  ready: WebAssembly.Module | undefined;

  constructor(embedded: Embedded) {
    this.#embedded = embedded;
  }

  /**
   * Compiles, asynchronously, what is not compiled yet; `input` replaces the embedded bytes, `simd: false` forces the
   * scalar build.
   */
  async load(input?: WasmInput, simd = true): Promise<void> {
    if (input || !this.ready || !simd) this.ready = await compile(input ?? this.#embedded, simd);
  }

  /** An instance's exports, after {@link load}. */
  exports(): WebAssembly.Exports {
    return new WebAssembly.Instance(this.ready as WebAssembly.Module).exports;
  }
}

/** Throws `not-ready` where the Sync functions come too early. */
export function checkReady(binary: Binary): void {
  if (!binary.ready) {
    throw new WlqError(
      "not-ready",
      "the Wasm kernels are not compiled yet: await init() once before the Sync functions",
    );
  }
}

async function compile(input: WasmInput | Embedded, simd: boolean): Promise<WebAssembly.Module> {
  try {
    if (input instanceof WebAssembly.Module) return input;
    return await WebAssembly.compile(typeof input === "string" ? await unfold(input, simd) : input);
  } catch (cause) {
    throw new WlqError(
      "unsupported",
      `Wasm does not compile: ${cause}; pages need 'wasm-unsafe-eval', Workers hand in a module`,
      { cause },
    );
  }
}

async function unfold(embedded: string, simd: boolean): Promise<ArrayBuffer> {
  const deflated = new Response(Uint8Array.from(atob(embedded), (c) => c.charCodeAt(0))).body as ReadableStream;
  const bytes = await new Response(deflated.pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();
  const end = 4 + new DataView(bytes).getUint32(0, true);
  const vector = bytes.slice(end);
  return simd && WebAssembly.validate(vector) ? vector : bytes.slice(4, end);
}
