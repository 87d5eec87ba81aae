// How a tensor is coded: read straight from the result, which is an ordinary safetensors file (docs/format.md).
import { fromHalf } from "./floats.ts";

interface Part {
  readonly data_offsets: readonly [number, number];
}

interface Entry {
  readonly shape: readonly number[];
  readonly levels: number;
  readonly axis?: number;
  readonly groupSize?: number;
  readonly codebook: string;
  readonly scales?: string;
}

/** The first codebook of a tensor, and the scales in front of it: weight e has number floor(e / inner) mod their number. */
export interface LayerCoding {
  readonly codebook: Float32Array;
  readonly codebooks: number;
  readonly scales: Float32Array | undefined;
  readonly inner: number;
}

export async function readCoding(file: Blob, tensor: string): Promise<LayerCoding> {
  const length = Number(new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
  const header = JSON.parse(await file.slice(8, 8 + length).text());
  const read = async (name: string): Promise<ArrayBuffer> => {
    const [start, end] = (header[name] as Part).data_offsets;
    return file.slice(8 + length + start, 8 + length + end).arrayBuffer();
  };
  const entry: Entry = JSON.parse(header.__metadata__["wlq.tensors"])[tensor];
  const all = new Float32Array(await read(entry.codebook));
  const halves = entry.scales && new Uint16Array(await read(entry.scales));
  const below = entry.shape.slice((entry.axis ?? 0) + 1).reduce((product, size) => product * size, 1);
  return {
    codebook: all.slice(0, entry.levels),
    codebooks: all.length / entry.levels,
    scales: halves ? Float32Array.from(halves, fromHalf) : undefined,
    inner: entry.groupSize ?? below,
  };
}
