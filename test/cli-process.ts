// The real command line as a child process, with what it printed and how it ended.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";

export const CLI: string = new URL("../dist/cli.js", import.meta.url).pathname;

export interface Ran {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Another user, for a process that began as root. */
  readonly uid?: number;
  /** Another copy of the command. */
  readonly cli?: string;
  /** Called with all of standard error so far, whenever there is more. */
  readonly watch?: (stderr: string, child: ChildProcess) => void;
}

/** Runs `wlq` with these arguments to its end. */
export async function wlq(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { cwd, uid, cli = CLI } = options;
  return run(process.execPath, [cli, ...args], { ...options, cwd, uid });
}

/** Runs any command to its end. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { cwd, env, uid, watch } = options;
  const start = performance.now();
  const child = spawn(command, args, {
    cwd,
    uid,
    gid: uid,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    watch?.(stderr, child);
  });
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  return { code, signal, stdout, stderr, seconds: (performance.now() - start) / 1000 };
}
