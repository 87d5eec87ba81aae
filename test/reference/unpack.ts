// Unpack: a row of bits to codes, least-significant bit first.

export function unpack(packed: Uint8Array, count: number, bits: number): Uint8Array {
  const out = new Uint8Array(count);
  let place = 0;
  for (let i = 0; i < count; i++) {
    for (let b = 0; b < bits; b++, place++) {
      if (((packed[place >> 3] as number) >> (place & 7)) & 1) (out[i] as number) |= 1 << b;
    }
  }
  return out;
}
