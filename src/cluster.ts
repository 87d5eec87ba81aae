// Cluster: the codebooks of one tensor, found in passes over weights that someone else fetches.
import { type Atoms, atomsOf, SORT_LIMIT, sortedAtoms } from "./atoms.ts";
import type { Clustering, Grouping } from "./codebook.ts";
import { ecsqClustering } from "./ecsq.ts";
import type { ClusterOptions } from "./options.ts";
import { checkFinite, groupLength, groupRun, type Passes, type Run, TILE } from "./passes.ts";
import type { EncodeScope } from "./wasm/encode.ts";

// Small groups are fetched together, this many weights at a time.
const BLOCK = 1 << 18;
// The largest float32, float16 and bfloat16.
const LARGEST = [3.4028234663852886e38, 65504, 3.3895313892515355e38] as const;

/** Codebooks, and thresholds, of all groups; levels at most those of the options. */
export interface GroupClustering extends Clustering {
  readonly levels: number;
}

/** Codebooks of all groups: groups x levels float32. */
export function* clusterGroups(
  scope: EncodeScope,
  grouping: Grouping,
  options: ClusterOptions,
  weighted: boolean,
): Passes<GroupClustering> {
  const { levels } = options;
  const codebook = new Float32Array(grouping.groups * levels);
  if (grouping.count === 0) return { levels, codebook };
  const found: Clustering[] = [];
  const keep = (clustering: Clustering, g: number): void => {
    if (options.method === "ecsq") found.push(clustering);
    else codebook.set(clustering.codebook, g * levels);
  };
  const length = groupLength(grouping, 0);
  const mark = scope.mark();
  if (length > SORT_LIMIT) {
    const weights = scope.reserve(TILE * 4);
    const importance = weighted ? scope.reserve(TILE * 4) : 0;
    for (let g = 0; g < grouping.groups; g++) {
      const run = groupRun(scope, grouping, g, weights, importance);
      keep(yield* clusterRun(scope, run, options), g);
    }
  } else {
    const together = Math.min(grouping.groups, Math.max(1, Math.floor(BLOCK / length)));
    const weights = scope.reserve(together * length * 4);
    const importance = weighted ? scope.reserve(together * length * 4) : 0;
    for (let first = 0; first < grouping.groups; first += together) {
      const last = Math.min(grouping.groups, first + together);
      yield { first, last, start: 0, end: length, weights, importance };
      for (let g = first; g < last; g++) {
        const offset = (g - first) * length * 4;
        const count = groupLength(grouping, g);
        checkFinite(scope, grouping, g, 0, weights + offset, count);
        keep(smallCodebook(scope, weights + offset, importance && importance + offset, count, options), g);
      }
    }
  }
  scope.release(mark);
  return found.length > 0 ? joined(found, levels) : { levels, codebook };
}

/**
 * Codebooks of different lengths side by side, so that codes of values near zero are the same: they are coded together.
 * Codes before and behind a group's own repeat its first and last value and are never used.
 */
function joined(found: readonly Clustering[], most: number): GroupClustering {
  const nearest = found.map(({ codebook }) => {
    let best = 0;
    codebook.forEach((x, i) => {
      if (Math.abs(x) < Math.abs(codebook[best] as number)) best = i;
    });
    return best;
  });
  const before = Math.max(...nearest);
  const behind = Math.max(...found.map(({ codebook }, g) => codebook.length - (nearest[g] as number)));
  const levels = Math.min(most, Math.max(2, before + behind));
  const codebook = new Float32Array(found.length * levels);
  const thresholds = new Float32Array(found.length * (levels - 1));
  found.forEach((own, g) => {
    const k = own.codebook.length;
    const first = Math.min(before - (nearest[g] as number), levels - k);
    const values = codebook.subarray(g * levels, (g + 1) * levels).fill(own.codebook[k - 1] as number);
    values.fill(own.codebook[0] as number, 0, first).set(own.codebook, first);
    const between = thresholds.subarray(g * (levels - 1), (g + 1) * (levels - 1)).fill(Number.POSITIVE_INFINITY);
    between.fill(Number.NEGATIVE_INFINITY, 0, first).set(own.thresholds as Float32Array, first);
  });
  return { levels, codebook, thresholds };
}

