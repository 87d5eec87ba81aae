// Page: what was measured of the voice activity detector, as docs/results/vad.md.
import { table } from "../calibrate/table.ts";
import { SECONDS } from "./speech.ts";
import type { Distance } from "./subject.ts";

/** Clips to calibrate on, and to listen to of each kind. */
export const CLIPS = { calibration: 40, each: 40 } as const;

/** One way to quantize and what came of it. */
export interface Row {
  readonly name: string;
  /** Of the whole model, codes entropy-coded; of integers, at their order-0 entropy. */
  readonly bytes: number;
  /** The same with codes of one width. */
  readonly packed: number;
  readonly seen: Distance;
  readonly unseen: Distance;
}

export interface Results {
  readonly model: string;
  readonly floatBytes: number;
  readonly clips: typeof CLIPS;
  /** Share of the frames in which the float model hears speech. */
  readonly speech: number;
  readonly rows: readonly Row[];
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export function pageOf({ floatBytes, clips, speech, rows }: Results): string {
  const cells = [...rows]
    .sort((a, b) => b.bytes - a.bytes)
    .map(({ name, bytes, packed, seen, unseen }) => [
      name,
      (packed / 1000).toFixed(0),
      (bytes / 1000).toFixed(0),
      seen.meanError.toFixed(4),
      unseen.meanError.toFixed(4),
      seen.error95.toFixed(3),
      unseen.error95.toFixed(3),
      percent(seen.sameSide),
      percent(unseen.sameSide),
    ]);
  return `# Voice activity detection without training

\`npm run experiment:vad\` writes this page. Silero VAD v5, the part for 16 kHz (convolutions and an LSTM,
${(floatBytes / 1000).toFixed(0)} kB in float32), calibrated on ${clips.calibration} clips of ${SECONDS} s without labels, then listening to
${2 * clips.each} others frame by frame, its state carried on. Speech is synthesized (eSpeak); half of the clips are of the voices
and noise of calibration (seen), half of voices of other languages in babble and hum (unseen). The float model hears speech
in ${percent(speech)} of the seen frames.

Error: how far the probability of speech is from the float model's, mean and 95th percentile; same side: frames on the float
model's side of one half. Bytes are of the whole model in kB; entropy: containers as they are, integers at the order-0
entropy of their codes, which no coder beats by much and none reaches for nothing. All settings quantize the same weights.

${table(
  ["setting", "packed", "entropy", "error: seen", "unseen", "95 %: seen", "unseen", "same side: seen", "unseen"],
  cells,
)}
`;
}
