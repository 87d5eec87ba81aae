// Checksum: XXH64, step by step after the xxHash specification 0.1.1 ("XXH64 Algorithm Description").

const P1 = 11400714785074694791n;
const P2 = 14029467366897019727n;
const P3 = 1609587929392839161n;
const P4 = 9650029242287828579n;
const P5 = 2870177450012600261n;

const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);
const rotate = (x: bigint, by: bigint): bigint => u64((x << by) | (x >> (64n - by)));
const round = (lane: bigint, input: bigint): bigint => u64(rotate(u64(lane + input * P2), 31n) * P1);
const merge = (h: bigint, lane: bigint): bigint => u64((h ^ round(0n, lane)) * P1 + P4);

export function xxh64(bytes: Uint8Array, seed: bigint): bigint {
  const read = (at: number, size: number): bigint => {
    let x = 0n;
    for (let i = size - 1; i >= 0; i--) x = (x << 8n) | BigInt(bytes[at + i] as number);
    return x;
  };
  let at = 0;
  let h: bigint;
  if (bytes.length < 32) {
    h = u64(seed + P5);
  } else {
    // steps 1 and 2: four lanes, 32 bytes at a time
    const lanes = [u64(seed + P1 + P2), u64(seed + P2), seed, u64(seed - P1)];
    for (; at + 32 <= bytes.length; at += 32) {
      for (let l = 0; l < 4; l++) lanes[l] = round(lanes[l] as bigint, read(at + 8 * l, 8));
    }
    // step 3: convergence
    const [a, b, c, d] = lanes as [bigint, bigint, bigint, bigint];
    h = u64(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n));
    for (const lane of lanes) h = merge(h, lane);
  }
  // step 4: length
  h = u64(h + BigInt(bytes.length));
  // step 5: what is left
  for (; at + 8 <= bytes.length; at += 8) h = u64(rotate(h ^ round(0n, read(at, 8)), 27n) * P1 + P4);
  for (; at + 4 <= bytes.length; at += 4) h = u64(rotate(h ^ u64(read(at, 4) * P1), 23n) * P2 + P3);
  for (; at < bytes.length; at++) h = u64(rotate(h ^ u64(read(at, 1) * P5), 11n) * P1);
  // step 6: avalanche
  h = u64((h ^ (h >> 33n)) * P2);
  h = u64((h ^ (h >> 29n)) * P3);
  return h ^ (h >> 32n);
}
