// Child: starts a process, collects what it says, and ends it and its own children when it is in the way or too slow.
import { spawn } from "node:child_process";
import process from "node:process";

/** Most time for one task. A virtual machine with nothing else to do needs some seconds. */
export const PATIENCE = 180_000;

/** A process group of its own; `output()` is what it has said so far, `stop()` ends it all. */
export function start(command, args, { cwd, env } = {}) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise((resolve) => {
    child.on("error", (error) => resolve({ code: -1, stdout, stderr: `${error.message}` }));
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
  const stop = () => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // it has ended
    }
  };
  return { ended, stop, output: () => stdout + stderr };
}

/** Runs a command to its end. */
export async function finish(command, args, options) {
  const child = start(command, args, options);
  const timer = setTimeout(child.stop, PATIENCE);
  const result = await child.ended;
  clearTimeout(timer);
  return result;
}

/** `promise`, or an error that names what did not come. */
export async function within(promise, what, patience = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing for ${patience / 1000} s`)), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
