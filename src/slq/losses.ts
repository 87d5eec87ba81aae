// Losses: what the network loses when just some clusters of one layer are quantized, measured by the caller.
import type { Layer } from "./layer.ts";

/** What is quantized while `evaluate` runs; `null` is the network as it is. */
export interface Trial {
  readonly layer: string;
  /** The values of the clusters concerned. */
  readonly values: readonly number[];
}

/** The network's loss with the weights as they are now; NaN counts as infinite. */
export type Evaluate = (trial: Trial | null) => number | Promise<number>;

/** Calls `evaluate` at most so many times. */
export class Losses {
  readonly #evaluate: Evaluate;
  readonly #most: number;
  #calls = 0;

  constructor(evaluate: Evaluate, most: number) {
    this.#evaluate = evaluate;
    this.#most = most;
  }

  /** Calls so far. */
  get calls(): number {
    return this.#calls;
  }

  /** The loss of the network as it is; `undefined` if no call is left. */
  async baseline(): Promise<number | undefined> {
    return this.#calls < this.#most ? await this.#call(null) : undefined;
  }

  /** The loss with the free weights of these clusters replaced by their values; they are put back in any case. */
  async of(layer: Layer, codes: readonly number[]): Promise<number | undefined> {
    if (this.#calls >= this.#most) return undefined;
    const restore = quantizeClusters(layer, codes);
    try {
      return await this.#call({ layer: layer.name, values: codes.map((c) => layer.codebook[c] as number) });
    } finally {
      restore();
    }
  }

  async #call(trial: Trial | null): Promise<number> {
    this.#calls++;
    const loss: unknown = await this.#evaluate(trial);
    if (typeof loss !== "number") throw new TypeError(`evaluate must return a number, got ${String(loss)}`);
    return Number.isNaN(loss) ? Number.POSITIVE_INFINITY : loss;
  }
}

/** Replaces the free weights of some clusters; returns what puts them back. Holds a copy of those weights alone. */
function quantizeClusters({ data, mask, codes, codebook }: Layer, chosen: readonly number[]): () => void {
  const take = new Uint8Array(256);
  for (const c of chosen) take[c] = 1;
  let count = 0;
  for (let i = 0; i < data.length; i++) count += (mask[i] as number) & (take[codes[i] as number] as number);
  const saved = new Float32Array(count);
  let at = 0;
  for (let i = 0; i < data.length; i++) {
    if ((mask[i] as number) & (take[codes[i] as number] as number)) {
      saved[at++] = data[i] as number;
      data[i] = codebook[codes[i] as number] as number;
    }
  }
  return () => {
    at = 0;
    for (let i = 0; i < data.length; i++) {
      if ((mask[i] as number) & (take[codes[i] as number] as number)) data[i] = saved[at++] as number;
    }
  };
}
