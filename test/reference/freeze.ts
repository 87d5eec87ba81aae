// Freezing in plain TypeScript: masks, values, what moved, free weights, magnitudes, half octaves.

const bits = (x: number): number => new Uint32Array(Float32Array.of(x).buffer)[0] as number;

/** Frozen weights to their values, in place; how many had other bits. */
export function snap(weights: Float32Array, mask: Uint8Array, codes: Uint8Array, codebook: Float32Array): number {
  let moved = 0;
  for (let i = 0; i < weights.length; i++) {
    if (mask[i] !== 0) continue;
    const value = codebook[codes[i] as number] as number;
    if (bits(weights[i] as number) !== bits(value)) moved++;
    weights[i] = value;
  }
  return moved;
}

/** Weights whose code freezes: mask 0 and their value, in place. */
export function freeze(
  weights: Float32Array,
  mask: Uint8Array,
  codes: Uint8Array,
  codebook: Float32Array,
  freezes: Uint8Array,
): void {
  for (let i = 0; i < weights.length; i++) if (freezes[codes[i] as number]) mask[i] = 0;
  snap(weights, mask, codes, codebook);
}

export function firstMoved(weights: Float32Array, mask: Uint8Array, codes: Uint8Array, codebook: Float32Array): number {
  for (let i = 0; i < weights.length; i++) {
    if (mask[i] === 0 && bits(weights[i] as number) !== bits(codebook[codes[i] as number] as number)) return i;
  }
  return weights.length;
}

export function freezeBeyond(mask: Uint8Array, weights: Float32Array, limit: number, below: boolean): void {
  weights.forEach((w, i) => {
    if (below ? Math.abs(w) <= limit : Math.abs(w) >= limit) mask[i] = 0;
  });
}

export function takeFree(weights: Float32Array, mask: Uint8Array, absolute: boolean): Float32Array {
  return weights.filter((_, i) => mask[i] === 1).map((w) => (absolute ? Math.abs(w) : w));
}

/** Per half octave of the magnitude: count and sum, as numbers. */
export function halfOctaves(weights: Float32Array): { readonly counts: number[]; readonly sums: number[] } {
  const counts = new Array<number>(512).fill(0);
  const sums = new Array<number>(512).fill(0);
  for (const w of weights) {
    const cell = (bits(w) >>> 22) & 511;
    (counts[cell] as number)++;
    (sums[cell] as number) += Math.abs(w) / 2 ** (Math.max(cell >> 1, 1) - 150);
  }
  return { counts, sums };
}
