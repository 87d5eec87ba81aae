// Rate-plan: the one price of a bit at which all tensors of a model, entropy-coded, have the size or the error wanted.
import type { Clustered } from "./coded.ts";
import type { WlqError } from "./error.ts";
import type { QuantizePlan } from "./options.ts";
import type { Plan, PlannedOptions, PlannedTensor, PlanTarget } from "./plan.ts";
import type { PlanHost, PlanTask } from "./plan-task.ts";
import { meanSquare } from "./power.ts";
import { pointsAt } from "./rate-curve.ts";
import type { Work } from "./work.ts";

const DB_PER_BIT = 6.020599913279624;
// What is aimed at, and what is near enough.
const AIM = 0.997;
const NEAR = 0.993;
const AIM_DB = 0.01;
const NEAR_DB = 0.03;
const MOST_TRIALS = 16;
const SAMPLE = 65536;
// Prices at which curves are looked at: half a bit apart.
const LOOKS = [0.25, 0.5, 1, 2, 4];

/** What one price costs and loses. */
interface Cost {
  readonly price: number;
  /** Of the whole output. */
  readonly bytes: number;
  /** Stored bits of the quantized tensors. */
  readonly bits: number;
  readonly error: number;
  readonly signal: number;
}

/** All tensors at one price: their codebooks, their exact sizes, and what is lost. */
interface Trial extends Cost {
  readonly coded: ReadonlyMap<string, Clustered>;
  readonly sizes: ReadonlyMap<string, number>;
}

/**
 * At the optimum a bit saves as much error in every tensor, so one price is all there is to choose. Sizes are those of the
 * codes, found by coding them, at every price that is tried: mostly one, since a look at all curves has found it nearly.
 */
export async function planRate(task: PlanTask, target: PlanTarget): Promise<Plan> {
  const { host } = task;
  const weights = task.work.reduce((sum, { entry }) => sum + host.countElements(entry.shape), 0);
  const start = await curvePrice(task, target, weights, await firstPrice(task, target, weights));
  const { best, trials } = await search(task, target, weights, start);
  if (!best) throw refusal(host, target, trials, weights);
  return planOf(task, target, best, trials, weights);
}

/** Prices, each nearer to the target than the one before, and the best that keeps it. */
async function search(
  task: PlanTask,
  target: PlanTarget,
  weights: number,
  start: number,
): Promise<{ best: Trial | undefined; trials: Trial[] }> {
  const { kernels } = task.scope;
  /** How many bits a weight too many, and whether it will do. */
  const judge = ({ bytes, bits, error, signal }: Cost): { excess: number; kept: boolean; near: boolean } => {
    if (target.sqnrDb !== undefined) {
      // not by Math.log10: engines differ, and the price is part of the output
      const db = error > 0 ? (DB_PER_BIT / 2) * kernels.binaryLogarithm(signal / error) : Number.POSITIVE_INFINITY;
      const over = db - target.sqnrDb;
      return { excess: (over - AIM_DB) / DB_PER_BIT, kept: over >= 0, near: over >= 0 && over <= NEAR_DB };
    }
    const [got, most] =
      target.bytes === undefined ? [bits, (target.bitsPerWeight as number) * weights] : [bytes * 8, target.bytes * 8];
    return { excess: (got - AIM * most) / weights, kept: got <= most, near: got <= most && got >= NEAR * most };
  };

  const trials: Trial[] = [];
  let low = 0;
  let high = Number.POSITIVE_INFINITY;
  let best: Trial | undefined;
  let price = start;
  while (trials.length < MOST_TRIALS) {
    const before = trials.at(-1);
    const trial = await tryPrice(task, price, trials.length, weights);
    trials.push(trial);
    const { excess, kept, near } = judge(trial);
    if (kept && (!best || (target.sqnrDb === undefined ? trial.error < best.error : trial.bytes < best.bytes)))
      best = trial;
    if (excess > 0) low = price;
    else high = price;
    let next = price * exp2(task.host, 2 * excess);
    if (low > 0 && high < Number.POSITIVE_INFINITY) {
      if (high < low * 1.0002) break;
      if (!(next > low && next < high) || trials.length % 3 === 0) next = Math.sqrt(low) * Math.sqrt(high);
    }
    price = Math.max(1e-300, Math.min(1e300, next));
    // nothing to gain beyond the ends of what codebooks can do
    if (near || (before && before.bytes === trial.bytes && before.error === trial.error && !(low > 0 && high < 1e300)))
      break;
  }
  return { best, trials };
}

/**
 * Where the sum of all tensors' curves meets the target, about `price`: before the scales are fitted, so it is nearly the
 * price that is looked for, at a quarter of what a trial takes. Tensors with a codebook a channel or group have none.
 */
