// A mask: which weights are free, and the same as a factor for frameworks that multiply gradients.

/** The mask as float32 ones and zeros, for frameworks that multiply updates by it. */
export function maskF32(mask: Uint8Array, out: Float32Array = new Float32Array(mask.length)): Float32Array {
  if (out.length !== mask.length) throw new RangeError(`out has ${out.length} places for a mask of ${mask.length}`);
  out.set(mask);
  return out;
}
