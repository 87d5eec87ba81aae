// Planner: bits where they matter. Finds how many levels each tensor of a model gets for a size or an error in all.
import { fewestBytes, frontier, leastError, type Option } from "./allocate.ts";
import type { Calibration } from "./calibration.ts";
import { type Coding, codebookGroups, groupingOf, ratioOf, sqnrOf } from "./codebook.ts";
import { type FileOptions, fulfil, outputFiles, withoutImportance } from "./compress.ts";
import { type Curve, curveGroups, curveRun } from "./curve.ts";
import { WlqError } from "./error.ts";
import type { Model, TensorEntry } from "./formats/format.ts";
import { segmentsByteLength } from "./io/segment.ts";
import { checkAborted } from "./io/sink.ts";
import { byteSource, type Source } from "./io/source.ts";
import { openImportance, openModel } from "./open.ts";
import { oneOf, type QuantizePlan } from "./options.ts";
import { outputCurve, overItsSignal } from "./output-curve.ts";
import { type Passes, wholeRun } from "./passes.ts";
import { kindOf, type Plan, type PlannedTensor, type PlanTarget, type TradeOff } from "./plan.ts";
import { relativeTo } from "./power.ts";
import { RATE_HOST } from "./rate-host.ts";
import { normalizedRun } from "./scale.ts";
import { ruleFor, type SelectOptions } from "./select.ts";
import { countElements } from "./tensor.ts";
import { type EncodeScope, encodeBinary, encodeScope } from "./wasm/encode.ts";
import { loadWork } from "./wasm/work.ts";
import { workOn } from "./work.ts";

export interface PlanOptions extends Omit<SelectOptions, "levels" | "bits">, FileOptions {
  /** What is to be written. Default `container`. */
  readonly to?: "container" | "onnx";
  /** What a NaN or infinity in a tensor that the user named does. Default `error`. */
  readonly nonFinite?: "error" | "keep";
  /** What an error in each weight costs; see `compress`. */
  readonly importance?: Source;
  /**
   * `calibration(statistics)` of wlq/calibrate, instead of importance: the error is that of the layers' outputs, each over
   * its own output's power. Weights that it does not know keep 256 levels.
   */
  readonly calibration?: Calibration;
  /** By tensor: what an error in it costs, times the importance. Default 1. */
  readonly sensitivities?: Readonly<Record<string, number>>;
  /**
   * `relative`: errors count over the mean square of their tensor's weights, so that tensors end at about the same SQNR;
   * `absolute`, the default: squared errors count alike, and small weights pay. Calibration is relative by itself.
   */
  readonly weighting?: "absolute" | "relative";
}

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

/**
 * Chooses levels for every tensor (with `method: "ecsq"`, what a bit may cost in all of them) such that the error of all
 * is least for a size, or the size for an error. Which tensors are quantized, and by which granularity and scale, is as in
 * `compress`; a rule that gives levels is kept.
 *
 * @throws WlqError `unsupported` where the target is out of reach, with the range; RangeError for wrong options
 * @example
 * const chosen = await plan(source, { bytes: 2_000_000 });
 * await compress(source, sink, { plan: chosen });
 */
