// Node, Deno and Bun: a process a task.
import { existsSync } from "node:fs";
import { tool } from "../prepare.mjs";
import { finish } from "./child.mjs";

// a permission that a task does not need is a permission that the package asks for
const deno = [tool(".bin/deno"), "run", "--no-remote", "--cached-only", "--no-prompt"];

const COMMANDS = {
  "Node 20": [tool("node-20/bin/node")],
  // a processor without SSE 4.1, as V8 sees it
  "Node 20, no SIMD": [tool("node-20/bin/node"), "--no-enable-sse4-1"],
  "Node 24": [tool("node-24/bin/node")],
  "Node 26": [tool("node-26/bin/node")],
  Deno: deno,
  Bun: [tool(".bin/bun"), "run"],
};

export const processes = Object.entries(COMMANDS).map(([name, [command, ...args]]) => ({
  name,
  probes: { threads: /^the same bytes, by two threads$/ },
  async start(home) {
    if (!existsSync(command)) return { missing: `${command} is not there` };
    const { stdout } = await finish(command, ["--version"]);
    const version = /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? "";
    return {
      version,
      async ask(task) {
        const { code, stdout, stderr } = await finish(command, [...args, "suite/process.mjs", task], { cwd: home });
        try {
          return JSON.parse(stdout);
        } catch {
          return { error: `exit code ${code}: ${(stderr || stdout).trim().slice(-2000)}` };
        }
      },
      async stop() {},
    };
  },
}));
