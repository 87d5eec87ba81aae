// Work binaries: those of the encoders, which also say when the scalar build takes over and when memory is refused.
import { WlqError } from "../error.ts";
import { Binary, type WasmInput } from "./kernel.ts";

// a function that returns the byte 0 of an i8x16.splat: the least that only an engine with SIMD accepts
const PROBE = "AGFzbQEAAAABBQFgAAF7AwIBAAoKAQgAQQD9D/1iCw==";

let told = false;

/** Once a process: results stay the same, but whoever wonders about the speed should know. */
function tellScalar(): void {
  if (told || WebAssembly.validate(Uint8Array.from(atob(PROBE), (c) => c.charCodeAt(0)))) return;
  told = true;
  console.warn("wlq: this engine has no Wasm SIMD; the scalar build takes over: the same bytes, slower");
}

export class WorkBinary extends Binary {
  override async load(input?: WasmInput, simd?: boolean): Promise<void> {
    const left = !this.ready && !input && simd === undefined;
    await super.load(input, simd);
    if (left) tellScalar();
  }

  override exports(): WebAssembly.Exports {
    try {
      return super.exports();
    } catch (cause) {
      throw new WlqError("resources", `the engine refuses another Wasm instance: ${cause}`, { cause });
    }
  }
}
