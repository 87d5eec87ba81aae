// Loading: nothing compiles at import, the kernels come from where the caller says, and every refusal says what to do.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "wlq-loading-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const dist = (name: string): string => JSON.stringify(pathToFileURL(join("dist", name)).href);

// what every script begins with: what is compiled and instantiated, and hashes of results
const BEGIN = `
  import { createHash } from "node:crypto";
  import { readFileSync } from "node:fs";
  const calls = [];
  for (const name of ["compile", "instantiate", "compileStreaming", "instantiateStreaming"]) {
    const original = WebAssembly[name];
    WebAssembly[name] = (bytes, ...rest) => {
      // Node's own fetch compiles a parser
      if (!new Error().stack.includes("node:internal/deps")) calls.push([name, bytes.byteLength]);
      return original(bytes, ...rest);
    };
  }
  for (const name of ["Module", "Instance"]) {
    const Original = WebAssembly[name];
    WebAssembly[name] = class extends Original {
      constructor(...args) {
        calls.push([name]);
        super(...args);
      }
      static [Symbol.hasInstance](x) {
        return x instanceof Original;
      }
    };
  }
  const weights = Float32Array.from({ length: 5000 }, (_, i) => ((i * 7919) % 1009) / 1009 - 0.5);
  const hash = (...parts) => {
    const h = createHash("sha256");
    for (const part of parts) h.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    return h.digest("hex").slice(0, 16);
  };
  const say = (value) => console.log(JSON.stringify(value));
  const codeOf = (promise) => promise.then(() => "no error", (error) => \`\${error.code ?? error.name}: \${error.message}\`);
`;

let count = 0;

/** Runs a script in a Node of its own: a package that is loaded cannot be loaded again. */
function run(script: string, flags: readonly string[] = []): { answer: unknown; stderr: string } {
  const path = join(folder, `script-${++count}.mjs`);
  writeFileSync(path, BEGIN + script);
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, path], { encoding: "utf8" });
  if (!stdout) throw new Error(stderr);
  return { answer: JSON.parse(stdout), stderr };
}

const ROUND_TRIP = `
  const { init, quantize, quantizeSync, dequantize, dequantizeSync } = await import(${dist("index.js")});
  const trip = async () => {
    const q = await quantize(weights, { levels: 17 });
    return hash(q.codebook, q.codes, await dequantize(q));
  };
`;
const bytesOf = (name: string): number => readFileSync(join("build", name)).byteLength;

describe("the kernels in the package", () => {
  test.each(["index", "decoder", "onnx", "caffe", "slq", "tfjs", "threads", "node"])(
    "import of %s compiles nothing",
    (entry) => {
      const { answer } = run(`await import(${dist(`${entry}.js`)}); say(calls);`);
      expect(answer).toEqual([]);
    },
  );

  test("each is compiled once, at first use, and instantiated by need", () => {
    const { answer } = run(`${ROUND_TRIP}
      await trip();
      await trip();
      say(calls);`);
    const compiled = [bytesOf("encode.simd.wasm"), bytesOf("decode.simd.wasm")].map((size) => ["compile", size]);
    expect(answer).toEqual([compiled[0], ["Instance"], compiled[1], ["Instance"]]);
  });

  test("synchronous use before init() is an error that says so, after it works", () => {
    const { answer } = run(`${ROUND_TRIP}
      let early;
      try { quantizeSync(weights); } catch (error) { early = [error.code, error.message]; }
      await init();
      const q = quantizeSync(weights, { levels: 17 });
      say([early, hash(q.codebook, q.codes, dequantizeSync(q)) === await trip()]);`);
    expect(answer).toEqual([["not-ready", expect.stringContaining("await init() once")], true]);
  });
});

describe("the scalar build", () => {
  test("replaces the other after first use, for shared scopes, too, and stays until it is replaced", () => {
    const { answer } = run(`${ROUND_TRIP}
      const hashes = [await trip()];
      calls.length = 0;
      await init({ simd: false });
      await init();
      hashes.push(await trip());
      const scalar = calls.splice(0).sort();
      await init({ simd: true });
      hashes.push(await trip());
      say([new Set(hashes).size, scalar, calls.sort()]);`);
    const done = (kind: string) => {
      const compiled = ["encode", "decode"].map((name) => ["compile", bytesOf(`${name}.${kind}.wasm`)]);
      return [["Instance"], ["Instance"], ...compiled].sort();
    };
    expect(answer).toEqual([1, done("scalar"), done("simd")]);
  });

  // a processor without SSE 4.1, as V8 sees it
  const OLD = ["--no-enable-sse4-1"];

  test.skipIf(process.arch !== "x64")("takes over where the engine has no SIMD, with one line that says so", () => {
    const script = `${ROUND_TRIP}
      const { createSlq } = await import(${dist("slq.js")});
      await createSlq({ a: weights.slice() }, { levels: 5 });
      say([await trip(), calls.filter(([name]) => name === "compile").map(([, size]) => size).sort()]);`;
    const old = run(script, OLD);
    const now = run(script);
    const sizes = (kind: string) => ["encode", "slq", "decode"].map((name) => bytesOf(`${name}.${kind}.wasm`)).sort();
    const [hash, compiled] = old.answer as [string, number[]];
    expect(now.answer).toEqual([hash, sizes("simd")]);
    expect(compiled).toEqual(sizes("scalar"));
    expect(old.stderr).toBe("wlq: this engine has no Wasm SIMD; the scalar build takes over: the same bytes, slower\n");
    expect(now.stderr).toBe("");
  });

  test.skipIf(process.arch !== "x64")("is taken without a word where it was asked for", () => {
    expect(run(`${ROUND_TRIP} await init({ simd: false }); say(await trip());`, OLD).stderr).toBe("");
  });
});

