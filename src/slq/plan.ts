// Plan: the options of SLQ rounds, checked against the layers, as plain data that a state file keeps.
import {
  checkClusters,
  checkFractions,
  checkStates,
  defaultClusters,
  PRUNE_SCHEDULE,
  type Schedule,
} from "./schedule.ts";

/** The codebook's values: free centroids (SLQ), zero and powers of two (ESLQ), or INQ's powers with INQ's rule. */
export type Grid = "free" | "pow2" | "inq";
/** What decides which clusters freeze first; for each, the worst: loss, squared error, or zero and then magnitude. */
export type PartitionBy = "loss" | "magnitude" | "error";

/** Pruning before quantization: weights frozen at zero, the smallest first. */
export interface PruneOptions {
  /** Share of each layer's weights that is zero in the end, 0 to 1. */
  readonly sparsity: number;
  /** A round each: which part of `sparsity` is reached; ends with 1. Default 0.5, 0.8, 1. */
  readonly schedule?: readonly number[];
}

/** The seed's own clustering, to the bit: start grid, Lloyd steps on float32 sums, static order. */
export interface ReferenceOptions {
  /** How centroids pass to the next round: `exact`, or `text6` through a text of six digits, as the seed does. */
  readonly carry?: "exact" | "text6";
  /** A round each: the first centroid that is updated (the seed's "here1"). Default: those not frozen, zero apart. */
  readonly update?: readonly number[];
  /** Lloyd steps a round. Default 10. */
  readonly steps?: number;
}

/** Options for the layers whose name matches. */
export interface LayerRule {
  readonly match: RegExp;
  readonly levels?: number;
  readonly bits?: number;
  readonly schedule?: Schedule;
  /** Share of the layer's weights to prune; 0 prunes none. */
  readonly sparsity?: number;
}

/** How a network is quantized, round by round. */
export interface SlqOptions {
  /** Values a codebook, 2 to 256. Default 17. */
  readonly levels?: number;
  /** Instead of `levels`, as in the paper: 2^(bits - 1) + 1 of them (2 to 8; 5 bits are 17 levels). */
  readonly bits?: number;
  readonly grid?: Grid;
  /** Zero is one of the values. Default true. */
  readonly pinZero?: boolean;
  /** The codebook is symmetric around zero: grid `free` only. Default false. */
  readonly symmetric?: boolean;
  /** Default `loss` where `next` gets `evaluate` or `losses`, else `magnitude`. */
  readonly partition?: PartitionBy;
  /** Clusters of all layers are compared together (by loss or error) instead of layer by layer. Default false. */
  readonly across?: boolean;
  /** Most calls of `evaluate` a round. Default 256. */
  readonly evaluations?: number;
  /** The rounds. Default: by clusters, at the seed's pace. */
  readonly schedule?: Schedule;
  readonly prune?: PruneOptions;
  /** Only layers that match, whatever their shape. Without it: all but those of one dimension (biases, norms). */
  readonly include?: RegExp;
  /** Never layers that match: they stay trainable. */
  readonly exclude?: RegExp;
  /** Options for some layers; the last rule that matches wins. */
  readonly layers?: readonly LayerRule[];
  readonly reference?: ReferenceOptions;
}

/** The defaults of {@link SlqOptions}; the command line shows the same. */
export const SLQ_DEFAULTS: Readonly<
  Required<Pick<SlqOptions, "levels" | "grid" | "pinZero" | "symmetric" | "across" | "evaluations">>
> = {
  levels: 17,
  grid: "free",
  pinZero: true,
  symmetric: false,
  across: false,
  evaluations: 256,
};

/** Known methods as options: spread one and change what you like, `{ ...presets.slq, levels: 9 }`. */
export const presets: Readonly<Record<"slq" | "eslq" | "mlq" | "inq" | "reference", SlqOptions>> = {
  /** SLQ of the paper: optimal clusters, by measured loss where `evaluate` is given. */
  slq: { levels: 17, grid: "free", pinZero: true },
  /** ESLQ: SLQ with zero and powers of two. */
  eslq: { levels: 17, grid: "pow2" },
  /** MLQ: few levels; outer clusters of some layers first, then whole layers. */
  mlq: { levels: 3, grid: "free", pinZero: false, schedule: { states: "loss" } },
  /** INQ (Zhou et al., ICLR 2017), 5 bits: its powers of two, largest weights first. */
  inq: { levels: 17, grid: "inq", partition: "magnitude", schedule: { fractions: [0.5, 0.75, 0.875, 1] } },
  /** The seed's code (yuhuixu1993/WLQ), to the bit. */
  reference: { levels: 17, grid: "free", partition: "magnitude", reference: { carry: "exact", steps: 10 } },
};