/** The codebook of one run: `levels` float32; with `ecsq` at most so many, and thresholds. */
export function* clusterRun(scope: EncodeScope, run: Run, options: ClusterOptions): Passes<Clustering> {
  if (options.method === "uniform") return yield* uniformRun(scope, run, options);
  if (run.count <= SORT_LIMIT) {
    yield* run.fetch(0, run.count);
    return smallCodebook(scope, run.weights, run.importance, run.count, options);
  }
  const mark = scope.mark();
  const atoms = yield* atomsOf(scope, run, options.levels, options.method === "ecsq");
  const clustering = solve(scope, atoms, options);
  scope.release(mark);
  // no weight counts: then all count the same
  return clustering ?? (yield* clusterRun(scope, { ...run, importance: 0 }, options));
}

function smallCodebook(
  scope: EncodeScope,
  weights: number,
  importance: number,
  count: number,
  options: ClusterOptions,
): Clustering {
  const mark = scope.mark();
  try {
    if (options.method === "uniform") {
      const extremes = scope.reserve(32);
      startMoments(scope, extremes);
      scope.kernels.moments(extremes, weights, count);
      return uniform(scope, extremes, options);
    }
    const values = scope.reserve(count * 4);
    scope.u8(values, count * 4).set(scope.u8(weights, count * 4));
    let weight = 0;
    if (importance) {
      weight = scope.reserve(count * 8);
      scope.kernels.promote(weight, importance, count);
    }
    const atoms = sortedAtoms(scope, values, weight, count, options.method === "ecsq");
    return solve(scope, atoms, options) ?? smallCodebook(scope, weights, 0, count, options);
  } finally {
    scope.release(mark);
  }
}

/**
 * Cells for the first programme. 64 a centroid find the same optimum as all atoms within 2e-5 (32 a centroid: 1.2e-4 on a
 * million Gaussian values at 32 levels); beyond that, bands on the atoms do better.
 */
function cellTarget(levels: number): number {
  return Math.min(4096, Math.max(1024, 64 * levels));
}

/** The codebook of the atoms; `undefined` where they have no weight at all. */
function solve(scope: EncodeScope, atoms: Atoms, options: ClusterOptions): Clustering | undefined {
  if (options.method === "ecsq") return ecsqClustering(scope, atoms, options);
  const { kernels } = scope;
  const { levels, format } = options;
  const p0 = scope.reserve((atoms.count + 1) * 8);
  const p1 = scope.reserve((atoms.count + 1) * 8);
  const shiftAt = scope.reserve(8);
  const codebook = scope.reserve(levels * 4);
  const count = kernels.prefix(p0, p1, atoms.weight, atoms.sum, atoms.count, shiftAt);
  if (count === 0) return undefined;
  const shift = scope.f64(shiftAt, 1)[0] as number;
  const pins = options.pins.length;
  const free = levels - pins;
  if (options.method === "lloyd") {
    lloydCodebook(scope, atoms, count, p0, p1, shift, codebook, options);
    return { codebook: scope.f32(codebook, levels).slice() };
  }
  const bounds = scope.reserve((levels + 1) * 4);
  const kinds = scope.reserve(levels * 4);
  const pinValues = scope.reserve(pins * 4);
  scope.f32(pinValues, pins).set(options.pins);
  if (count <= free) {
    // every value has a centroid of its own
    const own = scope.i32(bounds, levels + 1).fill(count);
    for (let t = 0; t < count; t++) own[t] = t;
    const pinOf = scope.i32(kinds, levels).fill(-1);
    for (let p = 0; p < pins; p++) pinOf[free + p] = p;
  } else {
    const target = cellTarget(levels);
    const cells = scope.reserve((Math.min(target, count) + 1) * 4);
    const m = kernels.coarsen(cells, atoms.weight, atoms.sum, count, target);
    const shifted = scope.reserve(pins * 8);
    scope.f64(shifted, pins).set(options.pins.map((pin) => pin - shift));
    const scratch = scope.reserve(kernels.optimalScratch(m, free, pins, count));
    kernels.optimal(bounds, kinds, p0, p1, count, cells, m, shifted, pins, free, scratch);
  }
  kernels.codebookOf(codebook, bounds, kinds, levels, atoms.weight, atoms.sum, pinValues, format);
  return { codebook: scope.f32(codebook, levels).slice() };
}

