// An HTTP server of files in memory, with range requests, or with one of the ways in which servers get them wrong.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Served {
  readonly bytes: Uint8Array;
  /** What the server does. Default `ranges`. */
  readonly manner?: "ranges" | "no-ranges" | "no-size" | "changing" | "short" | "busy" | "down";
}

export interface RangeServer {
  readonly url: string;
  /** Requests and bytes of bodies so far. */
  readonly sent: { requests: number; bytes: number };
  close(): Promise<void>;
}

/** Serves `files` by their paths, which begin with a slash. A `busy` file is refused at every second request. */
export async function rangeServer(files: Readonly<Record<string, Served>>): Promise<RangeServer> {
  const sent = { requests: 0, bytes: 0 };
  const server = createServer((request, response) => {
    sent.requests++;
    const file = files[request.url ?? ""];
    const finish = (status: number, headers: Record<string, string>, body: Uint8Array | string): void => {
      sent.bytes += body.length;
      response.writeHead(status, headers).end(body);
    };
    if (!file) return finish(404, {}, "there is none");
    const { bytes, manner = "ranges" } = file;
    if (manner === "down" || (manner === "busy" && sent.requests % 2 === 1)) return finish(503, {}, "later");
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (!range || manner === "no-ranges") return finish(200, {}, bytes);
    const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, bytes.length)];
    const size = manner === "no-size" ? "*" : bytes.length;
    const headers = {
      "content-range": `bytes ${start}-${end - 1}/${size}`,
      etag: manner === "changing" ? `"${sent.requests}"` : '"one"',
    };
    finish(206, headers, bytes.subarray(start, manner === "short" && end - start > 1 ? end - 1 : end));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
