// Round report: what a round did, as plain data.

/** One value of a layer's codebook after a round. */
export interface ClusterReport {
  readonly value: number;
  /** Weights that have it or are nearest to it. */
  readonly count: number;
  /** Squared error of those weights when the round began. */
  readonly error: number;
  /** Loss with just this cluster quantized, where it was measured. */
  readonly loss?: number;
  /** `before`: in an earlier round; `now`: in this one; `free`: not yet. */
  readonly frozen: "before" | "now" | "free";
}

/** One layer after a round. */
export interface LayerReport {
  readonly name: string;
  readonly levels: number;
  readonly weights: number;
  readonly frozen: number;
  readonly frozenBefore: number;
  /** What the round did: nothing, freeze at zero, freeze some clusters or weights, freeze all. */
  readonly did: "rest" | "prune" | "clusters" | "fraction" | "outer" | "all";
  /** MLQ's state. */
  readonly state?: number;
  /** MLQ: loss with the whole layer quantized, where it was measured. */
  readonly loss?: number;
  /** Of quantizing all of the layer when the round began, in dB; `null` where exact. Absent where it rested. */
  readonly sqnrDb?: number | null;
  readonly maxError?: number;
  readonly clusters: readonly ClusterReport[];
}

/** One round. */
export interface RoundReport {
  /** From 1. */
  readonly round: number;
  readonly rounds: number;
  readonly done: boolean;
  readonly weights: number;
  readonly frozen: number;
  /** Frozen weights that had moved and were put back. */
  readonly snapped: number;
  readonly partition: "loss" | "magnitude" | "error";
  /** Calls of `evaluate`. */
  readonly evaluations: number;
  /** Loss of the network as it was. */
  readonly baseline?: number;
  readonly layers: readonly LayerReport[];
  readonly warnings: readonly string[];
}

/** What of a report a state keeps: measured losses. `null` stands for infinite, which JSON does not have. */
export interface RoundRecord {
  readonly round: number;
  readonly frozen: number;
  readonly partition: "loss" | "magnitude" | "error";
  readonly evaluations: number;
  readonly baseline?: number | null;
  /** Per layer with measured clusters: value and loss. */
  readonly losses?: Readonly<Record<string, readonly (readonly [value: number, loss: number | null])[]>>;
  /** MLQ: per layer. */
  readonly layerLosses?: Readonly<Record<string, number | null>>;
}

/** The record of a report. */
export function recordOf(report: RoundReport): RoundRecord {
  const { round, frozen, partition, evaluations, baseline } = report;
  const losses = report.layers.flatMap(({ name, clusters }) => {
    const measured = clusters.flatMap(({ value, loss }) =>
      loss === undefined ? [] : [[value, finite(loss)] as const],
    );
    return measured.length > 0 ? [[name, measured] as const] : [];
  });
  const layers = report.layers.flatMap(({ name, loss }) => (loss === undefined ? [] : [[name, finite(loss)] as const]));
  return {
    round,
    frozen,
    partition,
    evaluations,
    ...(baseline === undefined ? {} : { baseline: finite(baseline) }),
    ...(losses.length > 0 ? { losses: Object.fromEntries(losses) } : {}),
    ...(layers.length > 0 ? { layerLosses: Object.fromEntries(layers) } : {}),
  };
}

function finite(loss: number): number | null {
  return Number.isFinite(loss) ? loss : null;
}
