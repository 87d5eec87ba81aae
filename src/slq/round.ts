// Round: cluster, partition, share weights, freeze; nothing changes for good before everything is known.
import { clusterLayer, codeLayer } from "./clusters.ts";
import type { Layer } from "./layer.ts";
import type { Losses } from "./losses.ts";
import { type Candidate, partitionOrder } from "./partition.ts";
import type { PartitionBy, SlqPlan } from "./plan.ts";
import { referenceRound } from "./reference.ts";
import type { ClusterReport, LayerReport, RoundReport } from "./report.ts";
import { countRounds, needsOrder, type Task, tasksOf } from "./schedule.ts";
import type { SlqState } from "./state.ts";
import type { CodeCost, Workspace } from "./workspace.ts";

/** Losses by layer and code that the caller measured; `null` was not measured. */
export type GivenLosses = Readonly<Record<string, readonly (number | null)[]>>;

/** A layer of a round. */
interface Work {
  readonly layer: Layer;
  readonly task: Task;
  /** Absent where the layer rests or is pruned. */
  readonly cost: CodeCost | undefined;
  /** By code, where measured. */
  readonly losses: (number | undefined)[];
  /** Which codes are frozen when the round is over. */
  freezes: Uint8Array;
  /** Weights that freeze by their magnitude, and that of the last of them. */
  readonly limit: number | undefined;
  readonly frozenBefore: number;
}

/** One round over a state. */
export class Round {
  readonly #state: SlqState;
  readonly #workspace: Workspace;
  readonly #by: PartitionBy;
  readonly #measured: Losses | undefined;
  readonly #given: GivenLosses | undefined;
  // MLQ: per layer, its loss when quantized as a whole
  readonly #layerLosses = new Map<number, number>();
  #baseline: number | undefined;

  constructor(state: SlqState, workspace: Workspace, by: PartitionBy, measured?: Losses, given?: GivenLosses) {
    this.#state = state;
    this.#workspace = workspace;
    this.#by = by;
    this.#measured = measured;
    this.#given = given;
  }

