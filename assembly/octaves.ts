// Octaves: counts and sums of magnitudes by exponent and first digit, from which any grid of powers of two is priced.

/**
 * Adds `count` weights to `table` (u64 pairs x 512: how many, sum of mantissas) by exponent (8 bits) and first mantissa bit.
 *
 * The magnitude of a weight of exponent e is mantissa * 2^(max(e, 1) - 150), mantissa below 2^24: sums are integers, exact
 * in any order up to 2^40 weights. Reads `4 * count` bytes. The borders between neighbours on a grid of powers of two,
 * 1.5 * 2^e, and half of the lowest, 2^(e - 1), are borders of this table.
 */
export function halfOctaves(table: usize, src: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const bits = load<u32>(src + (i << 2));
    const p = table + (<usize>((bits >> 22) & 0x1ff) << 4);
    const hidden = <u32>((bits & 0x7f800000) != 0) << 23;
    store<u64>(p, load<u64>(p) + 1);
    store<u64>(p, load<u64>(p, 8) + <u64>((bits & 0x7fffff) | hidden), 8);
  }
}