async function curvePrice(task: PlanTask, target: PlanTarget, weights: number, price: number): Promise<number> {
  const { host, scope, model, work, importance, sensitivities, signal } = task;
  if (work.some(({ plan }) => plan.granularity !== "tensor")) return price;
  const plain = model.tensors.reduce((sum, t) => sum + t.byteLength, 0) - bytesOf(work);
  const sums = LOOKS.map(() => ({ bits: 0, error: 0 }));
  let power = 0;
  for (const { entry, plan } of work) {
    host.checkAborted(signal);
    const s = sensitivities[entry.name] ?? 1;
    const weigher = importance?.(entry);
    const lambdas = LOOKS.map((look) => lambdaOf(price * look, s));
    try {
      const passes = pointsAt(host, scope, plan, lambdas, !!weigher);
      const found = await host.fulfil(scope, entry, plan, weigher, passes, signal);
      power += s * found.signal;
      found.points.forEach(({ bits, error }, i) => {
        const sum = sums[i] as { bits: number; error: number };
        sum.bits += bits;
        sum.error += s * error;
      });
    } catch (fault) {
      // whether it may stay as it is, a trial decides
      if (!(fault instanceof host.WlqError && fault.code === "non-finite")) throw fault;
    }
  }
  const log = (x: number): number => scope.kernels.binaryLogarithm(x);
  const excess = sums.map(({ bits, error }) => {
    if (target.sqnrDb !== undefined) return log(power / error) / 2 - (target.sqnrDb + AIM_DB) / DB_PER_BIT;
    const most = target.bytes === undefined ? (target.bitsPerWeight as number) * weights : (target.bytes - plain) * 8;
    return (bits - AIM * most) / weights;
  });
  return price * exp2(host, rootOf(excess));
}

/** Where what is given at -2, -1, 0, 1 and 2 is 0, by the parabola through the nearest three. */
function rootOf([a = 0, b = 0, c = 0, d = 0, e = 0]: readonly number[]): number {
  const [first, low, mid, high] = b < 0 ? [-1, a, b, c] : d > 0 ? [1, c, d, e] : [0, b, c, d];
  const slope = (high - low) / 2;
  const bend = (high - 2 * mid + low) / 2;
  const root = (2 * mid) / (-slope + Math.sqrt(Math.max(0, slope * slope - 4 * mid * bend)));
  return Number.isFinite(root) ? first + Math.max(-3, Math.min(3, root)) : 0;
}

function refusal(host: PlanHost, target: PlanTarget, trials: readonly Trial[], weights: number): WlqError {
  const text = (trial: Trial): string =>
    target.bytes !== undefined
      ? `${trial.bytes} bytes`
      : target.sqnrDb !== undefined
        ? `${host.sqnrOf(trial.signal, trial.error)?.toFixed(2) ?? "infinitely many"} dB`
        : `${(trial.bits / weights).toFixed(3)} bits/weight`;
  const sorted = [...trials].sort((a, b) => a.bytes - b.bytes);
  const [least, most] = [sorted[0], sorted.at(-1)] as [Trial, Trial];
  const wanted = (["bytes", "bitsPerWeight", "sqnrDb"] as const).flatMap((kind) =>
    target[kind] === undefined
      ? []
      : `${target[kind]} ${{ bytes: "bytes", bitsPerWeight: "bits/weight", sqnrDb: "dB" }[kind]}`,
  );
  return new host.WlqError(
    "unsupported",
    `${wanted} cannot be reached: this model takes from ${text(least)} to ${text(most)}, as far as was tried`,
  );
}

/** About the price at which a bell-shaped tensor has the bits that are wanted on average. */
async function firstPrice(task: PlanTask, target: PlanTarget, weights: number): Promise<number> {
  const { host, scope, work, model, importance, sensitivities } = task;
  let logs = 0;
  let counted = 0;
  for (const { entry } of work) {
    const count = host.countElements(entry.shape);
    const power = await meanSquare(host, scope, entry, importance?.(entry), SAMPLE);
    const mean = power * (sensitivities[entry.name] ?? 1);
    if (!(mean > 1e-300 && mean < 1e300)) continue;
    logs += count * scope.kernels.binaryLogarithm(mean);
    counted += count;
  }
  const plain = model.tensors.reduce((sum, t) => sum + t.byteLength, 0) - bytesOf(work);
  const bits =
    target.sqnrDb !== undefined
      ? target.sqnrDb / DB_PER_BIT + 0.25
      : (target.bitsPerWeight ?? Math.max(0.1, ((target.bytes as number) - plain) * 8) / weights);
  return 1.97 * exp2(host, (counted > 0 ? logs / counted : 0) - 2 * Math.min(12, bits));
}

