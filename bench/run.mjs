// Bundles the benchmark and runs it in a process without other work.
import { spawnSync } from "node:child_process";
import process from "node:process";
import { build } from "esbuild";

await build({
  entryPoints: { "bench-main": "bench/main.ts", "bench-cold": "bench/cold.ts" },
  outdir: "build",
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  logLevel: "warning",
});
const { status } = spawnSync(process.execPath, ["build/bench-main.js", ...process.argv.slice(2)], { stdio: "inherit" });
if (status !== 0) process.exit(status ?? 1);
for (const path of ["bench/plan.mjs", "bench/threads.mjs"]) {
  const last = spawnSync(process.execPath, [path], { stdio: "inherit" });
  if (last.status !== 0) process.exit(last.status ?? 1);
}
