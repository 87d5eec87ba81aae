// Training, as rounds see it: free weights change, frozen ones do not.
import type { Slq } from "../../src/slq/index.ts";
import { Random } from "../kernels/random.ts";

/** Random steps on the free weights. */
export function train(slq: Slq, seed: number, size = 0.1): void {
  const random = new Random(seed);
  for (const [name, weights] of Object.entries(slq.weights)) {
    const mask = slq.masks[name] as Uint8Array;
    for (let i = 0; i < weights.length; i++) {
      const step = size * random.normal();
      if (mask[i] === 1) weights[i] = (weights[i] as number) + step;
    }
  }
}

/** Index of the first weight that was frozen in `mask` and has other bits now; -1 if there is none. */
export function firstChange(before: Float32Array, after: Float32Array, mask: Uint8Array): number {
  const a = new Uint32Array(before.buffer, before.byteOffset, before.length);
  const b = new Uint32Array(after.buffer, after.byteOffset, after.length);
  for (let i = 0; i < mask.length; i++) if (mask[i] === 0 && a[i] !== b[i]) return i;
  return -1;
}
