// Input: a binary from wherever the caller has it, for runtimes and pages that do not take the one in the package.
import { WlqError } from "../error.ts";
import type { Binary, WasmInput } from "./kernel.ts";
import { loadWork } from "./work.ts";

/** A binary, or where to fetch it. */
export type InitInput = WasmInput | Response | URL;

/** Loads a binary for `init`. */
export async function loadFrom(
  binary: Binary,
  name: string,
  input: InitInput | undefined,
  simd: boolean | undefined,
): Promise<void> {
  if (simd === false && typeof binary.embedded !== "string" && !input) {
    throw new WlqError(
      "unsupported",
      `the package has its SIMD module alone here: pass another build as ${name}, or leave simd out`,
    );
  }
  await loadWork(binary, input === undefined ? undefined : await fetched(name, input), simd);
}

async function fetched(name: string, input: InitInput): Promise<WasmInput> {
  if (input instanceof WebAssembly.Module || input instanceof ArrayBuffer || input instanceof Uint8Array) return input;
  if (!(input instanceof URL || input instanceof Response)) {
    throw new TypeError(`${name} must be a WebAssembly.Module, bytes, a Response or a URL`);
  }
  const where = input instanceof URL ? input.href : input.url;
  try {
    const response = input instanceof URL ? await fetch(input) : input;
    if (!response.ok) throw new Error(`status ${response.status}`);
    return await response.arrayBuffer();
  } catch (cause) {
    throw new WlqError("io", `${name} from ${where || "a Response"}: ${cause}`, { cause });
  }
}
