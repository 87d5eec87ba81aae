// Kernel loading: Wasm bytes or modules to instances, SIMD where the engine has it, once per binary.
import { WlqError } from "../error.ts";

/** A binary that the caller has: compiled or as bytes. */
export type WasmInput = WebAssembly.Module | ArrayBuffer | Uint8Array<ArrayBuffer>;

/** Text where the build embeds the bytes, a module where the runtime imports it (workerd). */
type Embedded = string | WebAssembly.Module;

/**
 * A binary: compiled at first use or by `init`, then instantiated as often as needed. Plain data, so that a bundler drops
 * those that nobody uses.
 *
 * A byte of the embedded text is one character or two, which gzip, that most servers use, makes less of than of base64.
 */
export interface Binary {
  readonly embedded: Embedded;
  /** Text of the scalar build, for engines without SIMD; absent where `embedded` has no vectors, or is a module. */
  readonly fallback?: () => Promise<{ readonly default: Embedded }>;
  /** The compiled module, once there is one; set by {@link load} alone. */
  ready?: WebAssembly.Module;
  /** Whether the engine refused the SIMD build. */
  scalar?: boolean;
  /** The scope of synchronous work and the module it was made of; kept by {@link sharedScope}. */
  shared?: readonly [WebAssembly.Module, unknown];
}

/**
 * Compiles, asynchronously, what is not compiled yet. `input` replaces the embedded bytes, `simd` says which of the
 * embedded builds: either replaces a module that is in use, for what begins after it. Left open, SIMD where there is.
 */
export async function load(binary: Binary, input?: WasmInput, simd?: boolean): Promise<void> {
  if (!binary.ready || input || simd !== undefined)
    binary.ready = await compile(binary, input ?? binary.embedded, simd);
}

/** A new instance's exports, after {@link load}. */
export function instantiate(binary: Binary): WebAssembly.Exports {
  try {
    return new WebAssembly.Instance(binary.ready as WebAssembly.Module).exports;
  } catch (cause) {
    // WebKit compiles whatever the page's policy says, and refuses here
    if (cause instanceof WebAssembly.CompileError) throw refused(cause);
    throw new WlqError("resources", `no Wasm instance: ${cause}`, { cause });
  }
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

async function compile(binary: Binary, input: WasmInput | Embedded, simd?: boolean): Promise<WebAssembly.Module> {
  try {
    if (input instanceof WebAssembly.Module) return input;
    return await WebAssembly.compile(typeof input === "string" ? await buildOf(binary, input, simd) : input);
  } catch (cause) {
    throw refused(cause);
  }
}

function refused(cause: unknown): WlqError {
  return new WlqError(
    "unsupported",
    `Wasm does not compile: ${cause}; pages need script-src 'wasm-unsafe-eval', Workers a module`,
    { cause },
  );
}

/** The bytes of the build that the engine takes, or that is asked for. */
async function buildOf(binary: Binary, text: string, simd = true): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = unfold(text);
  if (!binary.fallback) return bytes;
  binary.scalar = !WebAssembly.validate(bytes);
  return simd && !binary.scalar ? bytes : unfold((await binary.fallback()).default as string);
}

// One character a digit of base 91, from "#" without the backslash; before it " " for 91 more, "!" for 182 more. The sum
// less 3, modulo 256, is the byte: the commonest bytes of Wasm (indices, local.get, the SIMD prefix) take one character.
function unfold(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  let count = 0;
  let high = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 35) high = (c - 31) * 91;
    else {
      bytes[count++] = high + c - (c > 92 ? 39 : 38);
      high = 0;
    }
  }
  return bytes.slice(0, count);
}
