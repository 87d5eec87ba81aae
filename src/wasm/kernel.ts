// Kernel loading: Wasm bytes or modules to instances, SIMD where the engine has it, once per binary.
import { WlqError } from "../error.ts";

/** A binary that the caller has: compiled or as bytes. */
export type WasmInput = WebAssembly.Module | ArrayBuffer | Uint8Array<ArrayBuffer>;

/** Base64 where the build embeds the bytes, a module where the runtime imports it (workerd). */
type Embedded = string | WebAssembly.Module;

/**
 * A binary: compiled at first use or by `init`, then instantiated as often as needed. Plain data, so that a bundler drops
 * those that nobody uses.
 *
 * Embedded as raw deflate of: scalar build's size (u32, little-endian), scalar build, SIMD build. Text that is base64
 * hides from gzip what the two have in common; compressed before, they cost half.
 */
export interface Binary {
  readonly embedded: Embedded;
  /** The compiled module, once there is one; set by {@link load} alone. */
  ready?: WebAssembly.Module;
  /** The scope of synchronous work and the module it was made of; kept by {@link sharedScope}. */
  shared?: readonly [WebAssembly.Module, unknown];
}

/**
 * Compiles, asynchronously, what is not compiled yet. `input` replaces the embedded bytes, `simd` says which of the
 * embedded builds: either replaces a module that is in use, for what begins after it. Left open, SIMD where there is.
 */
export async function load(binary: Binary, input?: WasmInput, simd?: boolean): Promise<void> {
  if (!binary.ready || input || simd !== undefined) binary.ready = await compile(input ?? binary.embedded, simd);
}

/** A new instance's exports, after {@link load}. */
export function instantiate(binary: Binary): WebAssembly.Exports {
  return new WebAssembly.Instance(binary.ready as WebAssembly.Module).exports;
}

/**
 * The one scope of a binary that all synchronous work shares; another one when the binary's module has been replaced.
 * It throws `not-ready` where there is none yet.
 */
export function sharedScope<Scope>(binary: Binary, make: () => Scope): Scope {
  const { ready } = binary;
  if (!ready) {
    throw new WlqError(
      "not-ready",
      "the Wasm kernels are not compiled yet: await init() once before the Sync functions",
    );
  }
  if (binary.shared?.[0] !== ready) binary.shared = [ready, make()];
  return binary.shared?.[1] as Scope;
}

async function compile(input: WasmInput | Embedded, simd: boolean | undefined): Promise<WebAssembly.Module> {
  try {
    if (input instanceof WebAssembly.Module) return input;
    return await WebAssembly.compile(typeof input === "string" ? await unfold(input, simd) : input);
  } catch (cause) {
    throw new WlqError(
      "unsupported",
      `Wasm does not compile: ${cause}; pages need script-src 'wasm-unsafe-eval', Workers a module`,
      { cause },
    );
  }
}

async function unfold(embedded: string, simd = true): Promise<ArrayBuffer> {
  const deflated = new Response(Uint8Array.from(atob(embedded), (c) => c.charCodeAt(0))).body as ReadableStream;
  const bytes = await new Response(deflated.pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();
  const end = 4 + new DataView(bytes).getUint32(0, true);
  const vector = bytes.slice(end);
  return simd && WebAssembly.validate(vector) ? vector : bytes.slice(4, end);
}
