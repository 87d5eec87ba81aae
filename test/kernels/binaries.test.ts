// The binaries: no imports, no static data, functions and one memory, the same exports with and without SIMD.
import { expect, test } from "vitest";
import { BUILDS, wasmBytes } from "./instances.ts";

// numbers of sections in the Wasm binary format
const IMPORT = 2;
const START = 8;
const CODE = 10;
const DATA = 11;
const V128 = 0x7b;

/** Reads a Wasm binary front to back. */
class Reader {
  readonly #bytes: Uint8Array;
  at = 8; // behind magic number and version

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.at++] as number;
  }

  /** An unsigned LEB128. */
  size(): number {
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      size += (byte & 127) * 2 ** shift;
      if (byte < 128) return size;
    }
  }
}

/** Section numbers, in order. */
function sections(bytes: Uint8Array): number[] {
  const reader = new Reader(bytes);
  const found: number[] = [];
  while (!reader.done) {
    found.push(reader.byte());
    const size = reader.size();
    reader.at += size;
  }
  return found;
}

/** The types of all functions' local variables. */
function localTypes(bytes: Uint8Array): Set<number> {
  const reader = new Reader(bytes);
  const types = new Set<number>();
  while (!reader.done) {
    const section = reader.byte();
    const size = reader.size();
    const end = reader.at + size;
    if (section === CODE) {
      for (let left = reader.size(); left > 0; left--) {
        const body = reader.size();
        const next = reader.at + body;
        for (let groups = reader.size(); groups > 0; groups--) {
          reader.size();
          types.add(reader.byte());
        }
        reader.at = next;
      }
    }
    reader.at = end;
  }
  return types;
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
  // a table and the decoder, the least of all
  expect(exported.length).toBeGreaterThan(/^(tans|outliers)/.test(build) ? 2 : 5);
});

test.each(["encode", "decode", "entropy", "tans", "outliers", "slq", "calibrate"] as const)(
  "%s: SIMD and scalar export the same names",
  (name) => {
    const names = (build: (typeof BUILDS)[number]): string[] =>
      exportsOf(build)
        .map((entry) => entry.name)
        .sort();
    expect(names(`${name}.simd`)).toEqual(names(`${name}.scalar`));
  },
);

test("only the SIMD builds have vectors; the entropy coder, whose states go one by one, has none", () => {
  for (const build of BUILDS) {
    const vectors = build.endsWith("simd") && !/^(entropy|tans)/.test(build);
    expect(localTypes(wasmBytes(build)).has(V128), build).toBe(vectors);
  }
});
