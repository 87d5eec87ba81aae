// Schedule: the rounds as data, and what a round does with each layer.

/**
 * When what freezes; all numbers are totals after the round and the last is everything.
 *
 * - `clusters`: clusters of each layer, e.g. 5, 9, 13, 15, 17 of 17.
 * - `fractions`: shares of each layer's weights, e.g. 0.5, 0.75, 0.875, 1: largest magnitude first, weight by weight
 *   (partition `magnitude`), or whole clusters until the share is reached.
 * - `states` (MLQ): layers go from 0 (untouched) to 1 (outer clusters frozen) to 2 (clustered again, all frozen). `loss`:
 *   layers that hurt most first, half of those left a round; `depth-first`: one layer after the other; a list: names of
 *   the layers that go one state further, a round each.
 */
export type Schedule =
  | { readonly clusters: readonly number[] }
  | { readonly fractions: readonly number[] }
  | { readonly states: "loss" | "depth-first" | readonly (readonly string[])[] };

/** What a round does with a layer. */
export type Task =
  | { readonly do: "rest" }
  /** Freeze at zero, smallest first, until this share is zero. */
  | { readonly do: "prune"; readonly fraction: number }
  /** Freeze until this many clusters are. */
  | { readonly do: "clusters"; readonly count: number }
  /** Freeze until this share of the weights is. */
  | { readonly do: "fraction"; readonly fraction: number }
  /** Freeze the lowest and the highest cluster. */
  | { readonly do: "outer" }
  | { readonly do: "all" };

/** Parts of the sparsity, a round each. */
export const PRUNE_SCHEDULE: readonly number[] = [0.5, 0.8, 1];

// The seed's 5, 9, 13, 15, 17 of 17.
const PACE = [5, 9, 13, 15, 17] as const;

/** The seed's pace for any number of levels: 17 gives 5, 9, 13, 15, 17; 3 gives 1, 2, 3. */
export function defaultClusters(levels: number): number[] {
  const counts = PACE.map((n) => Math.max(1, Math.round((n * levels) / 17)));
  return [...new Set(counts)];
}

/** Throws `RangeError` unless the counts ascend to `levels`. */
export function checkClusters(layer: string, clusters: readonly number[], levels: number): readonly number[] {
  const ok =
    clusters.every((n, i) => Number.isInteger(n) && n >= 1 && n > (clusters[i - 1] ?? 0)) && clusters.at(-1) === levels;
  if (!ok) {
    throw new RangeError(
      `layer "${layer}": a schedule by clusters ascends to the ${levels} levels, got [${clusters.join(", ")}]`,
    );
  }
  return [...clusters];
}

/** Throws `RangeError` unless the shares ascend to 1. */
export function checkFractions(what: string, fractions: readonly number[]): readonly number[] {
  if (!fractions.every((f, i) => f > (fractions[i - 1] ?? 0)) || fractions.at(-1) !== 1) {
    throw new RangeError(`${what} must ascend to 1, got [${fractions.join(", ")}]`);
  }
  return [...fractions];
}

/** Throws `RangeError` unless a list of steps names every layer twice. */
export function checkStates(
  states: "loss" | "depth-first" | readonly (readonly string[])[],
  layers: readonly string[],
): void {
  if (states === "loss" || states === "depth-first") return;
  if (!Array.isArray(states))
    throw new RangeError(`states must be "loss", "depth-first" or a list, got ${String(states)}`);
  const counts = new Map(layers.map((name) => [name, 0]));
  for (const names of states) {
    if (!Array.isArray(names) || new Set(names).size !== names.length) {
      throw new RangeError(`a round of states must name layers, each once, got ${JSON.stringify(names)}`);
    }
    for (const name of names) {
      const count = counts.get(name);
      if (count === undefined)
        throw new RangeError(`states name the layer "${name}", which is not among ${layers.join(", ")}`);
      counts.set(name, count + 1);
    }
  }
  for (const [name, count] of counts) {
    if (count !== 2)
      throw new RangeError(`states must name the layer "${name}" twice (0 to 1, 1 to 2), got ${count} times`);
  }
}

/** What the schedule needs to know of a plan. */
export interface Scheduled {
  readonly prune: readonly number[];
  readonly states: "loss" | "depth-first" | readonly (readonly string[])[] | null;
  readonly layers: readonly {
    readonly name: string;
    readonly levels: number;
    readonly schedule: Exclude<Schedule, { readonly states: unknown }> | undefined;
    readonly sparsity: number;
  }[];
}

/** Number of rounds in all. */
export function countRounds(plan: Scheduled): number {
  const { states, layers } = plan;
  let rounds = 0;
  if (states === "depth-first") rounds = 2 * layers.length;
  else if (states === "loss") {
    for (let left = layers.length; left > 0; left -= Math.ceil(left / 2)) rounds++;
    rounds++;
  } else if (states) rounds = states.length;
  else for (const { schedule } of layers) rounds = Math.max(rounds, stepsOf(schedule).length);
  return plan.prune.length + rounds;
}

function stepsOf(schedule: Scheduled["layers"][number]["schedule"]): readonly number[] {
  if (!schedule) return [];
  return "clusters" in schedule ? schedule.clusters : schedule.fractions;
}

/** Whether this round needs the layers of state 0 in an order: MLQ by loss, unless all that are left are taken. */
export function needsOrder(plan: Scheduled, round: number, untouched: number): boolean {
  return plan.states === "loss" && round >= plan.prune.length && untouched > 1;
}

/**
 * What round `round` (from 0) does with every layer, in the plan's order. `states`: the layers' MLQ states;
 * `order`: the layers of state 0, those that hurt most first.
 */
export function tasksOf(plan: Scheduled, round: number, states: readonly number[], order: readonly number[]): Task[] {
  const { layers, prune } = plan;
  if (round < prune.length) {
    const part = prune[round] as number;
    return layers.map(({ sparsity }) => (sparsity > 0 ? { do: "prune", fraction: part * sparsity } : { do: "rest" }));
  }
  const step = round - prune.length;
  if (plan.states) {
    const move = movesOf(plan, step, states, order);
    return layers.map((_, l) => (move.has(l) ? { do: states[l] === 0 ? "outer" : "all" } : { do: "rest" }));
  }
  return layers.map(({ levels, schedule }): Task => {
    const steps = stepsOf(schedule);
    const value = steps[step];
    if (value === undefined) return { do: "rest" };
    if (step === steps.length - 1) return { do: "all" };
    if (schedule && "fractions" in schedule) return { do: "fraction", fraction: value };
    return { do: "clusters", count: Math.min(value, levels) };
  });
}

function movesOf(plan: Scheduled, step: number, states: readonly number[], order: readonly number[]): Set<number> {
  const { layers } = plan;
  if (plan.states === "depth-first") return new Set([step >> 1]);
  if (plan.states !== "loss" && plan.states) {
    const names = plan.states[step] ?? [];
    return new Set(layers.flatMap(({ name }, l) => (names.includes(name) ? [l] : [])));
  }
  const begun = states.flatMap((state, l) => (state === 1 ? [l] : []));
  return new Set([...begun, ...order.slice(0, Math.ceil(order.length / 2))]);
}
