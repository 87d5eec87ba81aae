// workerd: `wrangler dev` on a Worker that imports the package, asked over HTTP.
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { tool } from "../prepare.mjs";
import { PATIENCE, start, within } from "./child.mjs";

const CONFIG = { name: "conformance", main: "suite/workerd.mjs", compatibility_date: "2026-04-01" };
// no look-ups beyond this machine
const QUIET = { CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_SEND_METRICS: "false", CI: "true", NO_COLOR: "1" };

/** A port that is free now. */
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts it and waits until the Worker answers; the Worker has not loaded the package then. */
async function dev(home) {
  const port = await freePort();
  const args = ["dev", "--config", "wrangler.json", "--ip", "127.0.0.1", "--port", String(port)];
  const child = start(tool(".bin/wrangler"), args, { cwd: home, env: QUIET });
  const address = `http://127.0.0.1:${port}`;
  let ended = false;
  child.ended.then(() => {
    ended = true;
  });
  const ready = async () => {
    for (;;) {
      if (ended) throw new Error(`wrangler ended: ${child.output().slice(-2000)}`);
      const response = await fetch(`${address}/ready`).catch(() => undefined);
      if (response?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  try {
    await within(ready(), "wrangler dev", 60_000);
  } catch (error) {
    child.stop();
    throw error;
  }
  return { address, child };
}

const get = async (address, task) =>
  (await fetch(`${address}/${task}`, { signal: AbortSignal.timeout(PATIENCE) })).json();

export const workerd = {
  name: "workerd",
  probes: {
    threads: /^the same bytes, threads: this runtime has no workers/,
    imported: /^unsupported: .*SIMD.* encode/,
  },
  async start(home) {
    await writeFile(join(home, "wrangler.json"), JSON.stringify(CONFIG));
    let server = await dev(home);
    let used = false;
    return {
      version: /wrangler (\d+\.\d+\.\d+)/.exec(server.child.output())?.[1] ?? "",
      async ask(task) {
        if (task === "first" && used) {
          server.child.stop();
          server = await dev(home);
        }
        used = true;
        return await get(server.address, task);
      },
      async stop() {
        server.child.stop();
      },
    };
  },
};