/** A layer as a plan sees it; no shape: it is taken as a weight. */
export interface LayerShape {
  readonly name: string;
  readonly shape: readonly number[] | undefined;
}

/** What is to be done with one layer. */
export interface LayerPlan {
  readonly name: string;
  readonly levels: number;
  /** Absent where the schedule is by states, which concerns all layers. */
  readonly schedule: Exclude<Schedule, { readonly states: unknown }> | undefined;
  readonly sparsity: number;
}

/** Options with every choice made; JSON. */
export interface SlqPlan {
  readonly grid: Grid;
  readonly pinZero: boolean;
  readonly symmetric: boolean;
  readonly partition: PartitionBy | null;
  readonly across: boolean;
  readonly evaluations: number;
  /** MLQ's order, or null. */
  readonly states: "loss" | "depth-first" | readonly (readonly string[])[] | null;
  /** Parts of the layers' sparsity, a round each. */
  readonly prune: readonly number[];
  readonly reference: Required<ReferenceOptions> | null;
  readonly layers: readonly LayerPlan[];
}

/** Checks options against layers. Throws `RangeError` or `TypeError` with the value that is wrong. */
export function planSlq(layers: readonly LayerShape[], options: SlqOptions): SlqPlan {
  const D = SLQ_DEFAULTS;
  const grid = oneOf("grid", options.grid ?? D.grid, ["free", "pow2", "inq"]);
  const partition =
    options.partition === undefined ? null : oneOf("partition", options.partition, ["loss", "magnitude", "error"]);
  const across = options.across ?? D.across;
  const symmetric = options.symmetric ?? D.symmetric;
  const evaluations = options.evaluations ?? D.evaluations;
  if (!Number.isSafeInteger(evaluations) || evaluations < 1) {
    throw new RangeError(`evaluations must be a positive integer, got ${evaluations}`);
  }
  if (across && partition === "magnitude")
    throw new RangeError('across compares losses or errors: partition "magnitude" has none');
  if (symmetric && grid !== "free")
    throw new RangeError(`grid "${grid}" is symmetric already: symmetric is for grid "free"`);
  const states = options.schedule && "states" in options.schedule ? options.schedule.states : null;
  const { prune, reference } = options;
  const parts = prune ? checkFractions("prune.schedule", prune.schedule ?? PRUNE_SCHEDULE) : [];
  const chosen = layers
    .filter((layer) => isChosen(layer, options))
    .map((layer) => layerPlan(layer.name, options, grid));
  if (chosen.length === 0) throw new RangeError(`none of the ${layers.length} layers is to be quantized`);
  if (across && chosen.some(({ schedule }) => !schedule || "fractions" in schedule)) {
    throw new RangeError("across needs a schedule by clusters");
  }
  if (states)
    checkStates(
      states,
      chosen.map(({ name }) => name),
    );
  return {
    grid,
    pinZero: options.pinZero ?? D.pinZero,
    symmetric,
    partition,
    across,
    evaluations,
    states,
    prune: chosen.some(({ sparsity }) => sparsity > 0) ? parts : [],
    reference: reference ? planReference(reference, options, chosen) : null,
    layers: chosen,
  };
}

function isChosen({ name, shape }: LayerShape, { include, exclude }: SlqOptions): boolean {
  if (exclude && test(exclude, name)) return false;
  if (include) return test(include, name);
  return shape === undefined || shape.filter((d) => d > 1).length >= 2;
}

