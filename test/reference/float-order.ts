// Float order: float32 as exact integers and as places in ascending order.

const view = new DataView(new ArrayBuffer(4));

export function bitsOf(x: number): number {
  view.setFloat32(0, x);
  return view.getUint32(0);
}

export function floatOf(bits: number): number {
  view.setUint32(0, bits);
  return view.getFloat32(0);
}

/** A finite float32 in units of 2^-149, of which each is a whole number. The product with a power of two is exact. */
export function exact(x: number): bigint {
  return BigInt(x * 2 ** 149);
}

/** The nearest float64 to a whole number of 2^-149: one rounding, in BigInt to Number. */
export function inexact(units: bigint): number {
  return Number(units) / 2 ** 149;
}

/** Place of a float32 among all of them in ascending order, from 0; -0 comes right before 0. */
export function placeOf(x: number): number {
  const bits = bitsOf(x);
  return bits >= 0x80000000 ? 0xffffffff - bits : bits + 0x80000000;
}

/** The float32 at a place. */
export function floatAt(place: number): number {
  return floatOf(place >= 0x80000000 ? place - 0x80000000 : 0xffffffff - place);
}
