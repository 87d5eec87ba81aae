// Level-plan: how many levels each tensor of a model gets, for a size or an error in all.
import { fewestBytes, frontier, leastError, type Option } from "./allocate.ts";
import type { Coding } from "./codebook.ts";
import { type Curve, curveGroups, curveRun } from "./curve.ts";
import type { WlqError } from "./error.ts";
import type { TensorEntry } from "./formats/format.ts";
import type { QuantizePlan } from "./options.ts";
import { outputCurve, overItsSignal } from "./output-curve.ts";
import type { Passes } from "./passes.ts";
import type { Plan, PlannedTensor, PlanTarget, TradeOff } from "./plan.ts";
import type { PlanHost, PlanTask } from "./plan-task.ts";
import { relativeTo } from "./power.ts";
import { planRate, sharing } from "./rate-plan.ts";

// All sizes that packed codes have, and those of ONNX, where several codes share a byte or an integer.
const LADDER = [2, 3, 4, 5, 6, 7, 8, 10, 14, 16, 21, 32, 35, 64, 73, 128, 215, 256];
// Points of the trade-off that a plan keeps.
const POINTS = 24;
// How far below its target a size may end.
const NEAR = 0.99;

/** A tensor to be planned: what each number of levels costs. */
interface Candidate {
  readonly entry: TensorEntry;
  readonly plan: QuantizePlan;
  readonly levels: readonly number[];
  readonly signal: number;
  readonly options: Option[];
}

/** Plans by the price of a bit where all tensors ask for that, else by their levels. */
export async function planModel(given: PlanTask, target: PlanTarget): Promise<Plan> {
  const { known, work, to, weighting } = given;
  if (weighting !== "relative" || known) return await planBy(given, target);
  return { ...(await planBy({ ...given, sensitivities: await relativeTo(given) }, target)), weighting };

  function planBy(task: PlanTask, wanted: PlanTarget): Promise<Plan> {
    if (known || work.length === 0 || work.some(({ plan }) => plan.cluster.method !== "ecsq")) {
      return planLevels(task, wanted);
    }
    if (to !== "container") throw new RangeError(`method "ecsq" is for containers: others are not entropy-coded`);
    return planRate(task, wanted);
  }
}

async function planLevels(task: PlanTask, target: PlanTarget): Promise<Plan> {
  const { host, scope, model, work, known, importance, sensitivities } = task;
  const total = weightsOf(host, work);
  let done = 0;
  const candidates: Candidate[] = [];
  // biases that calibration puts in take room
  const shifts = new Map<string, Float32Array>();
  for (const item of [...work]) {
    const { entry, plan: own, fixed } = item;
    const { name } = entry;
    host.checkAborted(task.signal);
    const levels = fixed || !(known?.knows(name, entry.shape) ?? true) ? [own.levels] : LADDER;
    if (own.cluster.method !== "optimal") {
      throw new RangeError(`tensor "${name}": a plan is for method "optimal", got "${own.cluster.method}"`);
    }
    task.tell(name, done, total);
    try {
      const weigher = importance?.(entry);
      const passes = curveOf(task, own, levels, weigher !== undefined);
      const seen = known && (await outputCurve(task, known, entry, own, levels, shifts));
      const plain = seen ?? (await host.fulfil(scope, entry, own, weigher, passes, task.signal));
      const curve = known && !seen ? overItsSignal(plain) : plain;
      const s = sensitivities[name] ?? 1;
      const found = curve.errors.map((error) => ({ bytes: 0, error: error * s }));
      candidates.push({ entry, plan: own, levels, signal: curve.signal * s, options: found });
    } catch (error) {
      host.leave(task, item, error);
    }
    done += host.countElements(entry.shape);
    task.tell(name, done, total);
  }
  if (candidates.length === 0) throw new host.WlqError("unsupported", "no tensor of this model is to be quantized");
  const laidOut = (shifts.size > 0 && (await model.shifted?.(shifts))) || model;
  const sizes = new Sizes({ ...task, model: laidOut }, candidates);
  await sizes.fill();
  const { picks, bytes } = await solve(task, target, candidates, sizes);
  return resultOf(task, target, candidates, picks, bytes);
}

function weightsOf({ countElements }: PlanHost, list: readonly Pick<Candidate, "entry">[]): number {
  return list.reduce((sum, { entry }) => sum + countElements(entry.shape, entry.name), 0);
}

