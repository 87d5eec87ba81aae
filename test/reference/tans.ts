// tANS in plain steps: states, then one symbol after the other, bits as a list; the encoder undoes the decoder by search.

const STATES = 8192;

/** What a state stands for: its symbol, how many bits are read after it, and the state that they are added to. */
interface State {
  readonly symbol: number;
  readonly bits: number;
  readonly least: number;
}

/** The states of a code in which symbol s has `shares[s]` of them, 8192 in all. */
export function tansStates(shares: readonly number[]): State[] {
  const symbols: number[] = new Array(STATES);
  let place = 0;
  shares.forEach((share, symbol) => {
    for (let i = 0; i < share; i++) {
      symbols[place] = symbol;
      place = (place + 5123) % STATES;
    }
  });
  // the k-th state of a symbol that has n comes from n + k, doubled until it is 8192 or more
  const next = [...shares];
  return symbols.map((symbol) => {
    let least = next[symbol] as number;
    next[symbol] = least + 1;
    let bits = 0;
    while (least < STATES) {
      least *= 2;
      bits++;
    }
    return { symbol, bits, least: least - STATES };
  });
}

/** The symbols of a block: four states in turns, bits least-significant first. */
export function tansDecode(block: Uint8Array, shares: readonly number[], count: number): number[] {
  const states = tansStates(shares);
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  let at = view.getUint32(0, true);
  const now = [4, 6, 8, 10].map((place) => view.getUint16(place, true));
  const symbols: number[] = [];
  for (let i = 0; i < count; i++) {
    const { symbol, bits, least } = states[now[i % 4] as number] as State;
    symbols.push(symbol);
    let value = 0;
    for (let b = 0; b < bits; b++, at++) value += (((block[at >> 3] as number) >> (at & 7)) & 1) << b;
    now[i % 4] = least + value;
  }
  return symbols;
}

/** The block of symbols, as many as a multiple of four. */
export function tansEncode(symbols: readonly number[], shares: readonly number[]): Uint8Array {
  const states = tansStates(shares);
  // a symbol's states lead to all states, each to a stretch of them
  const own = shares.map(() => [] as number[]);
  states.forEach(({ symbol }, state) => own[symbol]?.push(state));
  const leadsTo = (state: number, after: number): boolean => {
    const { bits, least } = states[state] as State;
    return least <= after && after < least + 2 ** bits;
  };
  const now = [0, 0, 0, 0];
  const stream: number[] = [];
  for (let i = symbols.length - 1; i >= 0; i--) {
    const after = now[i % 4] as number;
    const state = own[symbols[i] as number]?.find((candidate) => leadsTo(candidate, after)) as number;
    const { bits, least } = states[state] as State;
    // written backwards: what is read last comes first
    for (let b = bits - 1; b >= 0; b--) stream.push(((after - least) >> b) & 1);
    now[i % 4] = state;
  }
  stream.reverse();
  const bytes = Math.ceil(stream.length / 8);
  const gap = bytes * 8 - stream.length;
  const block = new Uint8Array(12 + bytes);
  const view = new DataView(block.buffer);
  view.setUint32(0, 12 * 8 + gap, true);
  now.forEach((state, k) => view.setUint16(4 + 2 * k, state, true));
  stream.forEach((bit, i) => {
    block[12 + ((gap + i) >> 3)] = (block[12 + ((gap + i) >> 3)] as number) | (bit << ((gap + i) & 7));
  });
  return block;
}