export async function plan(source: Source, target: PlanTarget, options: PlanOptions = {}): Promise<Plan> {
  const kind = kindOf(target);
  if (!encodeBinary.ready) await loadWork(encodeBinary);
  const { formats = [], resolve, to = "container", signal, onProgress, weighting = "absolute" } = options;
  let { sensitivities = {} } = options;
  oneOf("weighting", weighting, ["absolute", "relative"]);
  const model = await openModel(byteSource(source), formats, { resolve });
  if (to === "onnx" && !model.inGraph) {
    throw new WlqError("unsupported", `to "onnx" needs an ONNX model, this is ${model.format}`);
  }
  for (const [name, s] of Object.entries(sensitivities)) {
    if (!(s >= 0 && s < Number.POSITIVE_INFINITY)) throw new RangeError(`sensitivity of "${name}" is ${s}`);
    if (!model.tensors.some((t) => t.name === name)) {
      throw new WlqError("not-found", `sensitivities have the tensor "${name}", the model does not`, { tensor: name });
    }
  }
  const scope = encodeScope();
  if (options.importance && options.calibration) throw new RangeError("importance and calibration exclude each other");
  const known = await options.calibration?.open();
  const importance = options.importance && (await openImportance(options.importance, formats, model));
  const warnings = [...model.warnings];
  const select = selectOf(options);
  // the price of a bit is what is looked for
  const { work, kept } = workOn(model, select.method === "ecsq" ? { ...select, lambda: 1 } : select, known);
  const total = work.reduce((sum, { entry }) => sum + countElements(entry.shape, entry.name), 0);
  warnings.push(...withoutImportance(work, importance));
  for (const { entry, outliers } of work) {
    if (outliers) throw new RangeError(`tensor "${entry.name}": a plan does not count outliers, got ${outliers}`);
  }
  const how = weighting === "relative" && !known ? { weighting } : {};
  if (how.weighting) sensitivities = await relativeTo(scope, work, importance, sensitivities);
  let done = 0;
  if (!known && work.length > 0 && work.every(({ plan: own }) => own.cluster.method === "ecsq")) {
    if (to !== "container") throw new RangeError(`method "ecsq" is for containers: others are not entropy-coded`);
    const tell = (tensor: string, at: number, of: number) =>
      onProgress?.({ phase: "cluster", tensor, done: at, total: of });
    const { nonFinite = "error" } = options;
    const { planRate } = await import("./rate-plan.ts");
    const task = {
      host: RATE_HOST,
      scope,
      model,
      work,
      kept,
      nonFinite,
      importance,
      sensitivities,
      warnings,
      signal,
      tell,
    };
    return { ...(await planRate(task, target)), ...how };
  }
  const candidates: Candidate[] = [];
  // biases that calibration puts in take room
  const shifts = new Map<string, Float32Array>();
  for (const { entry, plan: own, named } of work) {
    checkAborted(signal);
    const rule = ruleFor(entry.name, options.tensors ?? [])?.options;
    const knows = known?.knows(entry.name, entry.shape) ?? true;
    const levels = rule?.levels === undefined && rule?.bits === undefined && knows ? LADDER : [own.levels];
    if (own.cluster.method !== "optimal") {
      throw new RangeError(`tensor "${entry.name}": a plan is for method "optimal", got "${own.cluster.method}"`);
    }
    onProgress?.({ phase: "cluster", tensor: entry.name, done, total });
    try {
      const weigher = importance?.(entry);
      const passes = curveOf(scope, own, levels, weigher !== undefined);
      const seen = known && (await outputCurve(scope, model, known, entry, own, levels, shifts));
      const plain = seen ?? (await fulfil(scope, entry, own, weigher, passes, signal));
      const curve = known && !seen ? overItsSignal(plain) : plain;
      const s = sensitivities[entry.name] ?? 1;
      const found = curve.errors.map((error) => ({ bytes: 0, error: error * s }));
      candidates.push({ entry, plan: own, levels, signal: curve.signal * s, options: found });
    } catch (error) {
      if (!(error instanceof WlqError) || error.code !== "non-finite") throw error;
      if (named && (options.nonFinite ?? "error") === "error") {
        throw new WlqError("non-finite", `tensor "${entry.name}": ${error.message}`, { tensor: entry.name });
      }
      kept.set(entry.name, "has a NaN or infinity");
      warnings.push(`tensor "${entry.name}" is left as it is: ${error.message}`);
    }
    done += countElements(entry.shape);
    onProgress?.({ phase: "cluster", tensor: entry.name, done, total });
  }
  if (candidates.length === 0) throw new WlqError("unsupported", "no tensor of this model is to be quantized");
  const laidOut = (shifts.size > 0 && (await model.shifted?.(shifts))) || model;
  const sizes = new Sizes(scope, laidOut, to, candidates);
  await sizes.fill();
  const { picks, bytes } = await solve(target, kind, candidates, sizes);
  return { ...resultOf(target, to, model, candidates, picks, bytes, kept, warnings), ...how };
}

function selectOf(options: PlanOptions): SelectOptions {
  const { levels, bits, weighting: _, ...select } = options as SelectOptions & PlanOptions;
  if (levels !== undefined || bits !== undefined) {
    throw new RangeError("a plan chooses the levels: give a target or levels, not both");
  }
  return select;
}

/** What the levels would cost in one tensor, by its granularity or scale. */
function* curveOf(
  scope: EncodeScope,
  { granularity, scale, shape, axis, groupSize, cluster }: QuantizePlan,
  levels: readonly number[],
  weighted: boolean,
): Passes<Curve> {
  if (scale === "none") {
    const grouping = groupingOf(granularity, shape, axis, groupSize);
    return yield* curveGroups(scope, grouping, weighted, cluster.pins, levels);
  }
  const grouping = groupingOf(scale, shape, axis, groupSize);
  const whole = wholeRun(scope, grouping.count, weighted);
  return yield* curveRun(scope, yield* normalizedRun(scope, whole, grouping), cluster.pins, levels);
}

/** What outputs take, measured by laying them out without their codes. */
class Sizes {
  readonly #scope: EncodeScope;
  readonly #model: Model;
  readonly #to: "container" | "onnx";
  readonly #candidates: readonly Candidate[];

