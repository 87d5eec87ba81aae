// Gather: pieces of several channels, as they lie in the tensor, to one stretch per channel.

/**
 * `dst[c][o][i] = src[o][c][i]`, 32-bit elements: src is outer x channels x inner, dst is channels x outer x inner.
 * Reads and writes `4 * outer * channels * inner` bytes; the two do not overlap.
 */
export function gather(dst: usize, src: usize, outer: usize, channels: usize, inner: usize): void {
  if (inner == 1) {
    // blocks of 16 channels keep the written lines in the cache
    for (let block: usize = 0; block < channels; block += 16) {
      const end = min(block + 16, channels);
      for (let o: usize = 0; o < outer; o++) {
        const row = src + ((o * channels) << 2);
        for (let c = block; c < end; c++) store<u32>(dst + ((c * outer + o) << 2), load<u32>(row + (c << 2)));
      }
    }
    return;
  }
  const bytes = inner << 2;
  for (let o: usize = 0; o < outer; o++) {
    for (let c: usize = 0; c < channels; c++) {
      memory.copy(dst + (c * outer + o) * bytes, src + (o * channels + c) * bytes, bytes);
    }
  }
}
