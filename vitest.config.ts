// Test runner: sources as they are, with the Wasm that `npm run build` left in build/.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig, type Plugin } from "vitest/config";

/** `import text from "….wasm.txt"` (or ".js.txt"), as the bundle does it. */
function wasmText(): Plugin {
  return {
    name: "wasm-text",
    enforce: "pre",
    resolveId(id, importer) {
      if (!/\.(wasm|js)\.txt$/.test(id) || !importer) return;
      return `\0text:${resolve(importer, "..", id)}.js`;
    },
    load(id) {
      if (!id.startsWith("\0text:")) return;
      const text = readFileSync(id.slice("\0text:".length, -".js".length), "utf8");
      return `export default ${JSON.stringify(text)};`;
    },
  };
}

export default defineConfig({
  plugins: [wasmText()],
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 300_000,
    // two cores; each file loads models or runtimes of its own
    maxWorkers: 2,
  },
});
