// Noise: a run's inputs once more, with noise on them, so that layers are seen to be less alike than a few samples are.
import type { Feeds, OrtTensor } from "./onnxruntime-session.ts";

type TensorOf = new (type: string, data: Float32Array, dims: readonly number[]) => OrtTensor;

/** The feeds with noise on float32 inputs, `level` of each one's standard deviation; the same for the same run everywhere. */
export function withNoise(feeds: Feeds, level: number, run: number): Feeds {
  const random = numbers(run);
  return Object.fromEntries(
    Object.entries(feeds).map(([name, tensor]) => {
      if (!(tensor.data instanceof Float32Array)) return [name, tensor];
      const factor = level * deviation(tensor.data) * UNIT;
      const data = tensor.data.map((x) => x + factor * random());
      return [name, new (tensor.constructor as TensorOf)(tensor.type, data, tensor.dims)];
    }),
  );
}

function deviation(data: Float32Array): number {
  let sum = 0;
  for (const x of data) sum += x;
  const mean = sum / Math.max(1, data.length);
  let squares = 0;
  for (const x of data) squares += (x - mean) * (x - mean);
  return Math.sqrt(squares / Math.max(1, data.length));
}

// The sum of four numbers of 16 bits about its mean, which is nearly normal and needs no logarithm; times this it has variance 1.
const UNIT = Math.sqrt(3) / 65536;

/** Such sums, two steps of xorshift (Marsaglia 2003) each. */
function numbers(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 16) & 0xffff) + (state & 0xffff);
  };
  return () => next() + next() - 131070;
}