/** What the levels would cost in one tensor, by its granularity or scale. */
function* curveOf(
  { host, scope }: PlanTask,
  plan: QuantizePlan,
  levels: readonly number[],
  weighted: boolean,
): Passes<Curve> {
  const { granularity, scale, shape, axis, groupSize, cluster } = plan;
  const run = yield* host.codebookRun(scope, plan, weighted);
  if (scale !== "none") return yield* curveRun(host, scope, run, cluster.pins, levels);
  const grouping = host.groupingOf(granularity, shape, axis, groupSize);
  return yield* curveGroups(host, scope, run, grouping, cluster.pins, levels);
}

/** What outputs take, measured by laying them out without their codes. */
class Sizes {
  readonly #task: PlanTask;
  readonly #candidates: readonly Candidate[];

  constructor(task: PlanTask, candidates: readonly Candidate[]) {
    this.#task = task;
    this.#candidates = candidates;
  }

  /** Bytes of the whole output where each tensor has the levels of its pick. */
  async total(picks: readonly number[]): Promise<number> {
    return (await this.#layOut(picks)).total;
  }

  /** Bytes of every option. */
  async fill(): Promise<void> {
    const most = Math.max(...this.#candidates.map(({ options }) => options.length));
    for (let i = 0; i < most; i++) {
      const picks = this.#candidates.map(({ options }) => Math.min(i, options.length - 1));
      const { sizes } = await this.#layOut(picks);
      this.#candidates.forEach(({ entry, options }, t) => {
        const pick = picks[t] as number;
        const bytes = sizes.get(entry.name);
        // a tensor that is left as it is loses nothing
        const { error } = options[pick] as Option;
        options[pick] = bytes === undefined ? { bytes: entry.byteLength, error: 0 } : { bytes, error };
      });
    }
  }

  async #layOut(picks: readonly number[]): Promise<{ total: number; sizes: Map<string, number> }> {
    const { host, scope, model, to } = this.#task;
    const sizes = new Map<string, number>();
    const coded = new Map(
      this.#candidates.map(({ entry, plan, levels }, t) => {
        const coding = blank(host, plan, levels[picks[t] as number] as number, entry.dtype);
        return [entry.name, { entry, coding, importance: undefined }];
      }),
    );
    const files = await host.outputFiles(scope, model, coded, to, false, undefined, () => {}, sizes, []);
    let total = host.segmentsByteLength(files.main);
    for (const segments of files.companions.values()) total += host.segmentsByteLength(segments);
    return { total, sizes };
  }
}

/** A coding of the right size, its values as long as real ones: formats may write 16 bits where those say all. */
function blank(
  { groupingOf }: PlanHost,
  { granularity, scale, axis, groupSize, shape }: QuantizePlan,
  levels: number,
  dtype: string,
): Coding {
  const short = (dtype === "F16" || dtype === "BF16") && scale === "none";
  const codebooks = groupingOf(granularity, shape, axis, groupSize).groups;
  const codebook = new Float32Array(codebooks * levels).fill(short ? 1 : 1 / 3);
  const coding = { levels, granularity, axis, groupSize, shape, codebook };
  if (scale === "none") return coding;
  const values = new Float32Array(groupingOf(scale, shape, axis, groupSize).groups);
  return { ...coding, scale: { per: scale, values } };
}

async function solve(
  { host, kind }: PlanTask,
  target: PlanTarget,
  candidates: readonly Candidate[],
  sizes: Sizes,
): Promise<{ readonly picks: readonly number[]; readonly bytes: number }> {
  const wanted = target[kind] as number;
  const lists = candidates.map(({ options }) => options);
  const weights = weightsOf(host, candidates);
  const ends = frontier(lists);
  const least = ends[0] as { bytes: number; error: number };
  const most = ends.at(-1) as { bytes: number; error: number };
  const smallest = candidates.map(() => 0);
  const largest = candidates.map(({ options }) => options.length - 1);
  const refuse = (what: string, low: string, high: string): WlqError =>
    new host.WlqError("unsupported", `${what} cannot be reached: this model takes from ${low} to ${high}`);
  if (kind === "sqnrDb") {
    const signal = candidates.reduce((sum, c) => sum + c.signal, 0);
    const found = fewestBytes(lists, signal / ratioOf(wanted));
    const range = [least, most].map(({ error }) => sqnrText(host.sqnrOf(signal, error))) as [string, string];
    if (!found || signal / ratioOf(wanted) > least.error) throw refuse(`${wanted} dB`, ...range);
    return { picks: found.picks, bytes: await sizes.total(found.picks) };
  }
  if (kind === "bitsPerWeight") {
    const found = leastError(lists, (wanted * weights) / 8);
    const range = [least, most].map(({ bytes }) => ((bytes * 8) / weights).toFixed(3)) as [string, string];
    if (!found || wanted * NEAR * weights > most.bytes * 8) throw refuse(`${wanted} bits/weight`, ...range);
    return { picks: found.picks, bytes: await sizes.total(found.picks) };
  }
  const range = [await sizes.total(smallest), await sizes.total(largest)] as const;
  const impossible = (): WlqError => refuse(`${wanted} bytes`, `${range[0]}`, `${range[1]} bytes`);
  if (wanted < range[0] || wanted * NEAR > range[1]) throw impossible();
  // headers and shared tables depend on the choice a little: what they take is looked up and the choice made again
  let rest = Math.min(range[0] - least.bytes, range[1] - most.bytes);
  let best: { picks: readonly number[]; bytes: number } | undefined;
  let bestError = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 12; round++) {
    const found = leastError(lists, wanted - rest);
    if (!found) break;
    const bytes = await sizes.total(found.picks);
    if (bytes <= wanted && found.error < bestError) {
      best = { picks: found.picks, bytes };
      bestError = found.error;
    }
    const own = bytes - found.bytes;
    if (bytes <= wanted && own >= rest) break;
    rest = bytes <= wanted ? own : Math.max(own, rest + bytes - wanted);
  }
  return best ?? { picks: smallest, bytes: range[0] };
}