function layerPlan(name: string, options: SlqOptions, grid: Grid): LayerPlan {
  const rule = options.layers?.filter((r) => test(r.match, name)).at(-1);
  const own = rule?.levels !== undefined || rule?.bits !== undefined;
  const levels = levelsOf(name, own ? rule : options);
  if (grid !== "free" && levels % 2 === 0) {
    throw new RangeError(
      `layer "${name}": grid "${grid}" is zero and pairs of powers of two, so levels are odd, got ${levels}`,
    );
  }
  const sparsity = rule?.sparsity ?? options.prune?.sparsity ?? 0;
  if (!(sparsity >= 0 && sparsity <= 1))
    throw new RangeError(`layer "${name}": sparsity must be 0 to 1, got ${sparsity}`);
  if (sparsity > 0 && !options.prune)
    throw new RangeError(`layer "${name}": sparsity ${sparsity} needs the option prune`);
  return { name, levels, schedule: scheduleOf(name, levels, rule, options), sparsity };
}

function scheduleOf(
  name: string,
  levels: number,
  rule: LayerRule | undefined,
  options: SlqOptions,
): LayerPlan["schedule"] {
  const general = options.schedule;
  if (general && "states" in general) {
    if (rule?.schedule)
      throw new RangeError(`layer "${name}": a schedule by states is for all layers, a rule cannot change it`);
    if (levels < 3) throw new RangeError(`layer "${name}": a schedule by states needs 3 levels or more, got ${levels}`);
    return undefined;
  }
  const schedule = rule?.schedule ?? general ?? { clusters: defaultClusters(levels) };
  if ("states" in schedule)
    throw new RangeError(`layer "${name}": a schedule by states is for all layers, not for a rule`);
  if ("fractions" in schedule) return { fractions: checkFractions(`layer "${name}": fractions`, schedule.fractions) };
  return { clusters: checkClusters(name, schedule.clusters, levels) };
}

function levelsOf(name: string, { levels, bits }: Pick<SlqOptions, "levels" | "bits"> = {}): number {
  if (bits !== undefined && (!Number.isInteger(bits) || bits < 2 || bits > 8)) {
    throw new RangeError(`bits must be an integer from 2 to 8, got ${bits}`);
  }
  const wanted = levels ?? (bits === undefined ? SLQ_DEFAULTS.levels : 2 ** (bits - 1) + 1);
  if (!Number.isInteger(wanted) || wanted < 2 || wanted > 256) {
    throw new RangeError(`layer "${name}": levels must be an integer from 2 to 256, got ${wanted}`);
  }
  if (bits !== undefined && wanted !== 2 ** (bits - 1) + 1) {
    throw new RangeError(
      `levels ${levels} and bits ${bits} contradict each other: ${bits} bits are ${2 ** (bits - 1) + 1} levels here`,
    );
  }
  return wanted;
}

function planReference(
  reference: ReferenceOptions,
  options: SlqOptions,
  layers: readonly LayerPlan[],
): Required<ReferenceOptions> {
  const carry = oneOf("reference.carry", reference.carry ?? "exact", ["exact", "text6"]);
  const steps = reference.steps ?? 10;
  if (!Number.isInteger(steps) || steps < 1)
    throw new RangeError(`reference.steps must be a positive integer, got ${steps}`);
  if (
    (options.grid ?? "free") !== "free" ||
    options.symmetric ||
    options.prune ||
    (options.partition ?? "magnitude") !== "magnitude"
  ) {
    throw new RangeError(
      "the reference knows free centroids and its static order only: no grid, symmetric, prune or partition",
    );
  }
  const update = reference.update ?? [];
  for (const { name, levels, schedule } of layers) {
    if (levels % 2 === 0)
      throw new RangeError(`layer "${name}": the reference is defined for odd levels, got ${levels}`);
    if (!schedule || !("clusters" in schedule))
      throw new RangeError(`layer "${name}": the reference needs a schedule by clusters`);
    if (update.length > 0 && update.length !== schedule.clusters.length) {
      throw new RangeError(`reference.update has ${update.length} rounds, layer "${name}" ${schedule.clusters.length}`);
    }
    for (const first of update) {
      if (!Number.isInteger(first) || first < 0 || first > levels) {
        throw new RangeError(`reference.update must be centroids 0 to ${levels}, got ${first}`);
      }
    }
  }
  return { carry, update, steps };
}

function oneOf<T extends string>(name: string, value: T, allowed: readonly T[]): T {
  if (!allowed.includes(value))
    throw new RangeError(`${name} must be one of ${allowed.join(", ")}, got ${String(value)}`);
  return value;
}

// A regular expression with the g flag would remember where it was.
function test(pattern: RegExp, name: string): boolean {
  pattern.lastIndex = 0;
  return pattern.test(name);
}
