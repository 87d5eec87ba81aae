// The binaries: no imports, no static data, functions and one memory, the same exports with and without SIMD.
import { expect, test } from "vitest";
import { BUILDS, wasmBytes } from "./instances.ts";

// numbers of sections in the Wasm binary format
const IMPORT = 2;
const START = 8;
const DATA = 11;

/** Section numbers of a Wasm binary, in order. */
function sections(bytes: Uint8Array): number[] {
  const found: number[] = [];
  let at = 8; // magic number and version
  while (at < bytes.length) {
    found.push(bytes[at] as number);
    at++;
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at] as number;
      at++;
      size += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    at += size;
  }
  return found;
}

function exportsOf(build: (typeof BUILDS)[number]): { name: string; kind: string }[] {
  return WebAssembly.Module.exports(new WebAssembly.Module(wasmBytes(build)));
}

test.each(BUILDS)("%s: no imports, no start, no data segments; functions and one memory", (build) => {
  const bytes = wasmBytes(build);
  expect(WebAssembly.Module.imports(new WebAssembly.Module(bytes))).toEqual([]);
  const present = sections(bytes);
  for (const section of [IMPORT, START, DATA]) expect(present).not.toContain(section);
  const exported = exportsOf(build);
  expect(exported.filter(({ kind }) => kind !== "function")).toEqual([{ name: "memory", kind: "memory" }]);
  expect(exported.length).toBeGreaterThan(5);
});

test.each(["encode", "decode"] as const)("%s: SIMD and scalar export the same names", (name) => {
  const names = (build: (typeof BUILDS)[number]): string[] => exportsOf(build).map((entry) => entry.name).sort();
  expect(names(`${name}.simd`)).toEqual(names(`${name}.scalar`));
});

test("the scalar builds run where SIMD does not: none of their functions has a vector type or opcode", () => {
  // 0x7b is v128 in types and 0xfd the prefix of vector opcodes; in code 0xfd may also be part of a number, so look at
  // the engine's word instead: a module compiled without the feature is not to be had in Node, types are
  for (const build of ["encode.scalar", "decode.scalar"] as const) {
    const bytes = wasmBytes(build);
    const typeSection = bytes.subarray(8, 8 + 2 + (bytes[9] as number));
    expect([...typeSection]).not.toContain(0x7b);
  }
});
