// Curve: the error that every number of levels would leave in a tensor, from one look at its weights.
import type { Atoms, runAtoms } from "./atoms.ts";
import type { Grouping } from "./codebook.ts";
import type { groupRun, Passes, Run } from "./passes.ts";
import type { EncodeScope } from "./wasm/encode.ts";

/** What this file needs of others that it does not import, so that bundlers can keep it apart. */
interface Library {
  readonly groupRun: typeof groupRun;
  readonly runAtoms: typeof runAtoms;
}

/** What levels would cost. */
export interface Curve {
  /** Sum of importance times squared weight. */
  readonly signal: number;
  /** Sum of importance times squared error, one for each number of levels asked for. */
  readonly errors: readonly number[];
}

// Cells of the programme: at 256 levels 8 a centroid, which costs some 0.05 dB there and nothing at 32 levels.
const CELLS = 2048;
// Of a tensor with more groups so many, evenly spread, stand for all.
const GROUPS = 96;

/** The curve of a tensor with a codebook a group, at ascending numbers of `levels`; all of it is a run, `whole`. */
export function* curveGroups(
  library: Library,
  scope: EncodeScope,
  { weights, importance }: Run,
  grouping: Grouping,
  pins: readonly number[],
  levels: readonly number[],
): Passes<Curve> {
  const { groups, count } = grouping;
  let signal = 0;
  const errors = levels.map(() => 0);
  if (count === 0) return { signal, errors };
  const some = Math.min(groups, GROUPS);
  let seen = 0;
  for (let i = 0; i < some; i++) {
    const g = some > 1 ? Math.floor((i * (groups - 1)) / (some - 1)) : 0;
    const run = library.groupRun(scope, grouping, g, weights, importance);
    const own = yield* curveRun(library, scope, run, pins, levels);
    seen += run.count;
    signal += own.signal;
    own.errors.forEach((error, j) => {
      (errors[j] as number) += error;
    });
  }
  const share = count / seen;
  return { signal: signal * share, errors: errors.map((error) => error * share) };
}

/** The curve of one run with one codebook. */
export function* curveRun(
  { runAtoms }: Pick<Library, "runAtoms">,
  scope: EncodeScope,
  run: Run,
  pins: readonly number[],
  levels: readonly number[],
): Passes<Curve> {
  const mark = scope.mark();
  const atoms = yield* runAtoms(scope, run, levels.at(-1) ?? 0, false);
  const curve = curveOf(scope, atoms, pins, levels);
  scope.release(mark);
  return curve;
}

/** One run of the programme for the most levels solves it for all. */
function curveOf(scope: EncodeScope, atoms: Atoms, pins: readonly number[], levels: readonly number[]): Curve {
  const { kernels } = scope;
  const p0 = scope.reserve((atoms.count + 1) * 8);
  const p1 = scope.reserve((atoms.count + 1) * 8);
  const shiftAt = scope.reserve(8);
  const count = kernels.prefix(p0, p1, atoms.weight, atoms.sum, atoms.count, shiftAt);
  const none = levels.map(() => 0);
  if (count === 0) return { signal: 0, errors: none };
  const [shift = 0] = scope.f64(shiftAt, 1);
  // sums of squares of the atoms, about zero and about the shift
  let signal = 0;
  let variation = 0;
  const weight = scope.f64(atoms.weight, count);
  const sum = scope.f64(atoms.sum, count);
  for (let i = 0; i < count; i++) {
    const w = weight[i] as number;
    const s = sum[i] as number;
    const d = s - shift * w;
    signal += (s / w) * s;
    variation += (d / w) * d;
  }
  // where every value has a centroid of its own nothing is left
  const most = Math.min((levels.at(-1) ?? 0) - pins.length, count - 1);
  if (most < 1) return { signal, errors: none };
  const cells = scope.reserve((Math.min(CELLS, count) + 1) * 4);
  const m = kernels.coarsen(cells, atoms.weight, atoms.sum, count, CELLS);
  const q0 = scope.reserve((m + 1) * 8);
  const q1 = scope.reserve((m + 1) * 8);
  const pinValues = scope.reserve(pins.length * 8);
  const bounds = scope.reserve((most + pins.length + 1) * 4);
  const kinds = scope.reserve((most + pins.length) * 4);
  const scratch = scope.reserve(kernels.optimalScratch(m, most, pins.length, m));
  scope.f64(pinValues, pins.length).set(pins.map((pin) => pin - shift));
  // the cells become the atoms, so that nothing is refined
  const firsts = scope.i32(cells, m + 1);
  for (const [from, to] of [
    [p0, q0],
    [p1, q1],
  ] as const) {
    const source = scope.f64(from, count + 1);
    scope.f64(to, m + 1).set(Float64Array.from(firsts, (first) => source[first] as number));
  }
  for (let c = 0; c <= m; c++) firsts[c] = c;
  kernels.optimal(bounds, kinds, q0, q1, m, cells, m, pinValues, pins.length, most, scratch);
  let least = Number.POSITIVE_INFINITY;
  const errors = levels.map((k) => {
    const free = k - pins.length;
    if (free > most) return 0;
    kernels.walkBack(bounds, kinds, m, pins.length, most, free, scratch);
    scope.i32(bounds, k + 1)[k] = m;
    const error = variation - gainOf(scope, bounds, kinds, q0, q1, k, m, pinValues, pins.length);
    // roundings, and pins that are no use
    least = Math.max(0, Math.min(least, error));
    return least;
  });
  return { signal, errors };
}

/** What the centroids of a partition take off the sum of squares about the shift. */
function gainOf(
  scope: EncodeScope,
  bounds: number,
  kinds: number,
  p0: number,
  p1: number,
  k: number,
  cells: number,
  pinValues: number,
  pins: number,
): number {
  const starts = scope.i32(bounds, k + 1);
  const pinOf = scope.i32(kinds, k);
  const fixed = scope.f64(pinValues, pins);
  const s0 = scope.f64(p0, cells + 1);
  const s1 = scope.f64(p1, cells + 1);
  let gain = 0;
  for (let t = 0; t < k; t++) {
    const from = starts[t] as number;
    const to = starts[t + 1] as number;
    const w = (s0[to] as number) - (s0[from] as number);
    const s = (s1[to] as number) - (s1[from] as number);
    if (w === 0) continue;
    const pin = fixed[pinOf[t] as number];
    gain += pin === undefined ? (s / w) * s : pin * (s + s - pin * w);
  }
  return gain;
}