describe("kernels from elsewhere", () => {
  let server: Server;
  let address: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      const name = request.url?.slice(1) ?? "";
      // as a server does that knows no type for .wasm
      response.setHeader("Content-Type", "application/octet-stream");
      response.statusCode = name.endsWith(".wasm") ? 200 : 404;
      response.end(name.endsWith(".wasm") ? readFileSync(join("build", name)) : "no");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  afterAll(() => {
    server.close();
  });

  test.each([
    ["bytes", "readFileSync"],
    ["ArrayBuffer", "((path) => new Uint8Array(readFileSync(path)).buffer)"],
    ["module", "((path) => new WebAssembly.Module(readFileSync(path)))"],
    ["Response", "((path) => new Response(readFileSync(path)))"],
  ])("as %s", (_, make) => {
    const { answer } = run(`${ROUND_TRIP}
      const before = await trip();
      const make = ${make};
      await init({ encode: make("build/encode.scalar.wasm"), decode: make("build/decode.scalar.wasm") });
      say(await trip() === before);`);
    expect(answer).toBe(true);
  });

  /** A server of this process answers: the script must not block it. */
  async function runBeside(script: string): Promise<unknown> {
    const path = join(folder, `script-${++count}.mjs`);
    writeFileSync(path, `${BEGIN}${ROUND_TRIP}${script}`);
    const { execFile } = await import("node:child_process");
    const { promisify } = await import("node:util");
    return JSON.parse((await promisify(execFile)(process.execPath, [path])).stdout);
  }

  test("from a URL, of wlq/slq, too", async () => {
    const answer = await runBeside(`
      const before = await trip();
      const at = (name) => new URL(name + ".scalar.wasm", ${JSON.stringify(address)});
      await init({ encode: at("encode"), decode: at("decode") });
      const { initSlq, createSlq } = await import(${dist("slq.js")});
      await initSlq({ encode: at("encode"), slq: at("slq") });
      const slq = await createSlq({ a: weights.slice() }, { levels: 5 });
      await slq.next();
      say([await trip() === before, slq.round]);`);
    expect(answer).toEqual([true, 1]);
  });

  test("what is not there, is no binary or is no place is an error that names it", async () => {
    const [missing, wrong, text, garbage] = (await runBeside(`
      const at = ${JSON.stringify(address)};
      say([
        await codeOf(init({ encode: new URL("nothing", at) })),
        await codeOf(init({ decode: new URL("decode.scalar.wasm", "http://127.0.0.1:9/") })),
        await codeOf(init({ encode: at })),
        await codeOf(init({ encode: new Uint8Array(9) })),
      ]);`)) as string[];
    expect(missing).toBe(`io: encode from ${address}nothing: Error: status 404`);
    expect(wrong).toMatch(/^io: decode from http:\/\/127\.0\.0\.1:9\/decode\.scalar\.wasm: TypeError/);
    expect(text).toBe("TypeError: encode must be a WebAssembly.Module, bytes, a Response or a URL");
    expect(garbage).toMatch(/^unsupported: Wasm does not compile: CompileError/);
  });
});

describe("an engine that refuses", () => {
  test("to grow memory: code resources, and smaller work goes on", () => {
    const { answer } = run(
      `${ROUND_TRIP}
      const before = await trip();
      const refused = await codeOf(quantize({ data: new Float32Array(1 << 22).fill(1), shape: [4, 1 << 20] },
        { granularity: "channel", axis: 1 }));
      say([refused, await trip() === before]);`,
      ["--wasm-max-mem-pages=64"],
    );
    expect(answer).toEqual([expect.stringMatching(/^resources: the Wasm memory cannot grow to \d+ bytes/), true]);
  });

  test("to compile: code unsupported, with what to do", () => {
    const { answer } = run(`
      ${ROUND_TRIP}
      await new Response("").text();
      WebAssembly.compile = async () => { throw new WebAssembly.CompileError("blocked by a policy"); };
      say(await codeOf(trip()));`);
    expect(answer).toMatch(/^unsupported: .*blocked by a policy.*script-src 'wasm-unsafe-eval'/);
  });
});
