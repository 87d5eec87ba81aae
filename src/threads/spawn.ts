// Spawn: a worker from a script at hand, in whatever way the runtime has workers.
import script from "../../build/worker.js.txt";
import { WlqError } from "../error.ts";
import type { FromThread, ToThread } from "./messages.ts";

/** A worker that was started. */
export interface Spawned {
  post(message: ToThread, transfer: ArrayBuffer[]): void;
  end(): void;
}

/** What of Node is used; the name is not imported, so that no bundler looks for it. */
interface NodeWorker {
  postMessage(message: ToThread, transfer: ArrayBuffer[]): void;
  on(name: "message", hear: (message: FromThread) => void): void;
  on(name: "error", hear: (error: Error) => void): void;
  on(name: "exit", hear: (code: number) => void): void;
  terminate(): Promise<number>;
}
type Builtin = (name: string) => {
  readonly Worker: new (script: string, options: object) => NodeWorker;
  availableParallelism(): number;
};
const builtin = (): Builtin | undefined =>
  (globalThis as { process?: { getBuiltinModule?: Builtin } }).process?.getBuiltinModule;

/** How many threads run at the same time here; 1 where there are no workers. */
export function cores(): number {
  if (typeof Worker !== "function") return builtin()?.("node:os").availableParallelism() ?? 1;
  return globalThis.navigator?.hardwareConcurrency ?? 1;
}

/** Whether this runtime has workers: workerd has none. */
export function hasWorkers(): boolean {
  // with Node's names it still has none of its workers
  if (globalThis.navigator?.userAgent === "Cloudflare-Workers") return false;
  return typeof Worker === "function" || builtin() !== undefined;
}

/**
 * Starts a worker. `hear` gets its messages, `lost` why it is no longer there.
 *
 * @throws WlqError `unsupported` where the page's policy forbids it
 */
export function spawn(hear: (message: FromThread) => void, lost: (why: string) => void): Spawned {
  if (typeof Worker !== "function") return spawnInNode(hear, lost);
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  let worker: Worker;
  try {
    worker = new Worker(url, { type: "module", name: "wlq" });
  } catch (cause) {
    throw new WlqError("unsupported", `no worker starts: ${cause}; pages need worker-src blob:`, { cause });
  }
  worker.onmessage = ({ data }) => hear(data);
  worker.onmessageerror = () => lost("its message was lost");
  worker.onerror = (event) => {
    event.preventDefault?.();
    lost(event.message || "it did not start; pages need worker-src blob:");
  };
  // Bun tells so
  worker.addEventListener("close", () => lost("it ended"));
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    end() {
      worker.terminate();
      URL.revokeObjectURL(url);
    },
  };
}

function spawnInNode(hear: (message: FromThread) => void, lost: (why: string) => void): Spawned {
  const { Worker } = (builtin() as Builtin)("node:worker_threads");
  const head = 'const wlqPort = require("node:worker_threads").parentPort;';
  const worker = new Worker(head + script, { eval: true, name: "wlq", execArgv: [] });
  worker.on("message", hear);
  worker.on("error", (error) => lost(String(error)));
  worker.on("exit", (code) => lost(`it ended with code ${code}`));
  return { post: (message, transfer) => worker.postMessage(message, transfer), end: () => void worker.terminate() };
}
