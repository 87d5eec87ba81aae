// Walk back: from the last step of the programme in optimal.ts to the first, for any number of centres it has solved.

// marks a step to a pin among the starts, which are below 2^15
export const PIN_STEP: i32 = 0x8000;

/**
 * Once `optimal` is done, and while its `scratch` is as it left it: the partition of `m` cells for `fewer` free centres
 * instead of `free`. Writes `bounds`, cells where intervals begin (i32 x pins + fewer), and `kinds` as `optimal` does;
 * nothing is refined. Reads the scratch alone, whose order is this.
 */
export function walkBack(bounds: usize, kinds: usize, m: i32, pins: i32, free: i32, fewer: i32, scratch: usize): void {
  const row = <usize>(m + 2) << 3;
  const rows = pins == 0 ? 2 : 2 * (free + 1);
  const places = scratch + <usize>(rows + 2) * row;
  const back = places + <usize>(pins + 1) * 12;
  let p = pins;
  let q = fewer;
  let i = m;
  for (let t = pins + fewer - 1; t >= 0; t--) {
    const from = places + <usize>p * 12;
    const first = load<i32>(from);
    const length = <usize>(load<i32>(from, 4) - first + 1);
    const b = back + ((<usize>(free + 1) * <usize>load<u32>(from, 8) + <usize>q * length) << 1);
    const step = <i32>load<u16>(b + (<usize>(i - first) << 1));
    i = step & 0x7fff;
    store<i32>(bounds + (<usize>t << 2), i);
    if (step & PIN_STEP) {
      p--;
      store<i32>(kinds + (<usize>t << 2), p);
    } else {
      q--;
      store<i32>(kinds + (<usize>t << 2), -1);
    }
  }
}