  /** Runs it. Where something is thrown, all is as before. */
  async run(snapped: number): Promise<RoundReport> {
    const work = await this.#orUndo(async () => {
      const all = this.#prepare(await this.#tasks());
      await this.#partition(all);
      return all;
    });
    const frozen = work.map(({ layer }) => layer.frozen);
    for (const item of work) this.#apply(item);
    this.#state.round++;
    return this.#report(work, frozen, snapped);
  }

  /** Clusters the layers as the round would, hands out those that it would partition, and leaves all as it was. */
  async probe<T>(of: (layer: Layer) => T): Promise<T[]> {
    const { plan, layers, round } = this.#state;
    const untouched = this.#untouched();
    const order = needsOrder(plan, round, untouched.length);
    const tasks = tasksOf(plan, round, this.#states(), untouched);
    const undo = this.#undo();
    try {
      const wanted = layers.filter((_, l) =>
        order ? untouched.includes(l) : !["rest", "prune"].includes(tasks[l]?.do ?? ""),
      );
      return wanted.map((layer) => of(this.#clustered(layer).layer));
    } finally {
      undo();
    }
  }

  async #orUndo<T>(work: () => Promise<T>): Promise<T> {
    const undo = this.#undo();
    try {
      return await work();
    } catch (error) {
      undo();
      throw error;
    }
  }

  // Remembers codebooks; what puts them back also finds the codes again.
  #undo(): () => void {
    const before = this.#state.layers.map(({ codebook, frozen }) => ({ codebook, frozen }));
    return () => {
      for (const [l, layer] of this.#state.layers.entries()) {
        const { codebook, frozen } = before[l] as { codebook: Float32Array; frozen: Uint8Array };
        if (layer.codebook === codebook) continue;
        layer.codebook = codebook;
        layer.frozen = frozen;
        this.#workspace.recode(layer);
      }
    };
  }

  #states(): number[] {
    return this.#state.layers.map(({ state }) => state);
  }

  #untouched(): number[] {
    return this.#states().flatMap((state, l) => (state === 0 ? [l] : []));
  }

  async #tasks(): Promise<Task[]> {
    const { plan, round } = this.#state;
    let order = this.#untouched();
    if (needsOrder(plan, round, order.length) && this.#by !== "magnitude") order = await this.#layersByHarm(order);
    return tasksOf(plan, round, this.#states(), order);
  }

  // MLQ: the untouched layers, those that hurt most first; by loss or by relative error of quantizing the whole layer.
  async #layersByHarm(untouched: readonly number[]): Promise<number[]> {
    const harm = new Map<number, number>();
    if (this.#by === "loss") this.#baseline = await this.#measured?.baseline();
    for (const l of untouched) {
      const { layer, cost } = this.#clustered(this.#state.layers[l] as Layer);
      if (this.#by === "error") {
        harm.set(l, totalOf(cost.errors) / (cost.sumSquares || 1));
        continue;
      }
      const loss = this.#given
        ? this.#given[layer.name]?.[0]
        : await this.#measured?.of(layer, [...layer.codebook.keys()]);
      if (loss === undefined || loss === null) continue;
      harm.set(l, loss);
      this.#layerLosses.set(l, loss);
    }
    // what was not measured comes last
    const of = (l: number): number => harm.get(l) ?? Number.NEGATIVE_INFINITY;
    return [...untouched].sort((a, b) => (of(a) === of(b) ? a - b : of(b) - of(a)));
  }

  #prepare(tasks: readonly Task[]): Work[] {
    return this.#state.layers.map((layer, l): Work => {
      const task = tasks[l] as Task;
      const frozenBefore = layer.data.length - layer.free;
      const base = { layer, task, losses: [], frozenBefore, cost: undefined, limit: undefined };
      if (task.do === "rest") return { ...base, freezes: layer.frozen };
      if (task.do === "prune") {
        const count = Math.ceil(task.fraction * layer.data.length) - frozenBefore;
        const limit = count > 0 ? this.#workspace.nthMagnitude(layer, layer.free - count + 1) : undefined;
        return { ...base, freezes: Uint8Array.of(1), limit };
      }
      const { cost } = this.#clustered(layer);
      let limit: number | undefined;
      if (task.do === "fraction" && this.#by === "magnitude") {
        const count = Math.ceil(task.fraction * layer.data.length) - frozenBefore;
        limit = count > 0 ? this.#workspace.nthMagnitude(layer, count) : undefined;
      }
      return { ...base, cost, freezes: layer.frozen.slice(), limit };
    });
  }

  // Finds the layer's clusters: codebook and codes are new then, its weights, mask and frozen values as they were.
  #clustered(layer: Layer): { readonly layer: Layer; readonly cost: CodeCost } {
    const { plan, round } = this.#state;
    const workspace = this.#workspace;
    if (plan.reference) {
      const codebook = referenceRound(workspace, layer, plan, round - plan.prune.length, totalOf(layer.frozen));
      const { frozen } = layer;
      layer.codebook = codebook;
      layer.frozen = Uint8Array.from(codebook, (_, c) => frozen[c] ?? 0);
      return { layer, cost: workspace.measure(layer, codebook) };
    }
    const frozen = new Set([...layer.codebook].filter((_, c) => layer.frozen[c]));
    const codebook = clusterLayer(workspace, layer, plan);
    const cost = codeLayer(workspace, layer, codebook, plan);
    layer.codebook = codebook;
    layer.frozen = Uint8Array.from(codebook, (x) => (frozen.has(x) ? 1 : 0));
    return { layer, cost };
  }

  // Marks the clusters that freeze.
  async #partition(work: readonly Work[]): Promise<void> {
    const { plan } = this.#state;
    const open = work.flatMap((item, l) => (this.#choosesClusters(item) ? candidatesOf(item, l) : []));
    if (this.#by === "loss" && open.length > 0) await this.#measure(work, open);
    const rated = open.map((c) => ({ ...c, loss: work[c.layer]?.losses[c.code] }));
    const order = plan.reference ? rated : partitionOrder(rated, this.#by);
    for (const item of work) {
      if (item.task.do === "all") item.freezes.fill(1);
      if (item.task.do === "outer") item.freezes.fill(1, 0, 1).fill(1, item.freezes.length - 1);
    }
    if (plan.across) {
      const layers = work.filter((item) => this.#choosesClusters(item));
      let left = layers.reduce((sum, item) => sum + wantedClusters(item) - totalOf(item.freezes), 0);
      for (const { layer, code } of order) if (left-- > 0) (work[layer] as Work).freezes[code] = 1;
      return;
    }
    for (const [l, item] of work.entries())
      takeClusters(
        item,
        order.filter(({ layer }) => layer === l),
      );
  }

  #choosesClusters({ task }: Work): boolean {
    return task.do === "clusters" || (task.do === "fraction" && this.#by !== "magnitude");
  }

  async #measure(work: readonly Work[], open: readonly Candidate[]): Promise<void> {
    if (this.#given) {
      for (const { layer, code } of open) {
        const item = work[layer] as Work;
        item.losses[code] = this.#given[item.layer.name]?.[code] ?? undefined;
      }
      return;
    }
    this.#baseline = await this.#measured?.baseline();
    // where calls run out, those with the largest error have been measured
    for (const { layer, code } of partitionOrder(open, "error")) {
      const item = work[layer] as Work;
      item.losses[code] = await this.#measured?.of(item.layer, [code]);
    }
  }

  #apply({ layer, task, freezes, limit }: Work): void {
    if (task.do === "rest") return;
    const workspace = this.#workspace;
    if (task.do === "prune") {
      layer.codebook = Float32Array.of(0);
      layer.codes.fill(0);
    }
    layer.frozen = freezes;
    if (task.do === "prune" || (task.do === "fraction" && this.#by === "magnitude")) {
      if (limit === undefined) return;
      workspace.freezer.freezeBeyond(layer, limit, task.do === "prune");
      // a value with a frozen weight stays in the codebook
      for (const code of workspace.freezer.frozenCodes(layer)) freezes[code] = 1;
      return;
    }
    // the seed makes its mask anew in every round
    if (this.#state.plan.reference) layer.mask.fill(1);
    workspace.freezer.freeze(layer, freezes);
    if (task.do === "outer") layer.state = 1;
    if (task.do === "all" && this.#state.plan.states) layer.state = 2;
  }

  #report(work: readonly Work[], before: readonly Uint8Array[], snapped: number): RoundReport {
    const { plan, round, layers } = this.#state;
    const rounds = countRounds(plan);
    const weights = layers.reduce((sum, { data }) => sum + data.length, 0);
    return {
      round,
      rounds,
      done: round === rounds,
      weights,
      frozen: layers.reduce((sum, { data, free }) => sum + data.length - free, 0),
      snapped,
      partition: this.#by,
      evaluations: this.#measured?.calls ?? 0,
      ...(this.#baseline === undefined ? {} : { baseline: this.#baseline }),
      layers: work.map((item, l) => layerReport(item, before[l] as Uint8Array, plan, this.#layerLosses.get(l))),
      warnings: plan.grid === "free" ? [] : work.flatMap(wastedLevels),
    };
  }
}

function candidatesOf({ layer, cost, freezes }: Work, l: number): Candidate[] {
  return [...layer.codebook].flatMap((value, code) => {
    return freezes[code] ? [] : [{ layer: l, code, value, error: cost?.errors[code] ?? 0 }];
  });
}

// Clusters that are frozen after the round, as the layer's schedule has it.
function wantedClusters({ task, layer }: Work): number {
  return task.do === "clusters" ? Math.min(task.count, layer.codebook.length) : 0;
}

// The first of `order`, all of this layer, until the schedule is met.
function takeClusters(item: Work, order: readonly Candidate[]): void {
  const { task, freezes, cost, layer } = item;
  if (task.do === "clusters") {
    for (const { code } of order.slice(0, Math.max(0, wantedClusters(item) - totalOf(freezes)))) freezes[code] = 1;
  } else if (task.do === "fraction" && cost) {
    let left = Math.ceil(task.fraction * layer.data.length);
    for (let c = 0; c < freezes.length; c++) if (freezes[c]) left -= cost.counts[c] as number;
    for (const { code } of order) {
      if (left <= 0) break;
      freezes[code] = 1;
      left -= cost.counts[code] as number;
    }
  }
}

function layerReport(item: Work, before: Uint8Array, plan: SlqPlan, loss: number | undefined): LayerReport {
  const { layer, task, cost, losses, frozenBefore } = item;
  const error = cost ? totalOf(cost.errors) : 0;
  return {
    name: layer.name,
    levels: layer.levels,
    weights: layer.data.length,
    frozen: layer.data.length - layer.free,
    frozenBefore,
    did: task.do,
    ...(plan.states ? { state: layer.state } : {}),
    ...(loss === undefined ? {} : { loss }),
    ...(cost ? { sqnrDb: error > 0 ? 10 * Math.log10(cost.sumSquares / error) : null, maxError: cost.maxError } : {}),
    clusters: [...layer.codebook].map((value, c): ClusterReport => {
      const own = losses[c];
      return {
        value,
        count: cost?.counts[c] ?? (task.do === "prune" ? layer.data.length - layer.free : 0),
        error: cost?.errors[c] ?? 0,
        ...(own === undefined ? {} : { loss: own }),
        frozen: !layer.frozen[c] ? "free" : before[c] && task.do !== "prune" ? "before" : "now",
      };
    }),
  };
}

function wastedLevels({ layer, cost }: Work): string[] {
  if (!cost) return [];
  const unused = cost.counts.filter((count) => count === 0).length + layer.levels - layer.codebook.length;
  if (unused === 0) return [];
  return [
    `layer "${layer.name}": ${unused} of ${layer.levels} values have no weights; powers of two saturate near 14 dB, fewer levels do as well`,
  ];
}

function totalOf(values: Float64Array | Uint8Array): number {
  let sum = 0;
  for (const x of values) sum += x;
  return sum;
}
