// wrangler dev as a child process: a Worker in local workerd, what its bucket holds, and its isolate's memory.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { tool, toolPackage } from "./copied-example.ts";

export interface Wrangler {
  readonly url: string;
  /** Unfinished multipart uploads, and bytes of all objects and parts that lie on the disk. */
  stored(): { readonly uploads: number; readonly bytes: number };
  /** Bytes of the Worker's isolate: JavaScript's heap and, apart, array buffers and Wasm memories. */
  memory(): Promise<{ readonly heap: number; readonly buffers: number }>;
  stop(): Promise<void>;
  log(): string;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Starts `wrangler dev` on an entry in a folder and waits until it answers. */
export async function startWrangler(folder: string, entry: string, vars: readonly string[]): Promise<Wrangler> {
  const [port, inspector] = [await freePort(), await freePort()];
  const state = join(folder, "state");
  const flags = ["--port", `${port}`, "--inspector-port", `${inspector}`, "--persist-to", state];
  const args = ["dev", entry, ...flags, ...vars.flatMap((v) => ["--var", v])];
  const env = { ...process.env, CI: "true", CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_SEND_METRICS: "false" };
  const child = spawn(tool("wrangler"), args, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  const ready = new Promise<void>((resolve, reject) => {
    const hear = (text: string): void => {
      log += text;
      if (log.includes("Ready on")) resolve();
    };
    child.stdout.setEncoding("utf8").on("data", hear);
    child.stderr.setEncoding("utf8").on("data", hear);
    child.on("exit", (code) => reject(new Error(`wrangler ended with ${code}:\n${log}`)));
  });
  await ready;
  let ask: Ask | undefined;
  return {
    url: `http://127.0.0.1:${port}`,
    stored: () => stored(state),
    async memory() {
      ask ??= await inspect(inspector);
      const { totalSize = Number.NaN, backingStorageSize = Number.NaN } = await ask("Runtime.getHeapUsage");
      return { heap: totalSize, buffers: backingStorageSize };
    },
    stop: () => stop(child),
    log: () => log,
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

type Ask = (method: string) => Promise<Record<string, number>>;

/** The inspector of the Worker's isolate. The simulated bucket is another Worker with another isolate. */
async function inspect(port: number): Promise<Ask> {
  const { WebSocket } = createRequire(join(toolPackage("miniflare"), "package.json"))("ws");
  const [target] = await (await fetch(`http://127.0.0.1:${port}/json`)).json();
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  const waiting = new Map<number, (result: Record<string, number>) => void>();
  socket.on("message", (text: string) => {
    const { id, result } = JSON.parse(text);
    waiting.get(id)?.(result);
  });
  await once(socket, "open");
  let last = 0;
  return (method) =>
    new Promise((resolve) => {
      waiting.set(++last, resolve);
      socket.send(JSON.stringify({ id: last, method }));
    });
}

// R2 bindings cannot list multipart uploads: the simulator's own database can. Debian's Python reads SQLite, Node 20 does not.
const COUNT = `import sqlite3, sys
print(sum(sqlite3.connect(path).execute("select count(*) from _mf_multipart_uploads where state = 0").fetchone()[0]
  for path in sys.argv[1:]))`;

function stored(state: string): { uploads: number; bytes: number } {
  const folder = join(state, "v3/r2");
  const databases = readdirSync(join(folder, "miniflare-R2BucketObject"))
    .filter((name) => /^[0-9a-f]+\.sqlite$/.test(name))
    .map((name) => join(folder, "miniflare-R2BucketObject", name));
  const uploads = Number(execFileSync("/usr/bin/python3", ["-c", COUNT, ...databases], { encoding: "utf8" }));
  const blobs = join(folder, "models/blobs");
  const bytes = readdirSync(blobs).reduce((sum, name) => sum + statSync(join(blobs, name)).size, 0);
  return { uploads, bytes };
}
