// Settings: the networks, how each is trained, and the methods that are compared, as data.

/** Plain SGD training: epochs may be a fraction; the rate falls to zero along a cosine. */
export interface Training {
  readonly epochs: number;
  readonly rate: number;
  readonly decay: number;
  /** Of the training images, the first so many; absent: all 55 000. */
  readonly images?: number;
  /** Images are moved by up to so many pixels in both directions, anew in each epoch. */
  readonly shift?: number;
}

/** Training on the answers of a teacher: the float network that the method is compared with. */
export interface Teaching {
  /** Of the softmax of both. */
  readonly temperature: number;
  /** Weight of the true labels, 0 to 1. */
  readonly labels: number;
}

/**
 * Of a method, in all: each round but the last gets the same part of the epochs; after the last, when all weights are
 * frozen, biases alone are trained, for `biasEpochs` of them.
 */
export interface Retraining extends Training {
  readonly biasEpochs: number;
  /** Of quantized networks; absent: the labels. */
  readonly teaching?: Teaching;
}

/** Pruning and then SLQ. */
export interface Pruning {
  readonly levels: number;
  /** Parts of the sparsity, a round each. */
  readonly parts: string;
  /** Clusters frozen after each of the rounds that follow. */
  readonly clusters: string;
  /** Share of each layer's weights that is set to zero. */
  readonly sparsity: Readonly<Record<string, number>>;
  /** Further than can be had for nothing, and not for longer: measured for what it costs, not held to "no loss". */
  readonly further?: boolean;
  /** Trained ahead, both of pruning and of clustering. */
  readonly ahead?: boolean;
  /** In place of the network's. */
  readonly decay?: number;
}

/** One network and its training. */
export interface Network {
  readonly name: "lenet-300-100" | "lenet-5";
  /** The float network that all methods start from. */
  readonly base: Training;
  readonly retrain: Retraining;
  /** Validation images on which the loss of each cluster is measured. */
  readonly lossImages: number;
  /** Of pruning, where it takes longer; then there is a float network that was trained as long, too. */
  readonly longRetrain?: Retraining;
  /** MLQ takes as long. */
  readonly longMlq?: boolean;
  /** MLQ once more, trained ahead, as long as pruning: its order of layers, and from what it learns. */
  readonly aheadMlq?: { readonly order: string; readonly teaching: Teaching };
  readonly prunings: readonly Pruning[];
  /** For the page. */
  readonly remark?: string;
}

/** How a network is quantized. */
export interface Method {
  readonly name: string;
  /** In tables and plots. */
  readonly family: "float" | "one-shot" | "INQ" | "SLQ" | "ESLQ" | "MLQ" | "prune + SLQ";
  readonly levels: number | null;
  /** Arguments of `wlq slq init`; none for the float network, which is trained on without masks. */
  readonly init: readonly string[] | null;
  /** Clusters freeze by the loss they cause, measured on validation images. */
  readonly byLoss: boolean;
  /** Trained as `longRetrain` says. */
  readonly long?: boolean;
  /**
   * Before each round, the first one too, the layers that freeze in it are trained as they will be rounded, by
   * straight-through gradients. Ours, not the paper's.
   */
  readonly ahead?: boolean;
  /** Trained ahead of pruning: what each of the first rounds sets to zero, by layer. */
  readonly zeros?: readonly Readonly<Record<string, number>>[];
  /** Trained ahead of a round that freezes all: that round gets the weights as they were rounded in training. */
  readonly settle?: boolean;
  /** In place of the network's. */
  readonly teaching?: Teaching;
  readonly decay?: number;
  /** A float network that is taught as the quantized ones are. */
  readonly taught?: boolean;
  /** Not held to "no loss". */
  readonly further?: boolean;
  /** The grid of a one-shot method. */
  readonly grid?: "free" | "pow2" | "inq";
}

// All layers in each of MLQ's two rounds.
const AT_ONCE = "fc1.weight,fc2.weight,fc3.weight;fc1.weight,fc2.weight,fc3.weight";

/** A seed is a start and an order of batches. */
export const SEEDS: readonly number[] = [1, 2, 3, 4, 5];

/** The float network goes on for the same epochs, in as many trainings as there are between the rounds of 17 levels. */
export const FLOAT_ROUNDS = 4;

