// Lookup: the value of each code, in one codebook or in turns of many.

/** Which group of a period weight `first + i` is in: `inner` weights each, then the next, after the last the first. */
export function groupAt(i: number, inner: number, groups: number, first: number): number {
  return Math.floor((first + i) / inner) % groups;
}

/** `dst[i] = codebooks[group of i][codes[i]]`, as bits, so that NaN payloads pass. */
export function lookup(
  codes: Uint8Array,
  codebooks: Uint32Array,
  levels: number,
  inner: number = codes.length + 1,
  groups = 1,
  first = 0,
): Uint32Array {
  const out = new Uint32Array(codes.length);
  codes.forEach((code, i) => {
    out[i] = codebooks[groupAt(i, inner, groups, first) * levels + code] as number;
  });
  return out;
}
