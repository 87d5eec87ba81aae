// Worker: a thread where it runs; dist/wlq-worker.js, which wlq/threads starts.
import type { FromThread, ToThread } from "./messages.ts";
import { serve } from "./thread.ts";

/** What a worker has that the DOM's types do not know. */
type Post = (message: FromThread, transfer: ArrayBuffer[]) => void;
interface NodePort {
  postMessage: Post;
  on(name: "message", hear: (data: ToThread) => void): void;
}
type Builtin = (name: "node:worker_threads") => { readonly parentPort: NodePort };

const own = globalThis as { postMessage?: unknown; process: { getBuiltinModule: Builtin } };
if (typeof own.postMessage === "function") {
  const post = own.postMessage as Post;
  serve(post, (hear) => {
    globalThis.onmessage = ({ data }: MessageEvent) => hear(data as ToThread);
  });
} else {
  const { parentPort } = own.process.getBuiltinModule("node:worker_threads");
  serve(
    (message, transfer) => parentPort.postMessage(message, transfer),
    (hear) => parentPort.on("message", hear),
  );
}