export const NETWORKS: readonly Network[] = [
  {
    name: "lenet-300-100",
    base: { epochs: 20, rate: 0.1, decay: 1e-4, shift: 1 },
    retrain: { epochs: 10, rate: 0.1, decay: 1e-4, biasEpochs: 1, shift: 1, teaching: { temperature: 1, labels: 0 } },
    lossImages: 5000,
    longRetrain: {
      ...{ epochs: 40, rate: 0.1, decay: 1e-4, biasEpochs: 1, shift: 1 },
      teaching: { temperature: 2, labels: 0 },
    },
    aheadMlq: { order: AT_ONCE, teaching: { temperature: 1, labels: 0 } },
    prunings: [
      {
        ...{ levels: 9, parts: "50%,70%,82%,90%,95%,98%,100%", clusters: "5,9" },
        sparsity: { fc1: 0.9035, fc2: 0.868, fc3: 0.6 },
      },
      {
        ...{ levels: 5, parts: "50%,75%,90%,97%,100%", clusters: "3,5", further: true },
        sparsity: { fc1: 0.92, fc2: 0.91, fc3: 0.74 },
      },
    ],
    remark:
      "Pruning with 9 levels was trained anew after a first measurement (42.9x, +0.070 points with 10 epochs): longer, against a float network that is trained as long, and a little less sparse. Its settings were chosen on validation images: three schedules on four or five seeds, other temperatures on one or two. MLQ missed its bound; 40 epochs do not help it (validation error 1.22 to 1.28 % on two seeds, the float network's 0.80 and 0.88 %). MLQ trained ahead is a second measurement, of a method that was chosen after the first: which layers freeze together, the temperature (1) and the weight decay were compared on validation images of seeds 1 and 2.",
  },
  {
    name: "lenet-5",
    base: { epochs: 15, rate: 0.05, decay: 5e-4, shift: 1 },
    retrain: {
      ...{ epochs: 4, rate: 0.02, decay: 5e-4, biasEpochs: 0.25, shift: 1 },
      teaching: { temperature: 1, labels: 0 },
    },
    lossImages: 1000,
    longRetrain: {
      ...{ epochs: 10, rate: 0.05, decay: 5e-4, biasEpochs: 0.5, shift: 1 },
      teaching: { temperature: 2, labels: 0 },
    },
    longMlq: true,
    prunings: [
      {
        ...{ levels: 9, parts: "60%,85%,95%,100%", clusters: "5,9" },
        sparsity: { conv1: 0, conv2: 0.3, fc1: 0.923, fc2: 0.4 },
      },
      {
        ...{ levels: 9, parts: "100%", clusters: "9", ahead: true, decay: 1e-4 },
        sparsity: { conv1: 0, conv2: 0.35, fc1: 0.92, fc2: 0.45 },
      },
    ],
    remark:
      "Trained anew after a first measurement (float 0.762 %, 3.5 epochs on unmoved images; pruning 44.4x at +0.118 points): longer, on moved images, taught, and pruned a little less. Pruning with 9 levels missed its bound again. Pruning trained ahead is a third measurement, of a method that was chosen after the second, against the same float networks. Validation images alone chose it: its forms were compared on seed 3, the worst of the second measurement (0.68 % wrong with zero among the values of every layer, also with 20 epochs; 0.62 % without it where nothing is pruned; 0.56 % with a weight decay of 0.0001 in place of 0.0005, which it has; the float network 0.58 %), earlier forms on seeds 1 and 2, too. The float networks keep their decay.",
  },
];

/** A few minutes: few images, few epochs. */
export const QUICK_NETWORK: Network = {
  name: "lenet-300-100",
  base: { epochs: 4, rate: 0.1, decay: 5e-4, shift: 1, images: 8000 },
  retrain: {
    ...{ epochs: 4, rate: 0.05, decay: 5e-4, shift: 1, biasEpochs: 1, images: 8000 },
    teaching: { temperature: 1, labels: 0 },
  },
  lossImages: 1000,
  prunings: [],
};

const slq = (levels: number): Method => ({
  name: `slq-${levels}`,
  family: "SLQ",
  levels,
  init: ["--preset", "slq", "--levels", String(levels)],
  byLoss: true,
});

const eslq = (levels: number): Method => ({
  name: `eslq-${levels}`,
  family: "ESLQ",
  levels,
  init: ["--preset", "eslq", "--levels", String(levels)],
  byLoss: true,
});

