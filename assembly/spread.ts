// Spread: where the symbols of a tANS code lie among its states; the same for both directions.

export const STATES_LOG: u32 = 13;
/** 2^13: more cost time, less cost bits where symbols are rare. */
export const STATES: u32 = 1 << STATES_LOG;

/**
 * Gives each of `symbols` symbols as many of the states as its count says: `table[state] = symbol`, u32. `counts`: u16
 * each, 2^13 in all (the caller checks). Steps of an odd size come to every state once.
 */
// @ts-ignore: decorator
@inline
export function spread(table: usize, counts: usize, symbols: usize): void {
  let state: u32 = 0;
  for (let s: usize = 0; s < symbols; s++) {
    for (let left = load<u16>(counts + (s << 1)); left > 0; left--) {
      store<u32>(table + (state << 2), <u32>s);
      state = (state + (STATES >> 1) + (STATES >> 3) + 3) & (STATES - 1);
    }
  }
}