function resultOf(
  { host, to, model, kept, warnings }: PlanTask,
  target: PlanTarget,
  candidates: readonly Candidate[],
  picks: readonly number[],
  bytes: number,
): Plan {
  const { sqnrOf } = host;
  const chosen = new Map(
    candidates.map((candidate, t) => [candidate.entry.name, { candidate, pick: picks[t] as number }]),
  );
  const tensors = model.tensors.map(({ name, dtype, shape, byteLength }): PlannedTensor => {
    const own = chosen.get(name);
    const base = { name, dtype, shape };
    if (!own) return { ...base, bytes: byteLength, kept: kept.get(name) ?? "" };
    const { plan, levels, options, signal } = own.candidate;
    const { bytes: size, error } = options[own.pick] as Option;
    return {
      ...base,
      bytes: size,
      options: { levels: levels[own.pick] as number, ...sharing(plan) },
      sqnrDb: sqnrOf(signal, error),
    };
  });
  const signal = candidates.reduce((sum, c) => sum + c.signal, 0);
  const weights = weightsOf(host, candidates);
  const sum = (of: (option: Option) => number): number =>
    candidates.reduce((all, { options }, t) => all + of(options[picks[t] as number] as Option), 0);
  const coded = sum((option) => option.bytes);
  if (target.bytes !== undefined && bytes < target.bytes * NEAR) {
    warnings.push(`the size is ${bytes} bytes: no combination of levels comes nearer to ${target.bytes}`);
  }
  return {
    plan: 1,
    format: model.format,
    to,
    target,
    bytes,
    weights,
    bitsPerWeight: (coded * 8) / weights,
    sqnrDb: sqnrOf(
      signal,
      sum((option) => option.error),
    ),
    tensors,
    tradeOff: tradeOffOf(host, candidates, signal, weights, bytes - coded),
    warnings,
  };
}

/** The frontier, thinned to points of about equal distance in bytes. */
function tradeOffOf(
  { sqnrOf }: PlanHost,
  candidates: readonly Candidate[],
  signal: number,
  weights: number,
  rest: number,
): TradeOff[] {
  const all = frontier(candidates.map(({ options }) => options));
  const first = all[0]?.bytes ?? 0;
  const step = ((all.at(-1)?.bytes ?? 0) - first) / (POINTS - 1);
  let next = first;
  const points = all.filter(({ bytes }, i) => {
    if (bytes < next && i < all.length - 1) return false;
    while (step > 0 && next <= bytes) next += step;
    return true;
  });
  return points.map(({ bytes, error }) => ({
    bytes: bytes + rest,
    bitsPerWeight: (bytes * 8) / weights,
    sqnrDb: sqnrOf(signal, error),
  }));
}

function sqnrText(db: number | null): string {
  return db === null ? "exact" : `${db.toFixed(2)} dB`;
}

/** signal / error where they are `db` apart, from basic operations alone: Math.pow differs between engines. */
function ratioOf(db: number): number {
  let doublings = Math.floor(db / 3.0102999566398121);
  const rest = ((db - doublings * 3.0102999566398121) * Math.LN10) / 10;
  let term = 1;
  let ratio = 1;
  for (let n = 1; n < 24; n++) {
    term *= rest / n;
    ratio += term;
  }
  for (; doublings > 0; doublings--) ratio *= 2;
  for (; doublings < 0; doublings++) ratio /= 2;
  return ratio;
}