// INQ's own portions: 2 bits (3 levels) have ten of them
const inq = (levels: number): Method => ({
  name: `inq-${levels}`,
  family: "INQ",
  levels,
  init: [
    ...["--preset", "inq", "--levels", String(levels)],
    ...(levels === 3 ? ["--schedule", "20%,40%,60%,70%,80%,85%,90%,95%,97.5%,100%"] : []),
  ],
  byLoss: false,
});

const oneShot = (levels: number, grid: "free" | "pow2" | "inq"): Method => ({
  name: `one-shot-${grid}-${levels}`,
  family: "one-shot",
  levels,
  init: [
    ...["--grid", grid, "--levels", String(levels), "--schedule", String(levels), "--partition", "magnitude"],
    ...(levels === 3 && grid === "free" ? ["--no-pin-zero"] : []),
  ],
  byLoss: false,
  grid,
});

/** The float network: trained on without masks for as many epochs. */
export const FLOAT: Method = { name: "float", family: "float", levels: null, init: null, byLoss: false };
const FLOAT_TAUGHT: Method = { ...FLOAT, name: "float-taught", taught: true };
export const FLOAT_LONG: Method = { ...FLOAT, name: "float-long", long: true };

function pruned({ levels, parts, clusters, sparsity, further, ahead, decay }: Pruning, long: boolean): Method {
  const shares = Object.entries(sparsity).filter(([_, share]) => share > 0);
  const zeros = parts.split(",").map((part) => {
    return Object.fromEntries(shares.map(([layer, share]) => [`${layer}.weight`, share * (parseFloat(part) / 100)]));
  });
  const rules = Object.entries(sparsity).flatMap(([layer, share]) => ["--layer", `${layer}=sparsity:${share}`]);
  return {
    name: ahead ? `prune-slq-${levels}-ahead` : `prune-slq-${levels}`,
    family: "prune + SLQ",
    levels,
    init: [
      ...["--preset", "slq", "--levels", String(levels), "--schedule", clusters],
      ...["--prune", "0.9", "--prune-schedule", parts, ...rules],
      // a layer that is not pruned has no use for a zero
      ...(ahead ? ["--no-pin-zero"] : []),
    ],
    byLoss: !ahead,
    ...(ahead && { ahead, zeros, settle: true }),
    ...(decay && { decay }),
    ...(long && { long }),
    ...(further && { further }),
  };
}

// Which layers first: as the preset has it, or, better on the validation set of LeNet-300-100, one after the other.
const MLQ_ORDER: Readonly<Partial<Record<Network["name"], readonly string[]>>> = {
  "lenet-300-100": ["--schedule", "depth-first"],
};

const mlqAhead = ({ order, teaching }: NonNullable<Network["aheadMlq"]>, long: boolean): Method => ({
  name: "mlq-3-ahead",
  family: "MLQ",
  levels: 3,
  init: ["--preset", "mlq", "--schedule", order],
  byLoss: false,
  ahead: true,
  teaching,
  ...(long && { long }),
});

/** All methods of a network, the float one first. */
export function methodsOf(network: Network): Method[] {
  return [
    FLOAT,
    ...(network.retrain.teaching ? [FLOAT_TAUGHT] : []),
    ...(network.longRetrain ? [FLOAT_LONG] : []),
    ...[17, 9, 5, 3].map((levels) => oneShot(levels, "free")),
    ...[17, 9].map((levels) => oneShot(levels, "pow2")),
    ...[17, 9, 5, 3].map((levels) => oneShot(levels, "inq")),
    ...[17, 9, 5].map(slq),
    ...[17, 9].map(eslq),
    {
      name: "mlq-3",
      family: "MLQ",
      levels: 3,
      init: ["--preset", "mlq", ...(MLQ_ORDER[network.name] ?? [])],
      byLoss: true,
      ...(network.longMlq && { long: true }),
    },
    ...(network.aheadMlq ? [mlqAhead(network.aheadMlq, network.longRetrain !== undefined)] : []),
    ...[17, 9, 5, 3].map(inq),
    ...network.prunings.map((pruning) => pruned(pruning, network.longRetrain !== undefined && !pruning.further)),
  ];
}

/** The methods of the short form. */
export function quickMethods(): Method[] {
  const ahead = { order: AT_ONCE, teaching: { temperature: 1, labels: 0 } };
  const pruning = { levels: 9, parts: "100%", clusters: "9", sparsity: { fc1: 0.85, fc2: 0.8, fc3: 0.5 }, ahead: true };
  return [FLOAT, oneShot(5, "free"), slq(5), oneShot(3, "free"), mlqAhead(ahead, false), pruned(pruning, false)];
}
