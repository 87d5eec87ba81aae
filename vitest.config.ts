// Test runner: sources as they are, with the Wasm that `npm run build` left in build/.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig, type Plugin } from "vitest/config";

/** `import bytes from "….wasm.deflate"`, as the esbuild `binary` loader does it. */
function wasmBytes(): Plugin {
  return {
    name: "wasm-bytes",
    enforce: "pre",
    resolveId(id, importer) {
      if (!id.endsWith(".wasm.deflate") || !importer) return;
      return `\0bytes:${resolve(importer, "..", id)}.js`;
    },
    load(id) {
      if (!id.startsWith("\0bytes:")) return;
      const bytes = readFileSync(id.slice(7, -3));
      return `export default Uint8Array.from(atob("${bytes.toString("base64")}"), (c) => c.charCodeAt(0));`;
    },
  };
}

export default defineConfig({
  plugins: [wasmBytes()],
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 300_000,
    // two cores; each file loads models or runtimes of its own
    maxWorkers: 2,
  },
});
