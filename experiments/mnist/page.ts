// Page: docs/results/mnist.md, written from the results alone.
import { table } from "../calibrate/table.ts";
import {
  type Bound,
  FURTHEST,
  interval,
  type MethodResult,
  type NetworkResult,
  points,
  type Results,
} from "./results.ts";
import { mean } from "./statistics.ts";

/** The page as Markdown. */
export function pageOf(results: Results): string {
  const { seeds, networks, bounds } = results;
  const held = bounds.filter((bound) => bound.held).length;
  return `${[
    "# MNIST: rounds against the float network",
    `Written by \`npm run experiment:mnist\` from \`mnist.json\`, which has every seed and every round. ${seeds.length} seeds, full MNIST
(\`${results.data}\`). Networks train in Python (LeNet-300-100 in numpy, LeNet-5 in PyTorch) and are quantized by \`wlq slq\` through
files: nothing of wlq runs in the trainer and nothing of the trainer in wlq.`,
    rulesOf(networks),
    "## What was to be shown",
    `${held} of ${bounds.length} hold. Differences are paired (same seed, same epochs, same batches), in points of test error, with the 95 % interval of
their mean (Student's t). Below: in the mean.`,
    table(
      ["network", "what", "bound", "measured", "held"],
      bounds.map(({ network, what, bound, measured, held: ok }: Bound) => [
        network,
        what,
        bound,
        measured,
        ok ? "yes" : "**no**",
      ]),
    ),
    ...networks.flatMap(tradeOffs),
    ...networks.flatMap(section),
    "## Plots",
    "![Test error against size](mnist-size.svg)",
    "![Validation error over the rounds](mnist-rounds.svg)",
  ].join("\n\n")}\n`;
}

// What the tables do not show is not explained.
const rulesOf = (networks: readonly NetworkResult[]): string => {
  const pruned = networks.some(({ methods }) => methods.some(({ ahead, family }) => ahead && family === "prune + SLQ"));
  return `- **Hold-out.** The last 5 000 training images are the validation set. Partition losses, learning rates, epochs and every choice of
  schedule saw them and nothing else. Each trained network is measured on the test set once, when its training is over. Where a
  method was trained anew after such a measurement, the network's section says so.
- **Float.** The float network gets as many epochs as the quantized ones: it starts from the same trained network and goes on, with the
  same rounds, rates and batches, without masks.
- **Teaching**, where a network's section says so: the quantized networks of all families are re-trained on the answers of the float
  network of their seed (cross-entropy between the two softmaxes), not on the labels. The labels are what the float network learns
  from. A float network that is taught in the same way ("float, taught") shows what that does alone.
- **Trained ahead**, ours and not the paper's: before each round, the first one too, the layers that freeze in it are trained as
  they will be rounded. The loss sees their weights as the nearest of the coming values (\`wlq slq probe\`), its gradient moves
  the weights behind them, and values that are not frozen follow the mean of their weights. ${pruned ? PRUNED_AHEAD : "Rounds, clusters and freezing are MLQ's."}
- **Biases** are trained in all rounds and alone after the last, when every weight is frozen.
- **One-shot** is the same clustering with the same grid and levels in one round, without training.
- **INQ** is its powers of two, its rule and its portions: 50, 75, 87.5, 100 %, and with 3 levels its ten portions. It has the epochs of
  SLQ; where pruning or MLQ takes longer (the tables say), INQ and one-shot clustering do not.
- **Size** counts everything but names and headers: codes at the order-0 entropy of their layer, float32 codebooks, a 4-byte count for
  each code (an entropy coder's table), float32 biases. The ratio is to float32 weights and biases.`;
};

const PRUNED_AHEAD = `Before a round of pruning the loss
  sees the smallest weights as zero, a share that grows to the coming one in the first half of the steps; any of them may grow
  again until the round. A pruned network is handed to its last round as it was rounded, so that the round finds the values that
  it was trained with. Rounds, clusters and freezing are MLQ's, or pruning's and SLQ's.`;

// What is not in the table above, said next to it.
function tradeOffs({ network, methods }: NetworkResult): string[] {
  return methods
    .filter(({ further }) => further)
    .map(
      ({ name, ratio, toFloat }) =>
        `Held to no bound, since it is not without loss: ${network.name}, ${name}, ${ratio.toFixed(1)}x, ${points(toFloat.mean)} (${interval(toFloat)}) against float.`,
    );
}

