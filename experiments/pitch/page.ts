// Page: what was measured of the note detector, as docs/results/pitch.md.
import { table } from "../calibrate/table.ts";
import type { Half } from "./music.ts";
import type { Distance } from "./subject.ts";

/** Clips to calibrate on, and to listen to of each kind. */
export const CLIPS = { calibration: 16, each: 12 } as const;

/** What is quantized: the learned layers, or the bank of filters before them, too. */
export const PARTS = ["learned", "all"] as const;

/** One way to quantize and what came of it. */
export interface Row {
  readonly part: (typeof PARTS)[number];
  readonly name: string;
  /** Of all distinct weights, codes entropy-coded; of integers, at their order-0 entropy. */
  readonly bytes: number;
  /** The same with codes of one width. */
  readonly packed: number;
  readonly seen: Distance;
  readonly unseen: Distance;
}

export interface Results {
  readonly model: string;
  readonly weights: number;
  /** How many of them are the filters'. */
  readonly filters: number;
  readonly floatBytes: number;
  readonly clips: typeof CLIPS;
  /** How well the float model hears what is played, as an F1 score over frames and keys. */
  readonly right: Readonly<Record<Half, number>>;
  readonly rows: readonly Row[];
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export function pageOf({ weights, filters, floatBytes, clips, right, rows }: Results): string {
  const tableOf = (part: Row["part"]): string =>
    table(
      ["setting", "packed", "entropy", "error: seen", "unseen", "notes: seen", "unseen", "beginnings: seen", "unseen"],
      rows
        .filter((row) => row.part === part)
        .sort((a, b) => b.bytes - a.bytes)
        .map(({ name, bytes, packed, seen, unseen }) => [
          name,
          (packed / 1000).toFixed(1),
          (bytes / 1000).toFixed(1),
          seen.error.toFixed(4),
          unseen.error.toFixed(4),
          percent(seen.notes),
          percent(unseen.notes),
          percent(seen.onsets),
          percent(unseen.onsets),
        ]),
    );
  return `# Notes without training

\`npm run experiment:pitch\` writes this page. basic-pitch, a TensorFlow.js graph model that hears notes: a bank of filters,
which its file has nine times, and the layers that learned, ${weights} weights in distinct tensors, ${(floatBytes / 1000).toFixed(0)} kB in float32, of
which the filters are ${filters}. It is calibrated on ${clips.calibration} clips of 2 s without labels, then listens to ${2 * clips.each} others. Music is
synthesized: half of the clips have the instruments and the noise of calibration (struck strings and pipes; seen), half have
others (bowed strings, reeds, frequency modulation), are out of tune and noisier (unseen). Of frames and keys that are played
or heard, the float model hears what is played with an F1 score of ${right.seen.toFixed(2)} (seen) and ${right.unseen.toFixed(2)} (unseen).

Error: how far probabilities of notes and of their beginnings are from the float model's, on average. Notes, beginnings: what
both models take for one (at the package's thresholds, 0.3 and 0.5), as an F1 score over frames and keys. Bytes are in kB,
those of the weights, not of the graph. Entropy: containers as they are, integers at the order-0 entropy of their codes, which
no coder beats by much and none reaches for nothing. All settings of a table quantize the same weights.

## The learned layers

The filters are computed, not learned; they stay as they are and are not counted.

${tableOf("learned")}

## Filters, too

${tableOf("all")}
`;
}
