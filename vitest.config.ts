// Test runner: sources as they are, with the Wasm that `npm run build` left in build/.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig, type Plugin } from "vitest/config";

/** `import text from "….wasm.deflate"`, as esbuild's `base64` loader does it. */
function wasmBase64(): Plugin {
  return {
    name: "wasm-base64",
    enforce: "pre",
    resolveId(id, importer) {
      if (!id.endsWith(".wasm.deflate") || !importer) return;
      return `\0base64:${resolve(importer, "..", id)}.js`;
    },
    load(id) {
      if (!id.startsWith("\0base64:")) return;
      const text = readFileSync(id.slice("\0base64:".length, -".js".length), "base64");
      return `export default "${text}";`;
    },
  };
}

export default defineConfig({
  plugins: [wasmBase64()],
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 300_000,
    // two cores; each file loads models or runtimes of its own
    maxWorkers: 2,
  },
});
