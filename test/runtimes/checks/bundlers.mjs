// Bundlers: each builds the suite's page from the package as it is, and Chromium runs what came out.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { missingBrowser, openBrowser } from "../hosts/browsers.mjs";
import { finish } from "../hosts/child.mjs";
import { serve } from "../hosts/serve.mjs";
import { tool } from "../prepare.mjs";

const PAGE = "suite/page.mjs";
const html = (script) => `<!doctype html><meta charset="utf-8"><title>wlq</title>${script}`;

async function command(home, name, args) {
  const { code, stdout, stderr } = await finish(tool(`.bin/${name}`), args, { cwd: home });
  const output = (stdout + stderr).trim();
  if (code !== 0 || /\bwarning\b/i.test(output)) throw new Error(output.slice(0, 2000));
}

/** Each builds `PAGE` into a folder and returns the page's text. No configuration beyond where from and where to. */
const BUNDLERS = {
  async esbuild(home, out) {
    await command(home, "esbuild", [PAGE, "--bundle", "--splitting", "--format=esm", `--outdir=${out}`]);
    return html('<script type="module" src="/page.js"></script>');
  },
  async Vite(home, out) {
    await writeFile(join(home, "index.html"), html(`<script type="module" src="/${PAGE}"></script>`));
    await command(home, "vite", ["build", "--outDir", out, "--logLevel", "warn"]);
    return await readFile(join(out, "index.html"), "utf8");
  },
  async webpack(home, out) {
    const { default: webpack } = await import(pathToFileURL(tool("webpack/lib/index.js")));
    const compiler = webpack({ mode: "production", context: home, entry: `./${PAGE}`, output: { path: out } });
    const stats = await new Promise((resolve, reject) => {
      compiler.run((error, result) => (error ? reject(error) : resolve(result)));
    });
    await new Promise((resolve) => compiler.close(resolve));
    if (stats.hasErrors()) throw new Error(stats.toString("errors-only").slice(0, 2000));
    return html('<script defer src="/main.js"></script>');
  },
  async Rollup(home, out) {
    // Rollup alone does not look into node_modules: its own plugin for that, as its documents say
    const resolver = pathToFileURL(tool("@rollup/plugin-node-resolve/dist/es/index.js")).href;
    const config = `import resolve from ${JSON.stringify(resolver)};\nexport default { plugins: [resolve()] };\n`;
    await writeFile(join(home, "rollup.config.mjs"), config);
    const args = ["--config", "rollup.config.mjs", "--input", PAGE, "--dir", out, "--format", "es", "--silent"];
    await command(home, "rollup", args);
    return html('<script type="module" src="/page.js"></script>');
  },
};

// Vite and webpack put the worker beside the page; what the others make finds none
const [BY_TWO, BY_ONE] = [/^the same bytes, by two threads$/, /^the same bytes, threads: no worker starts/];
const THREADS = { esbuild: BY_ONE, Vite: BY_TWO, webpack: BY_TWO, Rollup: BY_ONE };

async function build(home, name, bundle) {
  const out = join(home, "bundled", name.toLowerCase());
  await mkdir(out, { recursive: true });
  const page = await bundle(home, out);
  return { out, page };
}

export const bundlers = Object.entries(BUNDLERS).map(([name, bundle]) => ({
  name: `page by ${name}, in Chromium`,
  async run(home, expected) {
    const missing = missingBrowser("Chromium");
    if (missing) return { missing };
    const { out, page } = await build(home, name, bundle);
    const server = await serve(out, { page });
    const browser = await openBrowser("Chromium", server.address);
    try {
      const { value, error } = await server.ask("hashes");
      if (error) throw new Error(error);
      for (const build of ["simd", "scalar"]) {
        const wrong = Object.keys(expected).filter((key) => value[build][key] !== expected[key]);
        if (wrong.length > 0)
          throw new Error(`${build}: ${wrong.length} hashes differ: ${wrong.slice(0, 5).join("; ")}`);
      }
      const threads = await server.ask("threads");
      if (!THREADS[name].test(threads.value)) throw new Error(`threads: ${threads.value ?? threads.error}`);
    } finally {
      await browser.close();
      await server.close();
    }
  },
}));
