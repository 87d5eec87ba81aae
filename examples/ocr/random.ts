// Seeded random numbers: the same seed gives the same lines on every machine.

/** Draws from one seeded sequence. */
export interface Random {
  /** Uniform in [0, 1), a multiple of 2^-32. */
  next(): number;
  /** Uniform in [from, to). */
  between(from: number, to: number): number;
  /** Uniform integer, both ends included. */
  integer(from: number, to: number): number;
  pick<T>(items: readonly T[]): T;
  /** Mean 0, variance 1, bounded by 3.5: a sum of uniforms, as JavaScript's `Math.log` differs between engines. */
  noise(): number;
}

/** Mulberry32 (Tommy Ettinger, public domain): 32 bits of state are plenty for a few hundred lines. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), bits | 61)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    between: (from, to) => from + next() * (to - from),
    integer,
    pick: <T>(items: readonly T[]): T => {
      if (items.length === 0) throw new RangeError("pick: the list is empty");
      return items[integer(0, items.length - 1)] as T;
    },
    // A sum of four uniforms has the mean 2 and the variance 4/12.
    noise: () => (next() + next() + next() + next() - 2) * Math.sqrt(3),
  };
}
