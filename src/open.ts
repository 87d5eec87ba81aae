// Open: which format a file has, among those the caller knows.
import { isContainer } from "./container/coding.ts";
import { looksLikeSafetensors, readSafetensors } from "./container/safetensors.ts";
import { WlqError } from "./error.ts";
import type { Format, Model, OpenOptions } from "./formats/format.ts";
import { safetensors } from "./formats/safetensors.ts";
import type { ByteSource } from "./io/source.ts";

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