function bytesOf(work: readonly Work[]): number {
  return work.reduce((sum, { entry }) => sum + entry.byteLength, 0);
}

async function tryPrice(task: PlanTask, price: number, number: number, weights: number): Promise<Trial> {
  const { host, scope, model, work, importance, sensitivities, signal } = task;
  const coded = new Map<string, Clustered>();
  let error = 0;
  let total = 0;
  let done = 0;
  for (const item of [...work]) {
    const { entry, plan } = item;
    host.checkAborted(signal);
    // few searches take more than seven trials
    task.tell(entry.name, weights * Math.min(number, 7) + done, weights * 8);
    done += host.countElements(entry.shape);
    const s = sensitivities[entry.name] ?? 1;
    let found: Clustered;
    try {
      found = await host.cluster(scope, entry, atPrice(plan, lambdaOf(price, s)), importance?.(entry), signal);
    } catch (fault) {
      host.leave(task, item, fault);
      work.splice(work.indexOf(item), 1);
      continue;
    }
    const { entropyCode } = await host.loadEntropyCoder();
    found.entropy = await entropyCode(scope, found, signal);
    coded.set(entry.name, found);
    const { stats } = found;
    if (!stats) continue;
    error += s * (stats.weighted?.error ?? stats.mse * stats.count);
    total += s * (stats.weighted?.signal ?? stats.sumSquares);
  }
  const sizes = new Map<string, number>();
  const { main } = await host.outputFiles(scope, model, coded, "container", true, signal, () => {}, sizes, []);
  const bits = [...sizes.values()].reduce((sum, bytes) => sum + bytes * 8, 0);
  return { price, bytes: host.segmentsByteLength(main), bits, error, signal: total, coded, sizes };
}

function lambdaOf(price: number, sensitivity: number): number {
  return price / Math.max(sensitivity, 1e-30);
}

function atPrice(plan: QuantizePlan, lambda: number): QuantizePlan {
  return { ...plan, cluster: { ...plan.cluster, target: { kind: "lambda", value: lambda } } };
}

function planOf(
  { host, model, work, kept, sensitivities, warnings }: PlanTask,
  target: PlanTarget,
  best: Trial,
  trials: readonly Trial[],
  weights: number,
): Plan {
  const planOfTensor = new Map(work.map(({ entry, plan }) => [entry.name, plan]));
  const tensors = model.tensors.map(({ name, dtype, shape, byteLength }): PlannedTensor => {
    const found = best.coded.get(name);
    const plan = planOfTensor.get(name);
    if (!found?.stats || !plan) return { name, dtype, shape, bytes: byteLength, kept: kept.get(name) ?? "" };
    const { weighted } = found.stats;
    return {
      name,
      dtype,
      shape,
      bytes: best.sizes.get(name) ?? byteLength,
      levels: found.coding.levels,
      options: {
        method: "ecsq",
        lambda: lambdaOf(best.price, sensitivities[name] ?? 1),
        levels: plan.levels,
        ...sharing(plan),
      },
      sqnrDb: weighted ? weighted.sqnrDb : found.stats.sqnrDb,
    };
  });
  if (target.bytes !== undefined && best.bytes < 0.99 * target.bytes) {
    warnings.push(`the size is ${best.bytes} bytes: no codebooks come nearer to ${target.bytes}`);
  }
  const tradeOff = [...trials]
    .sort((a, b) => a.bytes - b.bytes)
    .map(({ bytes, bits, signal, error }) => ({
      bytes,
      bitsPerWeight: bits / weights,
      sqnrDb: host.sqnrOf(signal, error),
    }));
  return {
    plan: 1,
    format: model.format,
    to: "container",
    entropy: "auto",
    target,
    bytes: best.bytes,
    weights,
    bitsPerWeight: best.bits / weights,
    sqnrDb: host.sqnrOf(best.signal, best.error),
    tensors,
    tradeOff: tradeOff.filter(({ bytes }, i) => i === 0 || bytes !== tradeOff[i - 1]?.bytes),
    warnings,
  };
}

/** Which weights share what, as options. */
export function sharing({ granularity, scale, axis, groupSize, cluster }: QuantizePlan): PlannedOptions {
  const by = scale === "none" ? granularity : scale;
  return {
    granularity,
    scale,
    ...(by === "channel" ? { axis } : {}),
    ...(by === "group" ? { groupSize } : {}),
    ...(cluster.pins.length > 0 ? { pinZero: true } : {}),
  };
}

/** 2^x from exact operations and some that are the same everywhere. */
function exp2({ power2 }: PlanHost, x: number): number {
  let y = power2(x - Math.trunc(x));
  for (let n = Math.min(1000, Math.trunc(Math.abs(x))); n > 0; n--) y = x > 0 ? y * 2 : y / 2;
  return y;
}
