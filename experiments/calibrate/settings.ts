// Settings: the ways to quantize that are compared, and what was to be shown.
import type { TensorRule } from "../../src/select.ts";

/** How the weights share values. */
export type Sharing = "layer" | "channel";

/** What is known of the inputs when codes are chosen. */
export type Known = "nothing" | "squares" | "all" | "noise" | "bits";

export interface Setting {
  readonly sharing: Sharing;
  readonly levels: number;
  readonly known: Known;
}

/** `layer`: one codebook a layer and a scale a channel; `channel`: a codebook a channel. */
export const SHARING: Readonly<Record<Sharing, object>> = {
  layer: { scale: "channel" },
  channel: { granularity: "channel" },
};

export const KNOWN: Readonly<Record<Known, string>> = {
  nothing: "plain",
  squares: "diagonal",
  all: "calibrated",
  noise: "calibrated with noise",
  bits: "calibrated with noise, bits counted",
};

/** Noise on each line's second run, over the deviation of its pixels. */
export const NOISE = 0.7;

const ALL: readonly Setting[] = (["layer", "channel"] as const).flatMap((sharing) =>
  [16, 8].flatMap((levels) =>
    (["nothing", "squares", "all", "noise"] as const).map((known) => ({ sharing, levels, known })),
  ),
);

/** Only where a size was asked of it does a setting give error away for bytes. */
export const SETTINGS: readonly Setting[] = [...ALL, { sharing: "layer", levels: 16, known: "bits" }];

/** What a bit counts with `bits`. */
export const RATE = 1.6;

export function rateOf({ known }: Setting): number {
  return known === "bits" ? RATE : 0;
}

/** Depthwise convolutions get 256 levels in every setting, so that all leave the same to compare. */
export function depthwiseRule(names: readonly string[]): TensorRule {
  const escaped = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return { match: new RegExp(`^(${escaped.join("|")})$`), options: { levels: 256 } };
}

/** What calibration was to reach on all lines; noise is part of the way there. */
export interface Goal {
  readonly sharing: Sharing;
  readonly levels: number;
  readonly characters?: number;
  readonly meanKl: number;
  /** Whole container. */
  readonly bytes?: number;
}

export const GOALS: readonly Goal[] = [
  { sharing: "layer", levels: 16, characters: 0.988, meanKl: 0.07, bytes: 1.4e6 },
  { sharing: "layer", levels: 8, characters: 0.98, meanKl: 0.16 },
  { sharing: "channel", levels: 16, meanKl: 0.02 },
  { sharing: "channel", levels: 8, meanKl: 0.1 },
];

export const COST_GOALS = { seconds: 12, peakBytes: 400e6, gflops: 6 } as const;
