// Size: what a quantized network needs, everything counted, from its file.
import { readFile } from "node:fs/promises";

/** Bytes of one network, without names and headers. */
export interface Size {
  /** Codes at their order-0 entropy, layer by layer, in whole bytes. */
  readonly codes: number;
  /** A codebook's values as float32 and the counts of its codes, 4 bytes each, of which an entropy coder makes its table. */
  readonly tables: number;
  /** As float32. */
  readonly biases: number;
  readonly total: number;
  /** Share of the weights that is zero. */
  readonly zeros: number;
  readonly weights: number;
}

/** Tensors of a safetensors file with float32 values. */
export async function readTensors(path: string): Promise<Map<string, Float32Array>> {
  const file = await readFile(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, start).toString()) as Record<string, Entry>;
  return new Map(
    Object.entries(header).flatMap(([name, { dtype, data_offsets: [from, to] = [0, 0] }]) => {
      if (dtype !== "F32") return [];
      return [[name, new Float32Array(new Uint8Array(file.subarray(start + from, start + to)).buffer)] as const];
    }),
  );
}

interface Entry {
  readonly dtype?: string;
  readonly data_offsets?: readonly [number, number];
}

/** The size of a quantized network. */
export function sizeOf(tensors: ReadonlyMap<string, Float32Array>): Size {
  let [codes, tables, biases, weights, zeros] = [0, 0, 0, 0, 0];
  for (const [name, values] of tensors) {
    if (!name.endsWith(".weight")) {
      biases += 4 * values.length;
      continue;
    }
    const counts = new Map<number, number>();
    for (const x of values) counts.set(x, (counts.get(x) ?? 0) + 1);
    let bits = 0;
    for (const count of counts.values()) bits -= count * Math.log2(count / values.length);
    codes += Math.ceil(bits / 8);
    tables += 8 * counts.size;
    weights += values.length;
    zeros += counts.get(0) ?? 0;
  }
  return { codes, tables, biases, total: codes + tables + biases, zeros: zeros / weights, weights };
}
