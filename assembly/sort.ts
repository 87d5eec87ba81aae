// Sort: few weights to atoms, exactly: ascending distinct values with their weights.

/**
 * Sorts `count` float32 at `values`, carrying a float64 each at `weight` if that is not 0, by radix (four passes of
 * 8 bits, least significant first; stable). `scratch`: `12 * count + 4096` bytes. Passes whose byte is the same in all
 * values are skipped.
 */
export function sortValues(values: usize, weight: usize, count: usize, scratch: usize): void {
  if (count <= 24) {
    insertionSort(values, weight, count);
    return;
  }
  const counts = scratch;
  const spareValues = scratch + 4096;
  const spareWeight = spareValues + (count << 2);
  memory.fill(counts, 0, 4096);
  for (let i: usize = 0; i < count; i++) {
    // + 0: one zero
    const bits = reinterpret<u32>(load<f32>(values + (i << 2)) + 0);
    const key = bits ^ (<u32>(<i32>bits >> 31) | 0x80000000);
    store<u32>(values + (i << 2), key);
    bump(counts + ((key & 0xff) << 2));
    bump(counts + 1024 + (((key >> 8) & 0xff) << 2));
    bump(counts + 2048 + (((key >> 16) & 0xff) << 2));
    bump(counts + 3072 + ((key >> 24) << 2));
  }
  let from = values;
  let to = spareValues;
  let weightFrom = weight;
  let weightTo = weight ? spareWeight : 0;
  for (let pass = 0; pass < 4; pass++) {
    const table = counts + (pass << 10);
    const shift = pass << 3;
    if (load<u32>(table + (((load<u32>(from) >> shift) & 0xff) << 2)) == <u32>count) continue;
    let next: u32 = 0;
    for (let b: usize = 0; b < 256; b++) {
      const n = load<u32>(table + (b << 2));
      store<u32>(table + (b << 2), next);
      next += n;
    }
    for (let i: usize = 0; i < count; i++) {
      const key = load<u32>(from + (i << 2));
      const p = table + (((key >> shift) & 0xff) << 2);
      const place = <usize>load<u32>(p);
      store<u32>(p, <u32>place + 1);
      store<u32>(to + (place << 2), key);
      if (weight) store<f64>(weightTo + (place << 3), load<f64>(weightFrom + (i << 3)));
    }
    let swap = from;
    from = to;
    to = swap;
    swap = weightFrom;
    weightFrom = weightTo;
    weightTo = swap;
  }
  for (let i: usize = 0; i < count; i++) {
    const key = load<u32>(from + (i << 2));
    store<u32>(values + (i << 2), key & 0x80000000 ? key ^ 0x80000000 : ~key);
  }
  if (weight && weightFrom != weight) memory.copy(weight, weightFrom, count << 3);
}

// @ts-ignore: decorator
@inline
function bump(p: usize): void {
  store<u32>(p, load<u32>(p) + 1);
}

function insertionSort(values: usize, weight: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const x = load<f32>(values + (i << 2)) + 0;
    const w = weight ? load<f64>(weight + (i << 3)) : 0;
    let j = i;
    while (j > 0 && load<f32>(values + ((j - 1) << 2)) > x) {
      store<f32>(values + (j << 2), load<f32>(values + ((j - 1) << 2)));
      if (weight) store<f64>(weight + (j << 3), load<f64>(weight + ((j - 1) << 3)));
      j--;
    }
    store<f32>(values + (j << 2), x);
    if (weight) store<f64>(weight + (j << 3), w);
  }
}

/**
 * Sorted values to atoms: equal values join; `weight` 0 counts each 1. Atoms without weight are left out. Writes
 * `atomWeight` and `atomSum` (f64; sum = weight * value); returns how many atoms. `tally` (f64), if that is not 0, gets
 * how many values each atom stands for, and none is left out.
 */
export function mergeEqual(
  atomWeight: usize,
  atomSum: usize,
  values: usize,
  weight: usize,
  count: usize,
  tally: usize,
): i32 {
  let atoms: usize = 0;
  let i: usize = 0;
  while (i < count) {
    const x = load<f32>(values + (i << 2));
    let w: f64 = 0;
    const first = i;
    do {
      w += weight ? load<f64>(weight + (i << 3)) : 1;
      i++;
    } while (i < count && load<f32>(values + (i << 2)) == x);
    if (tally) store<f64>(tally + (atoms << 3), <f64>(i - first));
    else if (w == 0) continue;
    store<f64>(atomWeight + (atoms << 3), w);
    store<f64>(atomSum + (atoms << 3), w * <f64>x);
    atoms++;
  }
  return <i32>atoms;
}

/** float32 importance to float64 weights. */
export function promote(dst: usize, src: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) store<f64>(dst + (i << 3), <f64>load<f32>(src + (i << 2)));
}
