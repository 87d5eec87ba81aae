// HTTP: a file on a server as a source, read with range requests.
import { WlqError } from "../error.ts";
import type { RangeSource } from "./source.ts";

export interface HttpOptions {
  /** Sent with every request: `{ authorization: "Bearer …" }`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

// A request is sent this often before a network or server failure (429, 5xx) is an error.
const ATTEMPTS = 3;

/**
 * Opens a URL as a source. Only the ranges that are asked for are fetched, so one tensor of a large file costs as much
 * as it is long.
 *
 * @throws WlqError `unsupported` where the server ignores ranges, `not-found` (404, 410), `io`; while it is read, also
 * where the file is no longer the one that was opened
 * @example
 * const model = await open(await httpSource("https://example.org/model.wlq.safetensors"));
 */
export async function httpSource(url: string | URL, options: HttpOptions = {}): Promise<RangeSource> {
  // one byte shows that ranges work, and how long the file is
  const probe = await request(url, 0, 1, options);
  await probe.body?.cancel();
  const byteLength = Number(/^bytes 0-0\/(\d+)$/.exec(probe.headers.get("content-range") ?? "")?.[1]);
  if (!(byteLength > 0)) {
    const advice = "a server of another origin must expose it (Access-Control-Expose-Headers)";
    throw new WlqError("unsupported", `${url}: no size in the response's header Content-Range; ${advice}`);
  }
  const version = versionOf(probe);
  return {
    byteLength,
    async slice(start, end) {
      const response = await request(url, start, end, options);
      if (versionOf(response) !== version) {
        await response.body?.cancel();
        throw new WlqError("io", `${url} was changed while it was read`);
      }
      return response.arrayBuffer();
    },
  };
}

function versionOf({ headers }: Response): string | null {
  return headers.get("etag") ?? headers.get("last-modified");
}

/** A response that holds the range and nothing else; its body is not read yet. */
async function request(url: string | URL, start: number, end: number, options: HttpOptions): Promise<Response> {
  const { headers, signal } = options;
  const init = { headers: { ...headers, range: `bytes=${start}-${end - 1}`, "accept-encoding": "identity" }, signal };
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(url, init as RequestInit).catch((cause: unknown) => {
      if (signal?.aborted) throw new WlqError("aborted", `${url}: stopped by the caller`, { cause });
      if (attempt === ATTEMPTS) throw new WlqError("io", `${url}: ${cause}`, { cause });
    });
    if (response?.status === 206) return response;
    await response?.body?.cancel();
    if (response?.ok) {
      throw new WlqError("unsupported", `${url}: the server does not answer range requests; download the file first`);
    }
    if (response && response.status < 500 && response.status !== 429) {
      const missing = response.status === 404 || response.status === 410;
      throw new WlqError(missing ? "not-found" : "io", `${url}: ${response.status} ${response.statusText}`);
    }
    if (attempt === ATTEMPTS) throw new WlqError("io", `${url}: ${response?.status} ${response?.statusText}`);
    await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
  }
}
