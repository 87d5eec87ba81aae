// Engine: rounds over live weights, with the caller's re-training between them.
import { WlqError } from "../error.ts";
import type { Layer } from "./layer.ts";
import { type Evaluate, Losses } from "./losses.ts";
import type { SlqPlan } from "./plan.ts";
import { type RoundRecord, type RoundReport, recordOf } from "./report.ts";
import { type GivenLosses, Round } from "./round.ts";
import { countRounds } from "./schedule.ts";
import { planText, type SlqState, stateBytes } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** What a round may use. */
export interface NextOptions {
  /** The network's loss with the weights as they are; makes `loss` the default partition. Must not change weights. */
  readonly evaluate?: Evaluate | undefined;
  /** Losses measured elsewhere, instead of `evaluate`: per layer, by code (see {@link Slq.probe}). */
  readonly losses?: GivenLosses | undefined;
  /** Put frozen weights back that have moved, instead of refusing. */
  readonly snap?: boolean | undefined;
}

/** A frozen weight that has moved. */
export interface Moved {
  readonly layer: string;
  readonly index: number;
  /** What it was frozen at. */
  readonly expected: number;
  readonly actual: number;
}

/** The clusters of a layer that the next round partitions. */
export interface Probe {
  readonly layer: string;
  /** Ascending, but for the reference. */
  readonly codebook: Float32Array;
  /** Which of its values are frozen already: 1 or 0 each. */
  readonly frozen: Uint8Array;
  /** Of every weight. */
  readonly codes: Uint8Array;
}

/** Incremental quantization of some layers: call `next`, re-train under `masks`, and again, until `done`. */
export class Slq {
  readonly #state: SlqState;
  readonly #workspace: Workspace;
  #busy = false;

  /** @internal Called by `createSlq` and `resumeSlq`. */
  constructor(state: SlqState, workspace: Workspace) {
    this.#state = state;
    this.#workspace = workspace;
  }

  /** Rounds done. */
  get round(): number {
    return this.#state.round;
  }

  /** Rounds in all. */
  get rounds(): number {
    return countRounds(this.#state.plan);
  }

  /** Whether every weight is frozen. */
  get done(): boolean {
    return this.round >= this.rounds;
  }

  /** The options with every choice made. */
  get plan(): SlqPlan {
    return this.#state.plan;
  }

  /** Names the plan: other options, other layers, another fingerprint. */
  get fingerprint(): string {
    return this.#workspace.hash(new TextEncoder().encode(planText(this.#state.plan)));
  }

  /** Per layer a byte a weight, 1 free, 0 frozen: the factor of its update. The engine's own arrays: read, do not write. */
  get masks(): Readonly<Record<string, Uint8Array>> {
    return this.#byName(({ mask }) => mask);
  }

  /** The live weights. */
  get weights(): Readonly<Record<string, Float32Array>> {
    return this.#byName(({ data }) => data);
  }

  /** The values of each layer in the last round, ascending but for the reference. */
  get codebooks(): Readonly<Record<string, Float32Array>> {
    return this.#byName(({ codebook }) => codebook.slice());
  }

  /** The rounds so far, with the losses that were measured. */
  get history(): readonly RoundRecord[] {
    return this.#state.history;
  }

  /**
   * One round: clusters each layer, chooses clusters, freezes their weights. Then re-train the rest under `masks`.
   *
   * @throws WlqError `moved` if a frozen weight is not what it was (unless `snap`), `non-finite`; RangeError when done;
   * what `evaluate` throws. Weights and masks are as before then.
   * @example
   * while (!slq.done) {
   *   const report = await slq.next({ evaluate: () => validationLoss() });
   *   await train(slq.masks);
   * }
   */
  async next(options: NextOptions = {}): Promise<RoundReport> {
    const { evaluate, losses, snap = false } = options;
    return await this.#alone(async () => {
      const { plan } = this;
      const by = plan.partition ?? (evaluate || losses ? "loss" : "magnitude");
      if (by === "loss" && !evaluate && !losses) {
        throw new TypeError('partition "loss" needs next({ evaluate }) or next({ losses })');
      }
      if (plan.across && by === "magnitude") {
        throw new TypeError('across compares losses or errors: give next({ evaluate }), or partition "error"');
      }
      if (!snap) this.refuseMoved();
      const snapped = snap ? this.snap() : 0;
      const measured = by === "loss" && evaluate && !losses ? new Losses(evaluate, plan.evaluations) : undefined;
      const report = await new Round(this.#state, this.#workspace, by, measured, losses).run(snapped);
      this.#state.history.push(recordOf(report));
      return report;
    });
  }

  /** The clusters of the coming round, for losses that are measured elsewhere: `next({ losses })`. Changes no weight. */
  async probe(): Promise<Probe[]> {
    return await this.#alone(async () => {
      this.refuseMoved();
      return await new Round(this.#state, this.#workspace, "error").probe(({ name, codebook, frozen, codes }) => ({
        layer: name,
        codebook: codebook.slice(),
        frozen: frozen.slice(),
        codes: codes.slice(),
      }));
    });
  }

  /** The first frozen weight that is not what it was, to the bit; `undefined` if there is none. */
  check(): Moved | undefined {
    for (const layer of this.#state.layers) {
      const index = this.#workspace.freezer.firstMoved(layer);
      if (index < 0) continue;
      const expected = layer.codebook[layer.codes[index] as number] as number;
      return { layer: layer.name, index, expected, actual: layer.data[index] as number };
    }
    return undefined;
  }

  /** Puts frozen weights back to what they were; returns how many had moved. */
  snap(): number {
    return this.#state.layers.reduce((sum, layer) => sum + this.#workspace.freezer.snap(layer), 0);
  }

  /**
   * All that is needed to go on elsewhere, as a safetensors file: weights, masks, codebooks, plan, losses.
   *
   * @throws WlqError `moved` if a frozen weight is not what it was
   */
  save(): Uint8Array<ArrayBuffer> {
    this.refuseMoved();
    return stateBytes(this.#state, this.fingerprint, this.#workspace);
  }

  #byName<T>(of: (layer: Layer) => T): Record<string, T> {
    return Object.fromEntries(this.#state.layers.map((layer) => [layer.name, of(layer)]));
  }

  /** Throws WlqError `moved`, naming layer, index and both values, if a frozen weight is not what it was. */
  refuseMoved(): void {
    const moved = this.check();
    if (!moved) return;
    const { layer, index, expected, actual } = moved;
    const what = `layer "${layer}": weight ${index} was frozen at ${expected} and is ${actual}`;
    throw new WlqError("moved", `${what}; mask updates after momentum and weight decay, or snap`, { tensor: layer });
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy) throw new Error("the last call is still running: await it first");
    if (this.done) throw new RangeError(`all ${this.rounds} rounds are done`);
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#busy = false;
    }
  }
}
