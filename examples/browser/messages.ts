// What the page and its worker say to each other.
import type { CompressOptions, Progress, Report } from "wlq";

export type Settings = Pick<CompressOptions, "levels" | "scale" | "method">;

export type Request =
  | { readonly type: "compress"; readonly file: File; readonly settings: Settings }
  | { readonly type: "cancel" }
  | { readonly type: "picture"; readonly tensor: string };

export type Answer =
  | { readonly type: "progress"; readonly progress: Progress }
  | { readonly type: "done"; readonly report: Report; readonly result: Blob }
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  | { readonly type: "picture"; readonly picture: Picture };

/** A tensor's weights and the values they became. */
export interface Picture {
  readonly tensor: string;
  /** Whether the weights were divided by a scale of their channel. */
  readonly scaled: boolean;
  /** The first codebook, and the weights of each of its codes. */
  readonly codebook: Float32Array;
  /** Number of codebooks that the tensor has. */
  readonly codebooks: number;
  /** Weights in bins of equal width from `low` to `high`; those beyond are in the outermost. */
  readonly bins: Float64Array;
  readonly low: number;
  readonly high: number;
}
