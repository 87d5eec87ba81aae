// Pack: codes to a row of bits, least-significant bit first.

/** `ceil(codes * bits / 8)` bytes; unused bits are 0. */
export function pack(codes: Uint8Array, bits: number): Uint8Array {
  const out = new Uint8Array(Math.ceil((codes.length * bits) / 8));
  let place = 0;
  for (const code of codes) {
    for (let b = 0; b < bits; b++, place++) {
      if ((code >> b) & 1) (out[place >> 3] as number) |= 1 << (place & 7);
    }
  }
  return out;
}
