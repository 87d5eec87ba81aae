// A copy of an example's folder, as a reader would take it, with the packed wlq installed; and the tools that run it.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";

/** Where `npm run test:runtimes` puts what test/runtimes/package.json names. */
const TOOLS = resolve("out/runtimes/tools/node_modules");

/** Path of a runtime or tool. */
export function tool(name: string): string {
  return join(TOOLS, ".bin", name);
}

/** Path of a package beside the tools. */
export function toolPackage(name: string): string {
  return join(TOOLS, name);
}

/**
 * Whether a test must be skipped because of a missing file, which is then said on standard error. In continuous
 * integration nothing is skipped: the test runs, and fails.
 */
export function lacks(path: string, advice = "npm run test:runtimes installs it"): boolean {
  if (existsSync(path) || process.env.CI) return false;
  process.stderr.write(`SKIPPED: there is no ${path}; ${advice}\n`);
  return true;
}

export interface CopiedExample {
  readonly folder: string;
  remove(): void;
}

/** Copies `examples/NAME` to a folder of its own and installs the package there from its tarball. */
export function copyExample(name: string): CopiedExample {
  const folder = mkdtempSync(join(tmpdir(), `wlq-example-${name}-`));
  cpSync(join("examples", name), folder, { recursive: true });
  const npm = (cwd: string, ...args: string[]): string => execFileSync("npm", args, { cwd, encoding: "utf8" });
  const packed = JSON.parse(npm(".", "pack", "--json", "--ignore-scripts", "--pack-destination", folder));
  const [{ filename }] = Object.values(packed) as [{ filename: string }];
  const path = join(folder, "package.json");
  const manifest = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : { private: true };
  // the tools come from their own folder, what is published from here
  const alone = { ...manifest, devDependencies: {}, dependencies: { wlq: `file:./${filename}` } };
  writeFileSync(path, JSON.stringify(alone));
  npm(folder, "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock");
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
