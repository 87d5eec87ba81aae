// Messages: what a thread is told and what it answers; plain data, so that it crosses.
import type { Coding } from "../codebook.ts";
import type { Place } from "../io/place.ts";
import type { QuantizePlan } from "../options.ts";
import type { Sums } from "../passes.ts";
import type { FloatDtype } from "../tensor.ts";
import type { CodeKind, EntropyData } from "../threads.ts";

/** A tensor without its bytes. */
export interface TensorData {
  readonly name: string;
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** Where threads read it; others ask. */
  readonly place: Place | undefined;
  readonly importance: { readonly dtype: FloatDtype; readonly byteLength: number } | undefined;
}

/** Find a codebook and perhaps an entropy code, `share` of it where all threads do so. */
export interface FindTask {
  readonly tensor: TensorData;
  readonly plan: QuantizePlan;
  readonly entropy: boolean;
  readonly share: { readonly rank: number; readonly of: number } | undefined;
  /** Whether the coded blocks are wanted, too. */
  readonly blocks: boolean;
}

/** Code the weights from `start` to `end`. */
export interface CodeTask {
  readonly tensor: TensorData;
  readonly coding: Coding;
  readonly kind: CodeKind;
  readonly code: EntropyData | undefined;
  readonly start: number;
  readonly end: number;
}

export interface Found {
  readonly coding: Coding;
  readonly code: EntropyData | undefined;
  /** Blocks, stretch by stretch, where they were wanted and are smaller than packed codes. */
  readonly coded: readonly CodedStretch[];
}

export interface CodedStretch extends Coded {
  /** Weights. */
  readonly count: number;
}

export interface Coded {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What it cost, span by span. */
  readonly costs: readonly Float64Array[];
}

/** What a thread wants to know while it works; it waits for the answer. */
export type Question =
  | { readonly read: "weights" | "importance"; readonly start: number; readonly end: number }
  /** Threads that find a codebook together: the sums of those before me? */
  | { readonly before: true }
  /** Theirs and mine; of all? */
  | { readonly sum: Sums };

export type ToThread =
  | { readonly module: WebAssembly.Module }
  | { readonly find: FindTask }
  | { readonly code: CodeTask }
  | { readonly answer: unknown }
  | { readonly refusal: string };

export type FromThread =
  | { readonly ready: true }
  | { readonly question: Question }
  | { readonly done: Found | Coded }
  | {
      readonly failed: {
        readonly message: string;
        readonly code?: string;
        readonly tensor?: string;
        readonly stack?: string;
      };
    };
