// Spread: where the symbols of a tANS code lie among its states; the same for both directions.

/**
 * Gives each of `symbols` symbols as many of the 2^`log` states as its count says: `table[state] = symbol`, u32.
 * `counts`: u16 each, 2^log in all (the caller checks). Steps of an odd size come to every state once.
 */
// @ts-ignore: decorator
@inline
export function spread(table: usize, counts: usize, symbols: usize, log: u32): void {
  const size: u32 = 1 << log;
  const step = (size >> 1) + (size >> 3) + 3;
  let state: u32 = 0;
  for (let s: usize = 0; s < symbols; s++) {
    for (let left = load<u16>(counts + (s << 1)); left > 0; left--) {
      store<u32>(table + (state << 2), <u32>s);
      state = (state + step) & (size - 1);
    }
  }
}