function section({ network, base, methods, floatBytes, parameters }: NetworkResult): string[] {
  const { retrain, longRetrain } = network;
  const pruned = methods.filter(({ family }) => family === "prune + SLQ");
  return [
    `## ${network.name}`,
    `${parameters.toLocaleString("en").replaceAll(",", " ")} parameters, ${kB(floatBytes)} as float32. First trained for ${network.base.epochs} epochs (rate ${network.base.rate}): ${mean(base).toFixed(3)} % test error.
Then ${retrain.epochs} epochs of every method in all (rate ${retrain.rate} at the start of each round, cosine to 0), the last ${retrain.biasEpochs} for biases alone.${longRetrain ? `\n${longer(methods)}: ${longRetrain.epochs} epochs (rate ${longRetrain.rate}), the last ${longRetrain.biasEpochs} for biases alone.` : ""}
${recipe(network)}${network.remark ? `\n${network.remark}` : ""}`,
    table(
      [
        "method",
        "levels",
        "rounds",
        "epochs",
        "test error",
        "to float",
        "95 %",
        "to one-shot",
        "to INQ",
        "bits/weight",
        "size",
        "ratio",
      ],
      methods.map(row),
    ),
    ...pruned.map(prunedText),
  ];
}

// What takes longer, with the float network that it is compared with.
function longer(methods: readonly MethodResult[]): string {
  const names = methods.filter(({ long, family }) => long && family !== "float").map(labelOf);
  return `Longer: ${names.join(", ")}, and a second float network to compare with`;
}

// What the images are and what is learnt from: of each network on its own, since results may be of different days.
function recipe({ base, retrain: { shift = 0, teaching }, longRetrain }: NetworkResult["network"]): string {
  const images =
    shift > 0 && base.shift === shift
      ? `Images are moved by up to ${shift} pixel${shift > 1 ? "s" : ""} in both directions, at random in every epoch, in all trainings.`
      : "Images are as they are.";
  if (!teaching) return `${images} All learn from the labels.`;
  const { temperature, labels } = teaching;
  const own = longRetrain?.teaching?.temperature ?? temperature;
  const other = own === temperature ? "" : ` (${own} where it takes longer)`;
  return `${images} Quantized networks learn from the float network's answers, at temperature ${temperature}${other}${labels > 0 ? `, with the labels at a weight of ${labels}` : ", and from no labels"}.`;
}

function labelOf({ family, levels, grid, taught, ahead }: MethodResult): string {
  if (taught) return `${family}, taught`;
  if (ahead && family !== "prune + SLQ") return `${family} trained ahead`;
  if (grid && grid !== "free") return `${family}, ${GRIDS[grid]}`;
  return family === "prune + SLQ" ? `${family} with ${levels} levels${ahead ? ", trained ahead" : ""}` : family;
}

function row(method: MethodResult): string[] {
  const { family, taught, ahead, levels, epochs, error, toFloat, toOneShot, toInq, bytes, ratio, runs } = method;
  const sizes = runs.flatMap(({ size }) => (size ? [(8 * size.codes) / size.weights] : []));
  const isFloat = family === "float" && !taught;
  return [
    family === "prune + SLQ" ? `${family}${ahead ? " trained ahead" : ""}` : labelOf(method),
    levels === null ? "" : String(levels),
    String(runs[0]?.rounds.length ?? 0),
    epochs > 0 ? String(epochs) : "",
    `${error.toFixed(3)} %`,
    isFloat ? "" : points(toFloat.mean),
    isFloat ? "" : interval(toFloat),
    toOneShot ? points(toOneShot.mean) : "",
    toInq ? points(toInq.mean) : "",
    sizes.length > 0 ? mean(sizes).toFixed(2) : "32",
    kB(bytes),
    isFloat ? "1x" : `${ratio.toFixed(1)}x`,
  ];
}

const GRIDS = { pow2: "powers of two", inq: "INQ's powers" } as const;

function prunedText({ runs, ratio, levels, further, ahead, toFloat }: MethodResult): string {
  const of = (part: "codes" | "tables" | "biases" | "total"): string =>
    kB(mean(runs.map(({ size }) => size?.[part] ?? 0)));
  const zeros = 100 * mean(runs.map(({ size }) => size?.zeros ?? 0));
  const far = ratio / FURTHEST;
  const costs = `Test error to the float network: ${points(toFloat.mean)} points (${interval(toFloat)})${further ? ", a trade-off, not held to a bound" : ""}.`;
  return `prune + SLQ${ahead ? " trained ahead" : ""}, ${levels} levels: ${zeros.toFixed(1)} % of the weights are zero; codes ${of("codes")}, tables ${of("tables")}, biases ${of("biases")}: ${of("total")}, ${ratio.toFixed(1)}x.
${costs}
${FURTHEST}x, the furthest published ratio for a LeNet (Choi et al., ICLR 2017), is ${far >= 1 ? `passed, by ${((far - 1) * 100).toFixed(0)} %${toFloat.mean > 0 ? ", at that loss" : ""}` : `not reached: ${((1 / far - 1) * 100).toFixed(0)} % more would be needed`}.`;
}

const kB = (bytes: number): string => `${(bytes / 1e3).toFixed(1)} kB`;
