// Page: docs/results/calibrate.md, written from the results alone.

import { megabytes, percent, type Results, type Row } from "./results.ts";
import { NOISE, RATE } from "./settings.ts";
import { table } from "./table.ts";

const COMMANDS = {
  capture: "calibrate",
  captureWithNoise: `calibrate --noise ${NOISE}`,
  quantize: "compress --levels 16",
} as const;

/** The page as Markdown. */
export function pageOf(results: Results): string {
  const { rows, verdicts, cost, lines, calibrationLines, floatAccuracy, floatBytes, layers } = results;
  const held = verdicts.filter((verdict) => verdict.held).length;
  return `${[
    "# Calibration: text recognition without training",
    `Written by \`npm run experiment:calibrate\` from \`calibrate.json\`. PP-OCRv4 recognition (\`${results.model}\`, ${megabytes(floatBytes)}) is
calibrated on ${calibrationLines} lines without labels and reads ${2 * lines} others: ${lines} of the same kind (**seen**: other texts, the same faces,
sizes and noise) and ${lines} of another (**unseen**: faces, sizes and noise that calibration did not have). The float model
itself reads ${percent(floatAccuracy.seen)} and ${percent(floatAccuracy.unseen)} of their characters right; what is compared is each model with the float one.`,
    `- **plain**: optimal codebooks for the weights. **diagonal**: weighted by the mean square of each input (\`--importance\`).
  **calibrated**: \`--calibration\`. **With noise**: each calibration line was seen once more with noise of ${NOISE} of its pixels'
  deviation, \`wlq calibrate --noise ${NOISE}\`.
- **Bits counted**: \`--rate ${RATE}\`, codes are chosen for error and bits; elsewhere for the error alone.
- **Depthwise convolutions** have 256 levels everywhere, 8 bits a channel in the affine models.
- **Affine**: even steps with a zero point, the weights rounded to the nearest; a float32 scale each.
- **MB** is the whole container as \`compress\` writes it, codes entropy-coded; of affine models the codes at the order-0 entropy
  of their layer, scales and zero points, and the rest of that container.
- **KL** is the mean over all time steps of the divergence from the float model's output, in nats. Few steps make much of it:
  before and after a line the model is undecided between a space and nothing, and a flip counts several nats.`,
    "## What was to be shown",
    `${held} of ${verdicts.length} hold, on all ${2 * lines} lines.`,
    table(
      ["setting", "goal", "measured", "held"],
      verdicts.map(({ what, goal, measured, held: ok }) => [what, goal, measured, ok ? "yes" : "**no**"]),
    ),
    "## All settings",
    table(
      ["setting", "MB", "characters: seen", "unseen", "all", "KL: seen", "unseen", "all", "lines"],
      [...rows].sort((a, b) => b.bytes - a.bytes).map(cells),
    ),
    "![Divergence against size](calibrate.svg)",
    "## Layers",
    "Output SQNR in decibels on the calibration lines, at the first setting, calibrated with noise, noisy lines included; nearest: each weight its nearest value.",
    table(
      ["weight", "shape", "nearest", "calibrated"],
      layers.map(({ weight, shape, nearestDb, sqnrDb }) => [weight, shape.join(" x "), dB(nearestDb), dB(sqnrDb)]),
    ),
    "## Cost",
    `Processor time of all threads and largest resident set of \`wlq calibrate\` and \`wlq compress\`, processes of their own: starting Node,
onnxruntime-web and reading files included. Rank-k update ${results.gflops.toFixed(1)} GFLOP/s.`,
    table(
      ["command", "seconds", "peak"],
      (["capture", "captureWithNoise", "quantize"] as const).map((key) => {
        return [COMMANDS[key], cost[key].seconds.toFixed(1), megabytes(cost[key].peakBytes)];
      }),
    ),
  ].join("\n\n")}\n`;
}

const dB = (x: number | null): string => (x === null ? "exact" : x.toFixed(1));

function cells({ name, bytes, kept }: Row): string[] {
  const { seen, unseen, all } = kept;
  return [
    name,
    (bytes / 1e6).toFixed(2),
    ...[seen, unseen, all].map(({ characters }) => percent(characters)),
    ...[seen, unseen, all].map(({ meanKl }) => meanKl.toFixed(3)),
    `${all.lines}/${all.countLines}`,
  ];
}
