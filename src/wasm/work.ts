// Work binaries: those of the encoders, which also say when the scalar build takes over.
import { type Binary, load, type WasmInput } from "./kernel.ts";

let told = false;

/** As {@link load}; says once a process that the scalar build takes over: whoever wonders about the speed should know. */
export async function loadWork(binary: Binary, input?: WasmInput, simd?: boolean): Promise<void> {
  const left = !binary.ready && !input && simd === undefined;
  await load(binary, input, simd);
  if (!left || !binary.scalar || told) return;
  told = true;
  console.warn("wlq: this engine has no Wasm SIMD; the scalar build takes over: the same bytes, slower");
}
