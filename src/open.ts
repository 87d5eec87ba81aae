// Open: which format a file has, among those the caller knows; and a model's importance, which is a file of one.
import { isContainer } from "./container/coding.ts";
import { looksLikeSafetensors, readSafetensors } from "./container/safetensors.ts";
import { malformed, WlqError } from "./error.ts";
import type { Format, Model, OpenOptions } from "./formats/format.ts";
import { safetensors } from "./formats/safetensors.ts";
import type { ImportanceOf } from "./importance.ts";
import { type ByteSource, byteSource, type Source } from "./io/source.ts";
import { countElements, isFloatDtype } from "./tensor.ts";

/** Opens a model of one of the formats. Throws `unsupported` for others and `already-compressed` for containers. */
export async function openModel(source: ByteSource, formats: readonly Format[], options: OpenOptions): Promise<Model> {
  const head = await source.read(0, Math.min(64, source.byteLength));
  if (looksLikeSafetensors(head, source.byteLength) && isContainer(await readSafetensors(source))) {
    throw new WlqError("already-compressed", "this file is a wlq container already: decompress it first");
  }
  for (const format of [safetensors(), ...formats]) {
    if (format.detect(head, source.byteLength)) return format.open(source, options);
  }
  if (head.length >= 9 && head[8] === 0x7b) return safetensors().open(source, options);
  const known = ["safetensors", ...formats.map((f) => f.name)].join(", ");
  throw new WlqError(
    "unsupported",
    `the file (${source.byteLength} bytes) is of no known format; known here: ${known}`,
  );
}

/**
 * Opens a file of importances for a model. Its tensors have names of the model's and the same shapes, or shapes that
 * broadcast to them as NumPy does: aligned at the last dimension, each dimension the same or 1. So `[in]` is a factor an
 * input channel of a linear layer's `[out, in]`, `[in, 1, 1]` of a convolution's `[out, in, h, w]`, `[in, 1]` of an ONNX
 * MatMul's `[in, out]`.
 *
 * @throws WlqError `not-found` for a tensor that the model does not have, `malformed` for another shape
 */
export async function openImportance(source: Source, formats: readonly Format[], model: Model): Promise<ImportanceOf> {
  const { importanceIn } = await import("./importance.ts");
  const file = await openModel(byteSource(source), formats, {});
  return importanceIn(file, model, { malformed, WlqError, countElements, isFloatDtype });
}
