// Partition: weighted points through `prefix`, `coarsen` and `optimal` to intervals and pins, with their cost.
import type { Point } from "../reference/points.ts";
import type { EncodeInstance } from "./instances.ts";

/** Where each centre's interval begins among the points, and whose it is: -1 free, else the pin's number. */
export interface Partition {
  readonly bounds: Int32Array;
  readonly kinds: Int32Array;
}

/** `points` ascend and have weights of similar size; `pins` ascend; `target` cells at most. */
export function partition(
  i: EncodeInstance,
  points: readonly Point[],
  k: number,
  pins: readonly number[],
  target: number,
): [bounds: Int32Array, kinds: Int32Array] {
  const { kernels } = i;
  const n = points.length;
  const free = k - pins.length;
  const p0 = i.output((n + 1) * 8);
  const p1 = i.output((n + 1) * 8);
  const weight = i.inout(Float64Array.from(points, ({ w }) => w));
  const sum = i.inout(Float64Array.from(points, ({ x, w }) => w * x));
  const shiftAt = i.output(8);
  const atoms = kernels.prefix(p0, p1, weight, sum, n, shiftAt);
  if (atoms !== n) throw new Error(`${n - atoms} points are too light`);
  const shift = i.f64(shiftAt, 1)[0] as number;
  const cells = i.output((Math.min(n, target) + 1) * 4);
  const m = kernels.coarsen(cells, weight, sum, n, target);
  const bounds = i.output((k + 1) * 4);
  const kinds = i.output(k * 4);
  const pinValues = i.input(Float64Array.from(pins, (pin) => pin - shift));
  const scratch = i.output(kernels.optimalScratch(m, free, pins.length, n));
  kernels.optimal(bounds, kinds, p0, p1, n, cells, m, pinValues, pins.length, free, scratch);
  return [i.i32(bounds, k + 1), i.i32(kinds, k)];
}

/** Throws unless the intervals cover the points in order and every pin stands in its place once. */
export function checkPartition({ bounds, kinds }: Partition, points: number, pins: number): void {
  if (bounds[0] !== 0 || bounds.at(-1) !== points)
    throw new Error(`bounds ${bounds.join()} do not cover ${points} points`);
  for (let t = 1; t < bounds.length; t++) {
    if ((bounds[t] as number) < (bounds[t - 1] as number)) throw new Error(`bounds ${bounds.join()} do not ascend`);
  }
  const used = kinds.filter((kind) => kind !== -1);
  if (used.length !== pins || !used.every((kind, p) => kind === p))
    throw new Error(`kinds ${kinds.join()} for ${pins} pins`);
}

/** Squared error: free intervals around their mean, the others around their pin. */
export function partitionCost({ bounds, kinds }: Partition, points: readonly Point[], pins: readonly number[]): number {
  let cost = 0;
  kinds.forEach((kind, t) => {
    const members = points.slice(bounds[t], bounds[t + 1]);
    let centre = pins[kind] ?? 0;
    if (kind < 0) {
      let total = 0;
      centre = 0;
      for (const { x, w } of members) {
        total += w;
        centre += (w / total) * (x - centre);
      }
    }
    for (const { x, w } of members) cost += w * (x - centre) ** 2;
  });
  return cost;
}
