// Prepare: the packed package in an empty folder, beside the suite, and the runtimes to try it in.
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, "../..");
// not inside the repository: what lies above a folder is found from it
const HOME = join(tmpdir(), `wlq-runtimes-${process.pid}`);
const TOOLS = join(ROOT, "out/runtimes/tools");

/** A file of the packages that `package.json` here asks for. */
export const tool = (path) => join(TOOLS, "node_modules", path);

/** Packs what `npm run build` left, installs it into an empty folder as its user does; returns the folder. */
export async function installPackage() {
  process.on("exit", () => rmSync(HOME, { recursive: true, force: true }));
  await mkdir(HOME, { recursive: true });
  const packed = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", HOME], { cwd: ROOT });
  const [{ filename }] = Object.values(JSON.parse(packed.stdout));
  const manifest = { name: "home", private: true, type: "module" };
  await writeFile(join(HOME, "package.json"), JSON.stringify(manifest));
  const options = ["--offline", "--ignore-scripts", "--no-audit", "--no-fund"];
  await run("npm", ["install", ...options, join(HOME, filename)], { cwd: HOME });
  await cp(join(HERE, "suite"), join(HOME, "suite"), { recursive: true });
  // for workerd, which compiles no bytes: others find the scalar builds in the package
  for (const name of ["decode", "encode", "slq"]) {
    await cp(join(ROOT, `build/${name}.scalar.wasm`), join(HOME, `suite/${name}.scalar.wasm`));
  }
  return HOME;
}

/** The files that the package's entries lead to in a page, as an import map. */
export async function importMap(home) {
  const { exports } = JSON.parse(await readFile(join(home, "node_modules/wlq/package.json"), "utf8"));
  const imports = {};
  for (const [name, target] of Object.entries(exports)) {
    const path = typeof target === "string" ? target : target.default;
    imports[name.replace(".", "wlq")] = path.replace(".", "/node_modules/wlq");
  }
  return { imports };
}

/** Installs the runtimes of `package.json` here, out of the way of everything else, unless they are there. */
export async function installRuntimes() {
  const lock = await readFile(join(HERE, "package-lock.json"), "utf8");
  const mark = tool(".installed");
  if ((await readFile(mark, "utf8").catch(() => "")) === lock) return;
  await mkdir(TOOLS, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) await cp(join(HERE, name), join(TOOLS, name));
  // not "ci", which refuses a lock file without the other platforms' optional packages
  await run("npm", ["install", "--no-audit", "--no-fund"], { cwd: TOOLS, maxBuffer: 1 << 26 });
  await writeFile(mark, lock);
}

const BROWSERS = {
  "/usr/bin/chromium": ["chromium"],
  "/usr/bin/firefox-esr": ["firefox-esr"],
  "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser": ["webkit2gtk-driver"],
  "/usr/bin/xvfb-run": ["xvfb", "xauth"],
  "/usr/bin/dbus-run-session": ["dbus-x11"],
};

/** Installs Debian's browsers where this is Debian and we are root; whatever goes wrong, a missing browser is a skip. */
export async function installBrowsers(tell) {
  const found = await Promise.all(
    Object.keys(BROWSERS).map((path) =>
      readFile(path).then(
        () => true,
        () => false,
      ),
    ),
  );
  if (found.every(Boolean) || process.getuid?.() !== 0) return;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const packages = Object.values(BROWSERS).flat();
  tell(`installing ${packages.join(", ")}`);
  try {
    await run("apt-get", ["-q", "update"], { env, maxBuffer: 1 << 26 });
    await run("apt-get", ["-yq", "install", "--no-install-recommends", ...packages], { env, maxBuffer: 1 << 26 });
  } catch (error) {
    tell(`apt-get failed: ${error.stderr?.trim().split("\n").at(-1) ?? error.message}`);
  }
}
