// Magnitude: how many weights are how large, exactly, in two steps of 16 bits.

/** Adds `count` weights to `cells` (u32 x 32 768) by the upper 15 bits of their magnitude. Reads `4 * count` bytes. */
export function countMagnitudes(cells: usize, src: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const p = cells + ((<usize>load<u16>(src + (i << 2), 2) & 0x7fff) << 2);
    store<u32>(p, load<u32>(p) + 1);
  }
}

/** Adds those of `count` weights whose magnitude has the upper 15 bits `cell` to `places` (u32 x 65 536) by the lower 16. */
export function countLower(places: usize, src: usize, count: usize, cell: u32): void {
  for (let i: usize = 0; i < count; i++) {
    const bits = load<u32>(src + (i << 2)) & 0x7fffffff;
    if (bits >> 16 != cell) continue;
    const p = places + (<usize>(bits & 0xffff) << 2);
    store<u32>(p, load<u32>(p) + 1);
  }
}
