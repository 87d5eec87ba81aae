// Container: a model's weights as a safetensors file, and back.
import { safetensorsHead } from "../../src/container/safetensors.ts";
import { safetensors } from "../../src/formats/safetensors.ts";
import { byteSource } from "../../src/io/source.ts";
import type { Tensor } from "../../src/tensor.ts";

export function fileOf(weights: Readonly<Record<string, Tensor>>): Uint8Array<ArrayBuffer> {
  const all = Object.entries(weights);
  const head = safetensorsHead(
    all.map(([name, { data, shape }]) => ({ name, dtype: "F32", shape, byteLength: data.byteLength })),
    {},
  );
  const parts = all.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return new Uint8Array(Buffer.concat([head, ...parts]));
}

export async function weightsOf(file: Uint8Array): Promise<Record<string, Float32Array>> {
  const { tensors } = await safetensors().open(byteSource(file), {});
  const weights: Record<string, Float32Array> = {};
  for (const { name, byteLength, read } of tensors) {
    weights[name] = new Float32Array((await read(0, byteLength)).slice().buffer);
  }
  return weights;
}
