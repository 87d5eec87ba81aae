// Passes: how clustering asks for weights that someone else fetches, stretch by stretch.
import type { Grouping } from "./codebook.ts";
import { WlqError } from "./error.ts";
import type { EncodeScope } from "./wasm/encode.ts";

/**
 * A wish of a clustering pass: weights `start` to `end` of each group from `first` to `last`, one group after another,
 * as float32 at `weights`, and their importance at `importance` unless that is 0.
 */
export interface Wish {
  readonly first: number;
  readonly last: number;
  readonly start: number;
  readonly end: number;
  readonly weights: number;
  readonly importance: number;
  /** A wish for no weights: to wait until this is done. */
  readonly wait?: () => Promise<void>;
}

/** Passes are generators: they yield wishes and go on once those are fulfilled, by a synchronous or an async caller. */
export type Passes<Result> = Generator<Wish, Result, void>;

/** Weights a tile: 256 kB, in the second-level cache. */
export const TILE = 65536;

/** Weights of group `g`. */
export function groupLength(grouping: Grouping, g: number): number {
  const { count, inner, outer } = grouping;
  return outer === 1 ? Math.min(inner, count - g * inner) : inner * outer;
}

export type Sums = Float64Array | Float32Array;

/** What is done with the weights `start` to `end` of a run, which are at hand: they are added to sums. */
export type Visit = (start: number, end: number) => void;

/** As {@link eachTile}, by several threads, each over its own sections of `step` weights; wlq/threads makes it. */
export type Share = (run: Run, tile: number, step: number, sums: () => Sums, visit: Visit) => Passes<void>;

/** A scope in whose thread a share of each run is fetched, and joined with those of others. */
export type SharedScope = EncodeScope & { readonly share?: Share | undefined };

export function addSums(total: Sums, part: Sums): void {
  for (let i = 0; i < total.length; i++) (total[i] as number) += part[i] as number;
}

// Threads keep the sums of their sections until those before them are known: so there are not too many.
const SECTIONS = 16;

/**
 * Fetches a run, `tile` weights at a time. What `visit` adds to `sums` is in the end the sum of all sections of `least`
 * weights, a multiple of `tile`, or more, in order: so threads that have some sections each come to the same bits. A weight
 * that is not finite is left to `visit` or a later pass where every weight counts the same.
 */
export function* eachTile(
  { share }: SharedScope,
  run: Run,
  tile: number,
  least: number,
  sums: () => Sums,
  visit: Visit,
): Passes<void> {
  const step = Math.max(least, Math.ceil(run.count / SECTIONS / tile) * tile);
  if (share) return yield* share(run, tile, step, sums, visit);
  let total: Sums | undefined;
  for (let start = 0; start < run.count; start += tile) {
    if (start % step === 0) {
      const own = sums();
      if (total) addSums(total, own);
      else if (start) total = own.slice();
      own.fill(0);
    }
    const end = Math.min(run.count, start + tile);
    yield* run.fetch(start, end, run.importance > 0);
    visit(start, end);
  }
  const own = sums();
  if (total) addSums(own, total);
}

/** A run of weights with one codebook: how many, and how a stretch of at most {@link TILE} comes to `weights`. */
export interface Run {
  readonly count: number;
  readonly weights: number;
  /** 0 where every weight counts the same. */
  readonly importance: number;
  /** `check` false leaves a weight that is not finite to a later pass, which comes to the first of them first. */
  fetch(start: number, end: number, check?: boolean): Passes<void>;
  /** Throws `non-finite` if the stretch fetched last, `start` to `end`, holds an infinity or NaN. */
  check(start: number, end: number): void;
}

/** A tensor as one run in row-major order. */
export function wholeRun(scope: EncodeScope, count: number, weighted: boolean): Run {
  const grouping = { count, groups: 1, inner: Math.max(1, count), outer: 1 };
  return groupRun(scope, grouping, 0, scope.reserve(TILE * 4), weighted ? scope.reserve(TILE * 4) : 0);
}

/** Group `g` as one run. */
export function groupRun(scope: EncodeScope, grouping: Grouping, g: number, weights: number, importance: number): Run {
  const run: Run = {
    count: groupLength(grouping, g),
    weights,
    importance,
    *fetch(start, end, check = true) {
      yield { first: g, last: g + 1, start, end, weights, importance };
      if (check) run.check(start, end);
    },
    check: (start, end) => checkFinite(scope, grouping, g, start, weights, end - start),
  };
  return run;
}

/** Throws `non-finite` at the first infinity or NaN of the weights at hand, which begin at `start` of their group. */
export function checkFinite(
  scope: EncodeScope,
  grouping: Grouping,
  group: number,
  start: number,
  weights: number,
  count: number,
): void {
  const bad = scope.kernels.firstNonFinite(weights, count);
  if (bad < count) {
    const value = scope.f32(weights, count)[bad];
    throw new WlqError("non-finite", `weight ${elementIndex(grouping, group, start + bad)} is ${value}`);
  }
}

/** What is wrong with the importance that a wish was fulfilled with; `undefined` where nothing is. */
export function importanceFault(scope: EncodeScope, grouping: Grouping, wish: Wish): string | undefined {
  const { first, last, start, importance } = wish;
  const length = wish.end - start;
  for (let g = first; g < last; g++) {
    const at = importance + (g - first) * length * 4;
    const count = Math.min(wish.end, groupLength(grouping, g)) - start;
    const bad = scope.kernels.firstUnfitImportance(at, count);
    if (bad >= count) continue;
    const index = elementIndex(grouping, g, start + bad);
    return `importance must be finite and not negative; importance ${index} is ${scope.f32(at, count)[bad]}`;
  }
  return undefined;
}

/** Row-major index in the tensor of weight `e` of a group. */
function elementIndex(grouping: Grouping, group: number, e: number): number {
  const { inner, groups } = grouping;
  return (Math.floor(e / inner) * groups + group) * inner + (e % inner);
}