  constructor(scope: EncodeScope, model: Model, to: "container" | "onnx", candidates: readonly Candidate[]) {
    this.#scope = scope;
    this.#model = model;
    this.#to = to;
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
    const sizes = new Map<string, number>();
    const coded = new Map(
      this.#candidates.map(({ entry, plan, levels }, t) => {
        const coding = blank(plan, levels[picks[t] as number] as number, entry.dtype);
        return [entry.name, { entry, coding, importance: undefined }];
      }),
    );
    const files = await outputFiles(this.#scope, this.#model, coded, this.#to, false, undefined, () => {}, sizes, []);
    let total = segmentsByteLength(files.main);
    for (const segments of files.companions.values()) total += segmentsByteLength(segments);
    return { total, sizes };
  }
}

/** A coding of the right size, its values as long as real ones: formats may write 16 bits where those say all. */
function blank({ granularity, scale, axis, groupSize, shape }: QuantizePlan, levels: number, dtype: string): Coding {
  const base = { levels, granularity, axis, groupSize, shape };
  const short = (dtype === "F16" || dtype === "BF16") && scale === "none";
  const codebook = new Float32Array(codebookGroups(base) * levels).fill(short ? 1 : 1 / 3);
  if (scale === "none") return { ...base, codebook };
  const values = new Float32Array(groupingOf(scale, shape, axis, groupSize).groups);
  return { ...base, codebook, scale: { per: scale, values } };
}

async function solve(
  target: PlanTarget,
  kind: "bytes" | "bitsPerWeight" | "sqnrDb",
  candidates: readonly Candidate[],
  sizes: Sizes,
): Promise<{ readonly picks: readonly number[]; readonly bytes: number }> {
  const lists = candidates.map(({ options }) => options);
  const weights = candidates.reduce((sum, { entry }) => sum + countElements(entry.shape), 0);
  const ends = frontier(lists);
  const least = ends[0] as { bytes: number; error: number };
  const most = ends.at(-1) as { bytes: number; error: number };
  const smallest = candidates.map(() => 0);
  const largest = candidates.map(({ options }) => options.length - 1);
  const refuse = (what: string, low: string, high: string): WlqError =>
    new WlqError("unsupported", `${what} cannot be reached: this model takes from ${low} to ${high}`);
  if (kind === "sqnrDb") {
    const wanted = target.sqnrDb as number;
    const signal = candidates.reduce((sum, c) => sum + c.signal, 0);
    const found = fewestBytes(lists, signal / ratioOf(wanted));
    const range = [least, most].map(({ error }) => sqnrText(sqnrOf(signal, error))) as [string, string];
    if (!found || signal / ratioOf(wanted) > least.error) throw refuse(`${wanted} dB`, ...range);
    return { picks: found.picks, bytes: await sizes.total(found.picks) };
  }
  if (kind === "bitsPerWeight") {
    const wanted = target.bitsPerWeight as number;
    const found = leastError(lists, (wanted * weights) / 8);
    const range = [least, most].map(({ bytes }) => ((bytes * 8) / weights).toFixed(3)) as [string, string];
    if (!found || wanted * NEAR * weights > most.bytes * 8) throw refuse(`${wanted} bits/weight`, ...range);
    return { picks: found.picks, bytes: await sizes.total(found.picks) };
  }
  const wanted = target.bytes as number;
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
  target: PlanTarget,
  to: "container" | "onnx",
  model: Model,
  candidates: readonly Candidate[],
  picks: readonly number[],
  bytes: number,
  kept: ReadonlyMap<string, string>,
  warnings: string[],
): Plan {
  const chosen = new Map(
    candidates.map((candidate, t) => [candidate.entry.name, { candidate, pick: picks[t] as number }]),
  );
  const tensors = model.tensors.map(({ name, dtype, shape, byteLength }): PlannedTensor => {
    const own = chosen.get(name);
    const base = { name, dtype, shape };
    if (!own) return { ...base, bytes: byteLength, kept: kept.get(name) ?? "" };
    const { plan, levels, options, signal } = own.candidate;
    const { granularity, scale, axis, groupSize, cluster } = plan;
    const { bytes: size, error } = options[own.pick] as Option;
    const by = scale === "none" ? granularity : scale;
    return {
      ...base,
      bytes: size,
      options: {
        levels: levels[own.pick] as number,
        granularity,
        scale,
        ...(by === "channel" ? { axis } : {}),
        ...(by === "group" ? { groupSize } : {}),
        ...(cluster.pins.length > 0 ? { pinZero: true } : {}),
      },
      sqnrDb: sqnrOf(signal, error),
    };
  });
  const signal = candidates.reduce((sum, c) => sum + c.signal, 0);
  const weights = candidates.reduce((sum, { entry }) => sum + countElements(entry.shape), 0);
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
    tradeOff: tradeOffOf(candidates, signal, weights, bytes - coded),
    warnings,
  };
}

/** The frontier, thinned to points of about equal distance in bytes. */
function tradeOffOf(candidates: readonly Candidate[], signal: number, weights: number, rest: number): TradeOff[] {
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
