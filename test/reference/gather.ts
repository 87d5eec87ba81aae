// Gather: outer x channels x inner to channels x outer x inner.

export function gather(src: Uint32Array, outer: number, channels: number, inner: number): Uint32Array {
  const dst = new Uint32Array(src.length);
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < inner; i++) {
        dst[(c * outer + o) * inner + i] = src[(o * channels + c) * inner + i] as number;
      }
    }
  }
  return dst;
}
