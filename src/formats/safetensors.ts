// safetensors model files: nothing but tensors and metadata.
import { looksLikeSafetensors, readSafetensors, type SafetensorsHeader } from "../container/safetensors.ts";
import { placeIn } from "../io/place.ts";
import { copySegment, type Segment } from "../io/segment.ts";
import type { ByteSource } from "../io/source.ts";
import { isFloatDtype } from "../tensor.ts";
import type { Format, Model, TensorEntry } from "./format.ts";

type Payloads = Pick<ByteSource, "read" | "source">;

/** The safetensors format; every build knows it. */
export function safetensors(): Format {
  return {
    name: "safetensors",
    detect: looksLikeSafetensors,
    open: async (source) => safetensorsModel(await readSafetensors(source), source),
  };
}

/** The model behind a header that was read. */
export function safetensorsModel({ tensors: parts, metadata, bytes }: SafetensorsHeader, source: Payloads): Model {
  const tensors: TensorEntry[] = [...parts.values()].map(({ name, dtype, shape, offset, byteLength }) => ({
    name,
    dtype,
    shape,
    byteLength,
    axis: 0,
    // biases, norms and scalars have one dimension or none
    weight: isFloatDtype(dtype) && shape.filter((d) => d > 1).length >= 2,
    place: placeIn(source, offset),
    read: (start, end) => source.read(offset + start, offset + end),
  }));
  return {
    format: "safetensors",
    tensors,
    warnings: [],
    metadata,
    async dense(payloads) {
      // sizes stay, so the header stays
      const size = new Uint8Array(BigUint64Array.of(BigInt(bytes.length)).buffer);
      const payload = (t: TensorEntry): Segment => payloads.get(t.name) ?? copySegment(t, 0, t.byteLength);
      return { main: [size, bytes.slice(), ...tensors.map(payload)], companions: new Map() };
    },
  };
}
