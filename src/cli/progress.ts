// Progress: a bar on a terminal, a line a tensor elsewhere; on standard error.
import process from "node:process";
import cliProgress from "cli-progress";
import type { Progress } from "../compress.ts";
import { plain } from "./show.ts";

export interface ProgressView {
  update(progress: Progress): void;
  stop(): void;
}

/** A view that fits where standard error goes. */
export function progressView(quiet: boolean): ProgressView {
  if (quiet) return { update() {}, stop() {} };
  return process.stderr.isTTY ? bar() : lines();
}

function bar(): ProgressView {
  const view = new cliProgress.SingleBar({
    stream: process.stderr,
    format: "{phase} {bar} {percentage}% {tensor}",
    hideCursor: true,
    clearOnComplete: true,
    linewrap: false,
  });
  let started = false;
  return {
    update({ phase, tensor, done, total }) {
      if (!started) view.start(total, done, { phase, tensor: plain(tensor) });
      started = true;
      view.update(done, { phase: phase.padEnd(7), tensor: plain(tensor) });
    },
    stop: () => view.stop(),
  };
}

function lines(): ProgressView {
  let last = "";
  return {
    update({ phase, tensor, done, total }) {
      const line = `${phase} ${plain(tensor)}`;
      if (line === last) return;
      last = line;
      const percent = total > 0 ? Math.floor((100 * done) / total) : 100;
      process.stderr.write(`${String(percent).padStart(3)}% ${line}\n`);
    },
    stop() {},
  };
}
