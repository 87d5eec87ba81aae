// safetensors model files: nothing but tensors and metadata.
import { looksLikeSafetensors, readSafetensors } from "../container/safetensors.ts";
import { copySegment, type Segment } from "../io/segment.ts";
import { isFloatDtype } from "../tensor.ts";
import type { Format, Model, TensorEntry } from "./format.ts";

/** The safetensors format; every build knows it. */
export function safetensors(): Format {
  return {
    name: "safetensors",
    detect: looksLikeSafetensors,
    async open(source): Promise<Model> {
      const { tensors: parts, metadata, bytes } = await readSafetensors(source);
      const tensors: TensorEntry[] = [...parts.values()].map(({ name, dtype, shape, offset, byteLength }) => ({
        name,
        dtype,
        shape,
        byteLength,
        axis: 0,
        // biases, norms and scalars have one dimension or none
        weight: isFloatDtype(dtype) && shape.filter((d) => d > 1).length >= 2,
        read: (start, end) => source.read(offset + start, offset + end),
      }));
      return {
        format: "safetensors",
        tensors,
        warnings: [],
        metadata,
        async dense(payloads) {
          // sizes stay, so the header stays
          const main: Segment[] = [await source.read(0, 8 + bytes.length)];
          for (const t of tensors) main.push(payloads.get(t.name) ?? copySegment(t, 0, t.byteLength));
          return { main, companions: new Map() };
        },
      };
    },
  };
}
