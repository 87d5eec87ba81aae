// Compare: how far a quantized model's outputs are from the float model's, on inputs that both are run on.
import { WlqError } from "../error.ts";
import { checkAborted } from "../io/sink.ts";
import { byteSource, type Source } from "../io/source.ts";
import { type FeedSource, isHeldOut, type Ort, SESSION } from "./onnxruntime-session.ts";

/** Options of {@link compareModels}. */
export interface CompareOptions {
  /** Only the runs that `calibrate` holds out at this share. Default: all. */
  readonly heldOut?: number;
  /** Outputs are logits: what becomes of them behind a softmax over the last axis is compared, too. Default false. */
  readonly logits?: boolean;
  /** Options of `InferenceSession.create`. Default: one Wasm thread's provider, errors alone in the log. */
  readonly session?: object;
  readonly onProgress?: (progress: { readonly runs: number }) => void;
  readonly signal?: AbortSignal;
}

/** How far one output is from the float model's. */
export interface ComparedOutput {
  readonly name: string;
  /** 10 log10(output power / error power), in dB; `null` where the error is zero. */
  readonly sqnrDb: number | null;
  readonly meanAbsError: number;
  readonly maxAbsError: number;
  /**
   * For distributions over the last axis (probabilities that sum to 1, or logits where an option says so): mean
   * Kullback-Leibler divergence from the float model's, in nats.
   */
  readonly meanKl?: number;
  /** For distributions: share whose largest entry is the float model's. */
  readonly sameTop?: number;
}

export interface CompareReport {
  /** Inputs that were compared. */
  readonly runs: number;
  readonly outputs: readonly ComparedOutput[];
}

/**
 * Runs two ONNX models on the same inputs and compares their float32 outputs.
 *
 * @param float the model that is right
 * @param other what became of it: `to: "onnx"`, `to: "dense"`, or a container that was decompressed
 * @throws WlqError `unsupported` where no output is float32, or there is nothing to run on; `aborted`
 * @example
 * const { outputs } = await compareModels(ort, float, small, samples, { heldOut: 0.2 });
 */
export async function compareModels(
  ort: Ort,
  float: Source,
  other: Source,
  feeds: FeedSource,
  { heldOut, logits = false, session = SESSION, onProgress, signal }: CompareOptions = {},
): Promise<CompareReport> {
  const open = async (source: Source) => {
    const bytes = byteSource(source);
    return ort.InferenceSession.create((await bytes.read(0, bytes.byteLength)).slice(), session);
  };
  const right = await open(float);
  try {
    const left = await open(other);
    try {
      const sums = new Map<string, Sums>();
      let runs = 0;
      let index = 0;
      for await (const run of typeof feeds === "function" ? feeds() : feeds) {
        checkAborted(signal);
        if (heldOut !== undefined && !isHeldOut(index++, heldOut)) continue;
        const [want, got] = [await right.run(run, undefined), await left.run(run, undefined)];
        for (const [name, value] of Object.entries(want)) {
          if (value.type === "float32") addTo(sums, name, value, got[name], logits);
        }
        for (const value of [...Object.values(want), ...Object.values(got)]) value.dispose?.();
        runs++;
        onProgress?.({ runs });
      }
      if (runs === 0) throw new WlqError("unsupported", "there are no inputs to compare on");
      if (sums.size === 0) throw new WlqError("unsupported", "the model has no float32 output");
      return { runs, outputs: [...sums].map(([name, own]) => comparedOf(name, own)) };
    } finally {
      await left.release();
    }
  } finally {
    await right.release();
  }
}

interface Sums {
  count: number;
  power: number;
  error: number;
  absolute: number;
  most: number;
  /** False from the first row on that is no distribution. */
  distributions: boolean;
  rows: number;
  kl: number;
  sameTop: number;
}

type Output = { readonly dims: readonly number[]; readonly data: unknown };

function addTo(all: Map<string, Sums>, name: string, want: Output, got: Output | undefined, logits: boolean): void {
  const [a, b] = [want.data as Float32Array, got?.data as Float32Array | undefined];
  if (b?.length !== a.length) {
    const both = `[${want.dims.join(", ")}] and ${got ? `[${got.dims.join(", ")}]` : "none"}`;
    throw new WlqError("malformed", `output "${name}" has the shapes ${both}`, { tensor: name });
  }
  const sums = all.get(name) ?? {
    ...{ count: 0, power: 0, error: 0, absolute: 0, most: 0, distributions: true, rows: 0, kl: 0, sameTop: 0 },
  };
  all.set(name, sums);
  a.forEach((x, i) => {
    const off = Math.abs(x - (b[i] as number));
    sums.power += x * x;
    sums.error += off * off;
    sums.absolute += off;
    sums.most = Math.max(sums.most, off);
  });
  sums.count += a.length;
  const size = want.dims.at(-1) ?? 1;
  sums.distributions &&= size > 1;
  for (let from = 0; from < a.length && sums.distributions; from += size) {
    const of = (values: Float32Array): Float64Array => {
      const row = Float64Array.from(values.subarray(from, from + size));
      return logits ? softmax(row) : row;
    };
    const p = of(a);
    sums.distributions = isDistribution(p);
    addRow(sums, p, of(b));
  }
}

function addRow(sums: Sums, p: Float64Array, q: Float64Array): void {
  let [topP, topQ] = [0, 0];
  p.forEach((x, i) => {
    // an entry of zero costs much, not infinitely much
    if (x > 0) sums.kl += x * Math.log(x / Math.max(q[i] as number, 1e-12));
    if (x > (p[topP] as number)) topP = i;
    if ((q[i] as number) > (q[topQ] as number)) topQ = i;
  });
  sums.sameTop += topP === topQ ? 1 : 0;
  sums.rows++;
}

function isDistribution(row: Float64Array): boolean {
  return row.every((x) => x >= 0) && Math.abs(row.reduce((a, b) => a + b, 0) - 1) < 1e-3;
}

function softmax(row: Float64Array): Float64Array {
  const most = row.reduce((a, b) => Math.max(a, b));
  const powers = row.map((x) => Math.exp(x - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((x) => x / sum);
}

function comparedOf(name: string, sums: Sums): ComparedOutput {
  const { count, power, error, absolute, most, distributions, rows, kl, sameTop } = sums;
  return {
    name,
    sqnrDb: error > 0 ? 10 * Math.log10(power / error) : null,
    meanAbsError: absolute / Math.max(1, count),
    maxAbsError: most,
    ...(distributions && rows > 0 ? { meanKl: kl / rows, sameTop: sameTop / rows } : {}),
  };
}
