// Threads: the same bytes from any number of workers, and an end in order whatever happens to them.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "wlq-threads-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const dist = (name: string): string => JSON.stringify(pathToFileURL(join("dist", name)).href);

const BEGIN = `
  import { createHash } from "node:crypto";
  import { createRequire } from "node:module";
  import { compress } from ${dist("index.js")};
  import { fileSink, fileSource } from ${dist("node.js")};
  import { threads } from ${dist("threads.js")};
  // every worker that is started
  const workers = [];
  const module = createRequire(import.meta.url)("node:worker_threads");
  const { Worker } = module;
  module.Worker = class extends Worker {
    constructor(...args) {
      super(...args);
      workers.push(this);
      this.once("message", () => {
        this.ready = true;
      });
    }
  };
  // once a worker is there and has had some time to work
  const waitFor = (n, act) => {
    if (workers[n]?.ready) setTimeout(() => act(workers[n]), 10);
    else setTimeout(waitFor, 5, n, act);
  };
  const hash = async (path, options) => {
    const source = await fileSource(path);
    const sum = createHash("sha256");
    const report = await compress(source, new WritableStream({ write: (chunk) => void sum.update(chunk) }), options);
    await source.close();
    return [sum.digest("hex"), report.tensors.map(({ bytesOut, stats }) => [bytesOut, stats?.count, stats && [...stats.counts]])];
  };
`;

/** Runs a script in a Node of its own, which must end by itself. */
function run(script: string): unknown {
  const path = join(folder, "script.mjs");
  writeFileSync(path, BEGIN + script);
  const { stdout, stderr, signal } = spawnSync(process.execPath, [path], { encoding: "utf8", timeout: 100_000 });
  expect(signal, "a process that does not end").toBeNull();
  if (!stdout) throw new Error(stderr);
  return JSON.parse(stdout);
}

const many = join(folder, "many.safetensors");
const one = join(folder, "one.safetensors");
beforeAll(() => {
  const make = (...args: string[]) => spawnSync(process.execPath, [resolve("scripts/big-model.mjs"), ...args]);
  make(many, "--bytes", String(18 << 20), "--tensors", "9", "--columns", "1024");
  make(one, "--bytes", String(20 << 20), "--tensors", "1", "--columns", "4096");
});

describe("the bytes of one, two and three threads are the same", () => {
  test.each([
    ["by default", many, {}],
    ["codebooks a channel", many, { scale: "none", granularity: "channel", levels: 16 }],
    ["ecsq", many, { method: "ecsq", scale: "none", targetBits: 3 }],
    ["codes of one width", many, { entropy: "none", levels: 16 }],
    ["dense", many, { to: "dense", levels: 16 }],
    ["one tensor, by default", one, {}],
    ["one tensor, one codebook", one, { scale: "none", levels: 16, entropy: "none" }],
    ["one tensor, channels of the last axis", one, { axis: -1, levels: 8 }],
  ])("%s", (_, path, options) => {
    const [first, two, three, started] = run(`
      const options = ${JSON.stringify(options)};
      const all = [];
      for (const n of [1, 2, 3]) all.push(await hash(${JSON.stringify(path)}, { ...options, threads: threads(n) }));
      console.log(JSON.stringify([...all, workers.length]));`) as unknown[];
    expect(two).toEqual(first);
    expect(three).toEqual(first);
    expect(started).toBe(5);
  });
});

describe("an end in order", () => {
  const out = JSON.stringify(join(folder, "out.safetensors"));
  const attempt = (before: string, options: string): string => `
    const source = await fileSource(${JSON.stringify(one)});
    const abort = new AbortController();
    ${before}
    const code = await compress(source, fileSink(${out}), { threads: threads(2), signal: abort.signal, ${options} })
      .then(() => "no error", (error) => [error.name, error.code]);
    await source.close();
    console.log(JSON.stringify(code));`;
  const left = (): string[] => readdirSync(folder).filter((name) => name.startsWith("out."));

  test("a worker that is lost is an error", () => {
    const code = run(attempt("waitFor(1, (worker) => worker.terminate());", ""));
    expect(code).toEqual(["WlqError", "resources"]);
    expect(left()).toEqual([]);
  });

  test("the caller's signal ends workers, while they look for codebooks and while they write", () => {
    expect(run(attempt("waitFor(1, () => abort.abort());", ""))).toEqual(["WlqError", "aborted"]);
    const writing = "onProgress: ({ phase }) => phase === 'write' && abort.abort()";
    expect(run(attempt("", writing))).toEqual(["WlqError", "aborted"]);
    expect(left()).toEqual([]);
  });

  test("a source that fails is its own error, and a weight that is not finite is named as by one thread", () => {
    const answer = run(`
      const { readFileSync } = await import("node:fs");
      const bytes = readFileSync(${JSON.stringify(one)});
      const codeOf = (source) => compress(source, new WritableStream(), { include: /./, threads: threads(2) })
        .then(() => "no error", (error) => [error.code, error.message]);
      let reads = 0;
      const slice = (start, end) => {
        if (++reads > 12) throw new Error("gone");
        return new Uint8Array(bytes.subarray(start, end)).buffer;
      };
      const failed = await codeOf({ byteLength: bytes.length, slice });
      const spoilt = Uint8Array.from(bytes);
      for (const at of [5, 17]) spoilt.set([0, 0, 192, 127], spoilt.length - at * 400_000);
      const found = [await codeOf(spoilt)];
      found.push(await compress(spoilt, new WritableStream(), { include: /./ }).catch(({ code, message }) => [code, message]));
      console.log(JSON.stringify([failed, ...found]));`) as [string, string][];
    expect(answer[0]?.[0]).toBe("io");
    expect(answer[1]).toEqual(answer[2]);
    expect(answer[1]?.[0]).toBe("non-finite");
  });
});

test("numbers that are none are refused", () => {
  const errors = run(`
    const errors = [0, 1.5, 65].map((n) => { try { threads(n); } catch (error) { return error.name; } });
    console.log(JSON.stringify(errors));`);
  expect(errors).toEqual(["RangeError", "RangeError", "RangeError"]);
});
