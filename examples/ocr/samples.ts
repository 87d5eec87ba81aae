// Samples: inputs of a model in a file as `wlq calibrate` reads them, named tensors `0/x`, `1/x` … in safetensors.
import { writeFile } from "node:fs/promises";
import type { Tensor } from "onnxruntime-web";

/** Writes one run of the model a tensor; `name` is the model's input. */
export async function writeSamples(path: string, name: string, inputs: readonly Tensor[]): Promise<void> {
  const header: Record<string, { dtype: "F32"; shape: readonly number[]; data_offsets: readonly [number, number] }> =
    {};
  let end = 0;
  const parts = inputs.map(({ data, dims }, run) => {
    if (!(data instanceof Float32Array)) throw new TypeError(`sample ${run} is no float32 tensor`);
    const start = end;
    end += data.byteLength;
    header[`${run}/${name}`] = { dtype: "F32", shape: dims, data_offsets: [start, end] };
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  });
  const text = new TextEncoder().encode(JSON.stringify(header));
  // padded: readers map payloads as floats
  const padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(0x20);
  padded.set(text);
  await writeFile(
    path,
    Buffer.concat([new Uint8Array(BigUint64Array.of(BigInt(padded.length)).buffer), padded, ...parts]),
  );
}
