// Serve: the folder with the package to a page, which fetches its next task here and brings back its answer.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { importMap } from "../prepare.mjs";
import { within } from "./child.mjs";

const TYPES = {
  ".mjs": "text/javascript",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".html": "text/html",
};
// isolated, as a page with threads is; nothing is kept, so that every page is cold
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cache-Control": "no-store",
};
// the narrowest that the package runs under, and one that forbids Wasm
const policy = (script) =>
  `default-src 'none'; script-src 'self' 'nonce-map'${script}; worker-src 'self'; connect-src 'self'`;
const ALLOWED = policy(" 'wasm-unsafe-eval'");
const REFUSED = policy("");

/** The page of an unbundled package. */
async function mappedPage(home) {
  const map = JSON.stringify(await importMap(home));
  return `<!doctype html><meta charset="utf-8"><title>wlq</title>
<script type="importmap" nonce="map">${map}</script><script type="module" src="/suite/page.mjs"></script>`;
}

/**
 * A server for one browser: `ask(task)` has the page do a task, each in a document of its own.
 *
 * @param options `page`: the page's text, where a bundler made it; `worker`: whether a Worker of the page does the task
 */
export async function serve(home, { page, worker = false } = {}) {
  const text = page ?? (await mappedPage(home));
  // tasks wait for a page, a page waits for a task
  const tasks = [];
  let wake = () => {};
  const next = async () => {
    while (tasks.length === 0) {
      await new Promise((resolve) => {
        wake = resolve;
      });
    }
    const { id, task } = tasks[0];
    return `/page?${new URLSearchParams({ id, task, ...(worker ? { worker: "1" } : {}) })}`;
  };
  const respond = async (request) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname === "/") return { status: 302, headers: { Location: await next() } };
    if (pathname === "/page") return { body: text, type: "text/html" };
    if (pathname === "/import-map.json")
      return { body: JSON.stringify(await importMap(home)), type: "application/json" };
    if (pathname.startsWith("/answer/")) {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const at = tasks.findIndex(({ id }) => pathname === `/answer/${id}`);
      if (at >= 0) tasks.splice(at, 1)[0].resolve(JSON.parse(Buffer.concat(chunks).toString()));
      return { body: await next(), type: "text/plain" };
    }
    const body = await readFile(join(home, normalize(pathname)));
    return { body, type: TYPES[extname(pathname)] ?? "application/octet-stream" };
  };
  const server = createServer((request, response) => {
    const isRefused = new URL(request.url, "http://localhost").searchParams.get("task") === "refused";
    const base = { ...HEADERS, "Content-Security-Policy": isRefused ? REFUSED : ALLOWED };
    respond(request).then(
      ({ status = 200, headers, body, type }) => {
        response.writeHead(status, { ...base, ...headers, ...(type ? { "Content-Type": type } : {}) });
        response.end(body);
      },
      () => {
        response.writeHead(404, base);
        response.end();
      },
    );
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  let count = 0;
  return {
    address: `http://127.0.0.1:${server.address().port}/`,
    ask(task) {
      const answered = new Promise((resolve) => tasks.push({ id: String(++count), task, resolve }));
      wake();
      return within(answered, `a page for "${task}"`);
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
