// Threads: what compress asks of wlq/threads, which it is handed; types alone.
import type { Coding } from "./codebook.ts";
import type { TensorEntry } from "./formats/format.ts";
import type { ImportanceTensor } from "./importance.ts";
import type { QuantizePlan } from "./options.ts";

/** What `threads()` of wlq/threads makes. */
export interface Threads {
  /**
   * Starts workers; where none start, or would not pay, why not or `undefined`.
   *
   * @internal
   */
  start(job: ThreadJob): Promise<Team | string | undefined>;
}

/** What workers are started for. */
export interface ThreadJob {
  readonly work: readonly ThreadWork[];
  /** Whether sizes of entropy codes are wanted, too. */
  readonly entropy: boolean;
  /** The kernels. */
  readonly module: WebAssembly.Module;
  readonly signal: AbortSignal | undefined;
}

/** A tensor for threads. */
export interface ThreadWork {
  readonly entry: TensorEntry;
  readonly plan: QuantizePlan;
  readonly importance: ImportanceTensor | undefined;
}

/** Workers of one operation. */
export interface Team {
  /** The codebook of a tensor, of those that it was started on. */
  find(tensor: string): Promise<FoundByThreads>;
  /** Ends the workers. */
  end(): Promise<void>;
}

/** What an entropy code is made of: plain data. */
export interface EntropyData {
  /** Codes a symbol. */
  readonly join: number;
  /** Of 8192 states, how many each symbol has. */
  readonly shares: Uint16Array;
  /** What stands before the blocks: shares, and the size of every block. */
  readonly tables: Uint8Array;
  /** All that is stored. */
  readonly byteLength: number;
}

/** What codes come out as: packed, one byte a code, or values in the tensor's dtype; or blocks of the entropy coder. */
export type CodeKind = "packed" | "codes" | "dense" | "blocks";

export interface FoundByThreads {
  readonly coding: Coding;
  readonly code: EntropyData | undefined;
  /** Its codes or values, in order, and the sums of what they cost. */
  codes(kind: CodeKind): AsyncIterable<CodesByThreads>;
}

export interface CodesByThreads {
  readonly bytes: Uint8Array;
  readonly count: number;
  /** Of every SPAN weights. */
  readonly costs: readonly Float64Array[];
}
