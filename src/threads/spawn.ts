// Spawn: a worker, in whatever way the runtime has workers.
import type { FromThread, ToThread } from "./messages.ts";

/** A worker that was started. */
export interface Spawned {
  post(message: ToThread, transfer: ArrayBuffer[]): void;
  /** Ends it; done when it has ended, where the runtime says so. */
  end(): unknown;
}

/** What of Node is used; its modules are not imported, so that no bundler looks for them. */
interface NodeWorker {
  postMessage(message: ToThread, transfer: ArrayBuffer[]): void;
  on(name: "message", hear: (message: FromThread) => void): void;
  on(name: "error", hear: (error: Error) => void): void;
  on(name: "exit", hear: (code: number) => void): void;
  terminate(): Promise<number>;
}
type Builtin = (name: string) => {
  readonly Worker: new (url: URL, options: object) => NodeWorker;
  availableParallelism(): number;
};
const builtin = (): Builtin | undefined =>
  (globalThis as { process?: { getBuiltinModule?: Builtin } }).process?.getBuiltinModule;

/** How many threads run at the same time here; 1 where there are no workers. */
export function cores(): number {
  return globalThis.navigator?.hardwareConcurrency ?? builtin()?.("node:os").availableParallelism() ?? 1;
}

/** Whether this runtime has workers. */
export function hasWorkers(): boolean {
  // with Node's names it still has none of its workers
  if (globalThis.navigator?.userAgent === "Cloudflare-Workers") return false;
  return typeof Worker === "function" || builtin() !== undefined;
}

/** Starts a worker. `hear` gets its messages, `lost` why it is no longer there. Throws what the runtime throws. */
export function spawn(hear: (message: FromThread) => void, lost: (why: string) => void): Spawned {
  if (typeof Worker !== "function") return spawnInNode(hear, lost);
  // bundlers that know workers look for these very words
  const worker = new Worker(new URL("./wlq-worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => hear(data);
  worker.onmessageerror = () => lost("its message was lost");
  worker.onerror = (event) => {
    event.preventDefault?.();
    lost(event.message || "its script does not load");
  };
  // Bun tells so
  worker.addEventListener("close", () => lost("it ended"));
  return { post: (message, transfer) => worker.postMessage(message, transfer), end: () => worker.terminate() };
}

function spawnInNode(hear: (message: FromThread) => void, lost: (why: string) => void): Spawned {
  const { Worker: NodeWorker } = (builtin() as Builtin)("node:worker_threads");
  const script = "./wlq-worker.js";
  const worker = new NodeWorker(new URL(script, import.meta.url), { execArgv: [] });
  worker.on("message", hear);
  worker.on("error", (error) => lost(String(error)));
  worker.on("exit", (code) => lost(`it ended with code ${code}`));
  return { post: (message, transfer) => worker.postMessage(message, transfer), end: () => worker.terminate() };
}
