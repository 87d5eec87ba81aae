// Page: docs/results/calibrate.md, written from the results alone.
import { megabytes, percent, type Results, type Row } from "./results.ts";

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
  **calibrated**: \`--calibration\`.
- **Depthwise convolutions** have 256 levels everywhere, 8 bits a channel in the affine models.
- **Affine**: even steps with a zero point, the weights rounded to the nearest; a float32 scale each.
- **MB** is the whole container with packed codes; **entropy** the same with codes at the order-0 entropy of their layer and
  16 bits a level for the coder's table.
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
      ["setting", "MB", "entropy", "characters: seen", "unseen", "all", "KL: seen", "unseen", "all", "lines"],
      [...rows].sort((a, b) => b.entropyBytes - a.entropyBytes).map(cells),
    ),
    "![Divergence against size](calibrate.svg)",
    "## Layers",
    "Output SQNR in decibels on the calibration lines, at the first calibrated setting; nearest: each weight its nearest value.",
    table(
      ["weight", "shape", "nearest", "calibrated"],
      layers.map(({ weight, shape, nearestDb, sqnrDb }) => [weight, shape.join(" x "), dB(nearestDb), dB(sqnrDb)]),
    ),
    "## Cost",
    `Capture ${cost.captureSeconds.toFixed(1)} s and quantization ${cost.quantizeSeconds.toFixed(1)} s of processor time; ${megabytes(cost.peakBytes)} at the peak of that
process, of which onnxruntime-web and the model take most. Rank-k update ${results.gflops.toFixed(1)} GFLOP/s.`,
  ].join("\n\n")}\n`;
}

const dB = (x: number | null): string => (x === null ? "exact" : x.toFixed(1));

function cells({ name, bytes, entropyBytes, kept }: Row): string[] {
  const { seen, unseen, all } = kept;
  return [
    name,
    (bytes / 1e6).toFixed(2),
    (entropyBytes / 1e6).toFixed(2),
    ...[seen, unseen, all].map(({ characters }) => percent(characters)),
    ...[seen, unseen, all].map(({ meanKl }) => meanKl.toFixed(3)),
    `${all.lines}/${all.countLines}`,
  ];
}

function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, c) => Math.max(3, heading.length, ...rows.map((row) => row[c]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, c) => cell.padEnd(widths[c] as number)).join(" | ")} |`;
  return [line(headings), `| ${widths.map((w) => "-".repeat(w)).join(" | ")} |`, ...rows.map(line)].join("\n");
}
