// The Worker's memory in local workerd, which does not enforce the platform's 128 MB: a tensor of twice that, measured.
import { execFileSync } from "node:child_process";
import { copyFileSync, createReadStream, mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { expect, test } from "vitest";
import { copyExample, lacks, tool } from "./copied-example.ts";
import { startWrangler } from "./wrangler.ts";

const MIB = 1 << 20;

/** Uploads a file as a stream; the answer's status and text. */
async function put(url: string, path: string, headers: Record<string, string>): Promise<[number, string]> {
  return await new Promise((resolve, reject) => {
    const length = { "content-length": `${statSync(path).size}` };
    const upload = request(url, { method: "PUT", headers: { ...headers, ...length } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part) => {
        text += part;
      });
      response.on("end", () => resolve([response.statusCode ?? 0, text]));
    });
    upload.on("error", reject);
    createReadStream(path).pipe(upload);
  });
}

// a minute, more where the machine does other things, too
test.skipIf(lacks(tool("wrangler")))(
  "a model of 400 MiB with a tensor of 250 MiB takes less than 100 MB of Wasm and JavaScript memory",
  { timeout: 600_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "wlq-worker-memory-"));
    const example = copyExample("worker");
    copyFileSync("test/examples/worker-probe.mjs", join(example.folder, "probe.mjs"));
    const path = join(folder, "model.safetensors");
    const sizes = ["--bytes", `${400 * MIB}`, "--tensors", "4", "--largest", `${250 * MIB}`];
    execFileSync(process.execPath, ["scripts/big-model.mjs", path, ...sizes]);
    const worker = await startWrangler(example.folder, "probe.mjs", ["TOKEN:secret", "INLINE_BYTES:1000000000"]);
    let samples = 0;
    const peak = { heap: 0, buffers: 0, sum: 0 };
    // the Worker waits for an answer from here, and stands still while it is looked at
    const probe = createServer(async (_, response) => {
      const { heap, buffers } = await worker.memory();
      samples++;
      peak.heap = Math.max(peak.heap, heap);
      peak.buffers = Math.max(peak.buffers, buffers);
      peak.sum = Math.max(peak.sum, heap + buffers);
      // an idle connection that is closed here is an error there
      response.writeHead(200, { connection: "close" }).end();
    });
    try {
      await new Promise<void>((done) => probe.listen(0, "127.0.0.1", done));
      const sample = `http://127.0.0.1:${(probe.address() as AddressInfo).port}`;
      const headers = { authorization: "Bearer secret", "x-test-sample": sample, "x-test-every": "8" };
      const [status, text] = await put(`${worker.url}/models/big`, path, headers);
      expect(status, text).toBe(201);
      const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
      process.stderr.write(
        `${samples} samples: heap ${mb(peak.heap)}, buffers and Wasm ${mb(peak.buffers)}, together ${mb(peak.sum)}\n`,
      );
      expect(samples).toBeGreaterThan(50);
      expect(peak.sum).toBeGreaterThan(1e6);
      expect(peak.sum).toBeLessThan(100e6);
    } finally {
      probe.close();
      await worker.stop();
      example.remove();
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
