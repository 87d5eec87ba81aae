// Worker: a thread where it runs. Bundled into one script that wlq/threads carries as text.
import type { FromThread, ToThread } from "./messages.ts";
import { serve } from "./thread.ts";

/** Set before this script: the port that Node hands to its workers. */
declare const wlqPort:
  | { postMessage: typeof postMessage; on(name: "message", hear: (data: ToThread) => void): void }
  | undefined;
/** A worker's own, which the DOM's types do not know. */
declare const postMessage: (message: FromThread, transfer: ArrayBuffer[]) => void;

if (typeof wlqPort === "undefined") {
  serve({
    post: (message, transfer) => postMessage(message, transfer),
    listen: (hear) => {
      globalThis.onmessage = ({ data }: MessageEvent) => hear(data as ToThread);
    },
  });
} else {
  const port = wlqPort;
  serve({
    post: (message, transfer) => port.postMessage(message, transfer),
    listen: (hear) => port.on("message", hear),
  });
}
