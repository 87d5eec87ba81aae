// Atoms: any number of weights as weighted points in ascending order, few enough to cluster.
import { eachTile, type Passes, type Run, TILE } from "./passes.ts";
import type { EncodeScope } from "./wasm/encode.ts";

/** Groups up to this size are sorted, larger ones go through a histogram. */
export const SORT_LIMIT = 16384;
// The density that places the bins is taken from 16 stretches of 16,384 weights.
const SAMPLE_STRETCH = 16384;
const SAMPLE_STRETCHES = 16;
// Fewer distinct values than this are counted exactly; the hash table is a quarter full at most.
const DISTINCT_LIMIT = 4096;
const DISTINCT_SLOTS = 16384;
const CELLS = 65536;

/** `count` points in Wasm memory: weight and weight times value, float64 each. */
export interface Atoms {
  readonly weight: number;
  readonly sum: number;
  /** How many weights each stands for; 0 where that is the weight, or nobody wants to know. */
  readonly tally: number;
  readonly count: number;
}

/** The atoms of a run, in one or two passes over it. `levels` says how fine the bins must be, `tallied` whether to count beside importance. */
export function* atomsOf(scope: EncodeScope, run: Run, levels: number, tallied: boolean): Passes<Atoms> {
  if (tallied && run.importance) return yield* binnedAtoms(scope, run, levels, true);
  return (yield* distinctAtoms(scope, run)) ?? (yield* binnedAtoms(scope, run, levels, false));
}

/** The atoms of a run of any length: sorted where it is short. Takes room that the caller releases. */
export function* runAtoms(scope: EncodeScope, run: Run, levels: number, tallied: boolean): Passes<Atoms> {
  const { count, weights, importance } = run;
  if (count > SORT_LIMIT) return yield* atomsOf(scope, run, levels, tallied);
  yield* run.fetch(0, count);
  const values = scope.reserve(count * 4);
  scope.u8(values, count * 4).set(scope.u8(weights, count * 4));
  const weight = importance && scope.reserve(count * 8);
  if (weight) scope.kernels.promote(weight, importance, count);
  return sortedAtoms(scope, values, weight, count, tallied);
}

function* distinctAtoms(scope: EncodeScope, run: Run): Passes<Atoms | undefined> {
  const { kernels } = scope;
  const mark = scope.mark();
  const table = scope.reserve(DISTINCT_SLOTS * 24);
  scope.u8(table, DISTINCT_SLOTS * 24).fill(0);
  let known = 0;
  for (let start = 0; start < run.count; start += TILE) {
    const end = Math.min(run.count, start + TILE);
    yield* run.fetch(start, end);
    known = kernels.countDistinct(
      table,
      DISTINCT_SLOTS,
      known,
      DISTINCT_LIMIT,
      run.weights,
      run.importance,
      end - start,
    );
    if (known < 0) {
      scope.release(mark);
      return undefined;
    }
  }
  const values = scope.reserve(known * 4);
  const weight = scope.reserve(known * 8);
  const count = kernels.distinctEntries(values, weight, table, DISTINCT_SLOTS);
  return sortedAtoms(scope, values, weight, count, false);
}

/** Atoms of `count` values at hand, which it sorts; `weight` 0 counts each once. */
export function sortedAtoms(
  scope: EncodeScope,
  values: number,
  weight: number,
  count: number,
  tallied: boolean,
): Atoms {
  const tally = tallied && weight ? scope.reserve(count * 8) : 0;
  const atomWeight = scope.reserve(count * 8);
  const atomSum = scope.reserve(count * 8);
  const scratch = scope.reserve(count * 12 + 4096);
  scope.kernels.sortValues(values, weight, count, scratch);
  return {
    weight: atomWeight,
    sum: atomSum,
    tally,
    count: scope.kernels.mergeEqual(atomWeight, atomSum, values, weight, count, tally),
  };
}

function* binnedAtoms(scope: EncodeScope, run: Run, levels: number, tallied: boolean): Passes<Atoms> {
  const { kernels } = scope;
  const { count } = run;
  const cells = scope.reserve(CELLS * 4);
  const table = scope.reserve(CELLS * 4);
  const scratch = scope.reserve(2400);
  scope.u8(cells, CELLS * 4).fill(0);
  if (count <= SAMPLE_STRETCH * SAMPLE_STRETCHES) {
    for (let start = 0; start < count; start += TILE) {
      const end = Math.min(count, start + TILE);
      yield* run.fetch(start, end);
      kernels.countCells(cells, run.weights, end - start);
    }
  } else {
    for (let i = 0; i < SAMPLE_STRETCHES; i++) {
      const start = Math.floor((i * (count - SAMPLE_STRETCH)) / (SAMPLE_STRETCHES - 1));
      yield* run.fetch(start, start + SAMPLE_STRETCH, false);
      kernels.countCells(cells, run.weights, SAMPLE_STRETCH);
    }
  }
  const budget = Math.min(65536, Math.max(16384, 1024 * levels));
  const bins = kernels.layout(table, cells, budget, scratch);
  // with tallies, the same bins' counts lie behind them
  const sums = bins * (tallied ? 4 : 2);
  const totals = scope.reserve(sums * 8);
  const packed = run.importance && !tallied ? 0 : scope.reserve(bins * 8);
  const counts = tallied ? totals + bins * 16 : 0;
  const tally = tallied ? scope.reserve(bins * 8) : 0;
  const weight = scope.reserve(bins * 8);
  const sum = scope.reserve(bins * 8);
  if (packed) scope.u8(packed, bins * 8).fill(0);
  const settled = (): Float64Array => {
    if (packed) kernels.settle(counts || totals, packed, bins);
    return scope.f64(totals, sums);
  };
  yield* eachTile(scope, run, TILE, 32 * TILE, settled, (start, end) => {
    if (run.importance) {
      kernels.histogramWeighted(totals, table, run.weights, run.importance, end - start);
      if (!tallied) return;
    }
    // long before 2^24 weights
    if (start % (1 << 23) === 0) settled();
    kernels.histogram(packed, table, run.weights, end - start);
    // the last bin is for what is not finite
    if (scope.f64(packed + (bins - 1) * 8, 1)[0] !== 0) run.check(start, end);
  });
  const weighted = run.importance ? 1 : 0;
  return { weight, sum, tally, count: kernels.binAtoms(weight, sum, totals, table, weighted, tally, counts) };
}
