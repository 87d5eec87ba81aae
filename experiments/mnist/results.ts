// Results: what the runs measured, as one JSON: per network and method, differences, and the bounds they are held to.
import type { RoundResult } from "./rounds.ts";
import type { Method, Network } from "./settings.ts";
import type { Size } from "./size.ts";
import { type Difference, mean, pairedDifference, round } from "./statistics.ts";
import type { Measured } from "./trainer.ts";

/** One run: a method on a network from one seed. */
export interface RunResult {
  readonly seed: number;
  readonly rounds: readonly RoundResult[];
  readonly test: Measured;
  /** Absent for the float network. */
  readonly size?: Size;
}

/** One method on one network. */
export interface MethodResult
  extends Pick<Method, "name" | "family" | "levels" | "init" | "grid" | "long" | "taught" | "ahead" | "further"> {
  readonly epochs: number;
  readonly runs: readonly RunResult[];
  /** Test error in percent, mean of the seeds. */
  readonly error: number;
  /** To the float network of the same seed and the same epochs, in points of test error. */
  readonly toFloat: Difference;
  /** To one-shot clustering with the same grid and levels. */
  readonly toOneShot?: Difference;
  /** To INQ with the same levels. */
  readonly toInq?: Difference;
  /** Mean of the seeds; the float network: 4 bytes a parameter. */
  readonly bytes: number;
  readonly ratio: number;
}

/** A bound and whether it is held. */
export interface Bound {
  readonly network: string;
  readonly what: string;
  readonly bound: string;
  readonly measured: string;
  readonly held: boolean;
}

export interface NetworkResult {
  readonly network: Network;
  readonly parameters: number;
  readonly floatBytes: number;
  /** Test error of the network that all methods start from, by seed. */
  readonly base: readonly number[];
  readonly methods: readonly MethodResult[];
}

export interface Results {
  readonly experiment: "mnist";
  readonly data: string;
  readonly seeds: readonly number[];
  readonly networks: readonly NetworkResult[];
  readonly bounds: readonly Bound[];
}

/** What is known of one network before differences are taken. */
export interface Measurements {
  readonly network: Network;
  readonly parameters: number;
  readonly base: readonly number[];
  readonly runs: ReadonlyMap<Method, readonly RunResult[]>;
}

/** Differences, sizes and bounds of what was measured; `kept`: networks as earlier results have them. */
export function resultsOf(
  data: string,
  seeds: readonly number[],
  measured: readonly Measurements[],
  kept: readonly NetworkResult[] = [],
): Results {
  const byName = (a: NetworkResult, b: NetworkResult): number => a.network.name.localeCompare(b.network.name);
  const networks = [...measured.map(networkResult), ...kept].sort(byName);
  return { experiment: "mnist", data, seeds, networks, bounds: networks.flatMap(boundsOf) };
}

function networkResult({ network, parameters, base, runs }: Measurements): NetworkResult {
  const methods = [...runs.keys()];
  const errors = (found: (method: Method) => boolean): number[] | undefined => {
    const method = methods.find(found);
    return method && runs.get(method)?.map(({ test }) => test.error);
  };
  const floatBytes = 4 * parameters;
  return {
    network,
    parameters,
    floatBytes,
    base,
    methods: methods.map((method): MethodResult => {
      const own = runs.get(method) ?? [];
      const test = own.map((run) => run.test.error);
      const { name, family, levels, init, grid, long, taught, ahead, further } = method;
      const float = errors((m) => isReference(m) && m.long === long) ?? [];
      const retrained = family !== "float" && family !== "one-shot";
      const ownGrid = family === "ESLQ" ? "pow2" : family === "INQ" ? "inq" : "free";
      const oneShot = retrained && errors((m) => m.family === "one-shot" && m.grid === ownGrid && m.levels === levels);
      const inq = retrained && family !== "INQ" && errors((m) => m.family === "INQ" && m.levels === levels);
      const bytes = mean(own.map(({ size }) => size?.total ?? floatBytes));
      return {
        ...{ name, family, levels, init, ...(grid && { grid }), ...(long && { long }), ...(taught && { taught }) },
        ...(ahead && { ahead }),
        ...(further && { further }),
        epochs: own[0]?.rounds.at(-1)?.epochs ?? 0,
        error: round(mean(test)),
        toFloat: pairedDifference(test, float),
        ...(oneShot && { toOneShot: pairedDifference(test, oneShot) }),
        ...(inq && { toInq: pairedDifference(test, inq) }),
        bytes: Math.round(bytes),
        ratio: round(floatBytes / bytes),
        runs: own,
      };
    }),
  };
}

/** Points of test error over the float network that are allowed, in the mean. */
const ALLOWED: Readonly<Record<string, number>> = {
  "slq-17": 0.05,
  "slq-9": 0.05,
  "slq-5": 0.1,
  "eslq-17": 0.1,
  "mlq-3": 0.3,
  "mlq-3-ahead": 0.3,
};
/** Deep Compression (Han et al., ICLR 2016), and the float error that a network must reach. */
const PUBLISHED: Readonly<Record<Network["name"], { ratio: number; float: number }>> = {
  "lenet-300-100": { ratio: 40, float: 1.7 },
  "lenet-5": { ratio: 39, float: 0.9 },
};
/** Choi et al., ICLR 2017. */
export const FURTHEST = 51.25;

export const points = (x: number): string => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(3)}`;
export const interval = ({ low, high }: Difference): string => `${points(low)} to ${points(high)}`;

/** Whether all is compared with it: a float network that was trained on the labels. */
const isReference = ({ family, taught }: Pick<Method, "family" | "taught">): boolean => family === "float" && !taught;

function boundsOf({ network, methods }: NetworkResult): Bound[] {
  const bounds: Bound[] = [];
  const add = (what: string, bound: string, measured: string, held: boolean): void => {
    bounds.push({ network: network.name, what, bound, measured, held });
  };
  const { ratio, float } = PUBLISHED[network.name];
  for (const method of methods) {
    const { name, family, error, toFloat, toOneShot, toInq, ratio: own } = method;
    if (isReference(method))
      add("float network, test error", `at most ${float} %`, `${error.toFixed(3)} %`, error <= float);
    const allowed = ALLOWED[name];
    const difference = (d: Difference): string => `${points(d.mean)} (${interval(d)})`;
    if (allowed !== undefined) {
      add(`${name} against float`, `at most +${allowed.toFixed(2)}`, difference(toFloat), toFloat.mean <= allowed);
      if (toOneShot) add(`${name} against one-shot`, "below 0", difference(toOneShot), toOneShot.mean < 0);
      if (toInq) add(`${name} against INQ`, "at most 0", difference(toInq), toInq.mean <= 0);
    }
    if (family === "prune + SLQ" && !method.further) {
      add(`${name}, ratio`, `at least ${ratio}x`, `${own.toFixed(1)}x`, own >= ratio);
      add(`${name} against float`, "at most 0", difference(toFloat), toFloat.mean <= 0);
    }
  }
  return bounds;
}
