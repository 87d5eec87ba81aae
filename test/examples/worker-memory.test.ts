// Memory of the Worker of examples/worker: a model of 400 MB with a tensor of 250 MB, in less than 100 MB of its isolate.
import { copyFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { copyExample, lacks, tool } from "./copied-example.ts";
import { modelStream } from "./model-stream.ts";
import { startWrangler } from "./wrangler.ts";

const SHAPES = { "embed.weight": [15_259, 4096], "up.weight": [4096, 4096], "down.weight": [1024, 20_400] } as const;
const BYTES = { model: 400_668_664, tensor: 15_259 * 4096 * 4 };
const LIMIT = 100e6;
const EVERY = 4;

test.skipIf(lacks(tool("wrangler")))(
  "400 MB with a tensor of 250 MB take less than 100 MB of JavaScript's heap, array buffers and Wasm memory",
  async () => {
    const example = copyExample("worker");
    copyFileSync("test/examples/worker-probe.mjs", join(example.folder, "probe.mjs"));
    const worker = await startWrangler(example.folder, "probe.mjs", ["TOKEN:secret", "INLINE_BYTES:1000000000"]);
    let peak = { heap: 0, buffers: 0, both: 0, samples: 0 };
    // the Worker asks this server before every fourth operation of its bucket, and is looked at while it waits
    const sampler = createServer(async (_, response) => {
      const { heap, buffers } = await worker.memory();
      peak = {
        heap: Math.max(peak.heap, heap),
        buffers: Math.max(peak.buffers, buffers),
        both: Math.max(peak.both, heap + buffers),
        samples: peak.samples + 1,
      };
      response.end();
    }).listen(0, "127.0.0.1");
    const { port } = sampler.address() as { port: number };
    const watch = { "x-test-sample": `http://127.0.0.1:${port}`, "x-test-every": `${EVERY}` };
    const measure = async (what: string, work: () => Promise<void>): Promise<void> => {
      peak = { heap: 0, buffers: 0, both: 0, samples: 0 };
      const start = performance.now();
      await work();
      const seconds = ((performance.now() - start) / 1000).toFixed(0);
      const [both, heap, buffers] = [peak.both, peak.heap, peak.buffers].map((n) => (n / 1e6).toFixed(0));
      const parts = `heap ${heap}, buffers and Wasm ${buffers}`;
      console.log(`${what}: ${seconds} s, at most ${both} MB (${parts}) in ${peak.samples} samples`);
      expect(peak.samples).toBeGreaterThan(5);
      expect(peak.both).toBeLessThan(LIMIT);
    };
    try {
      await measure("PUT of 400 MB", async () => {
        const body = Readable.toWeb(Readable.from(modelStream(SHAPES))) as BodyInit;
        const headers = { ...watch, authorization: "Bearer secret" };
        const init = { method: "PUT", body, headers, duplex: "half" } as RequestInit;
        const response = await fetch(`${worker.url}/models/big`, init);
        expect([response.status, await response.json()]).toMatchObject([201, { bytesIn: BYTES.model }]);
      });
      await measure("GET of a tensor of 250 MB", async () => {
        const response = await fetch(`${worker.url}/models/big/tensors/embed.weight`, { headers: watch });
        let bytes = 0;
        for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) bytes += chunk.length;
        expect(bytes).toBe(BYTES.tensor);
      });
    } finally {
      sampler.close();
      await worker.stop();
      example.remove();
    }
  },
  900_000,
);
