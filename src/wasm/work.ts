// Work binaries: those of the encoders, which also say when the scalar build takes over and when memory is refused.
import { WlqError } from "../error.ts";
import { type Binary, instantiate, load, type WasmInput } from "./kernel.ts";

// a function that returns the byte 0 of an i8x16.splat: the least that only an engine with SIMD accepts
const PROBE = "AGFzbQEAAAABBQFgAAF7AwIBAAoKAQgAQQD9D/1iCw==";

let told = false;

/** Once a process: results stay the same, but whoever wonders about the speed should know. */
function tellScalar(): void {
  if (told || WebAssembly.validate(Uint8Array.from(atob(PROBE), (c) => c.charCodeAt(0)))) return;
  told = true;
  console.warn("wlq: this engine has no Wasm SIMD; the scalar build takes over: the same bytes, slower");
}

/** As {@link load}, and tells. */
export async function loadWork(binary: Binary, input?: WasmInput, simd?: boolean): Promise<void> {
  const left = !binary.ready && !input && simd === undefined;
  await load(binary, input, simd);
  if (left) tellScalar();
}

/** As {@link instantiate}; a refusal is an error with a code. */
export function instantiateWork(binary: Binary): WebAssembly.Exports {
  try {
    return instantiate(binary);
  } catch (cause) {
    throw new WlqError("resources", `the engine refuses another Wasm instance: ${cause}`, { cause });
  }
}