function lloydCodebook(
  scope: EncodeScope,
  atoms: Atoms,
  count: number,
  p0: number,
  p1: number,
  shift: number,
  codebook: number,
  options: ClusterOptions,
): void {
  const { kernels } = scope;
  const { levels } = options;
  const centroids = scope.reserve(levels * 8);
  const pinned = scope.reserve(levels);
  kernels.lloydStart(centroids, levels, atoms.weight, atoms.sum, p0, count, options.start === "linear" ? 0 : 1);
  scope.u8(pinned, levels).fill(0);
  // of the start's centroids, the one nearest to a pin becomes it
  const start = scope.f64(centroids, levels);
  const taken = scope.u8(pinned, levels);
  for (const pin of options.pins) {
    let nearest = -1;
    for (let c = 0; c < levels; c++) {
      if (taken[c]) continue;
      if (nearest < 0 || Math.abs((start[c] as number) - pin) < Math.abs((start[nearest] as number) - pin)) nearest = c;
    }
    start[nearest] = pin;
    taken[nearest] = 1;
  }
  start.sort();
  taken.fill(0);
  for (const pin of options.pins) taken[start.indexOf(pin)] = 1;
  kernels.lloyd(
    centroids,
    levels,
    atoms.weight,
    atoms.sum,
    p0,
    p1,
    shift,
    count,
    options.pins.length > 0 ? pinned : 0,
    options.steps,
  );
  scope.f32(codebook, levels).set(scope.f64(centroids, levels));
  kernels.roundTo(codebook, levels, options.format);
  kernels.tidy(codebook, levels, levels);
}

function* uniformRun(scope: EncodeScope, run: Run, options: ClusterOptions): Passes<Clustering> {
  const mark = scope.mark();
  const extremes = scope.reserve(32);
  startMoments(scope, extremes);
  for (let start = 0; start < run.count; start += TILE) {
    const end = Math.min(run.count, start + TILE);
    yield* run.fetch(start, end);
    scope.kernels.moments(extremes, run.weights, end - start);
  }
  const clustering = uniform(scope, extremes, options);
  scope.release(mark);
  return clustering;
}

function startMoments(scope: EncodeScope, at: number): void {
  scope.f64(at, 4).set([0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
}

/** `levels` equal steps from minimum to maximum; with a pin, which is zero here, the grid is moved so that zero lies on it. */
function uniform(scope: EncodeScope, extremes: number, options: ClusterOptions): Clustering {
  const { levels } = options;
  const [, , low = 0, high = 0] = scope.f64(extremes, 4);
  let first = low;
  let step = (high - low) / (levels - 1);
  if (options.pins.length > 0) {
    const bottom = Math.min(low, 0);
    step = (Math.max(high, 0) - bottom) / (levels - 1);
    first = step > 0 ? -step * Math.round(-bottom / step) : 0;
  }
  const at = scope.reserve(levels * 4);
  const values = scope.f32(at, levels);
  // a grid moved for zero reaches half a step beyond the extremes: kept finite
  const most = LARGEST[options.format];
  for (let i = 0; i < levels; i++) values[i] = Math.max(-most, Math.min(most, first + step * i));
  scope.kernels.roundTo(at, levels, options.format);
  scope.kernels.tidy(at, levels, levels);
  return { codebook: scope.f32(at, levels).slice() };
}
