// wlq/onnxruntime: runs an ONNX model on sample inputs and observes what its layers see. Imports no runtime: `ort` is given.
import { Observer, sumsBytes } from "../calibrate/observer.ts";
import { type LayerStatistics, saveStatistics } from "../calibrate/statistics.ts";
import { WlqError } from "../error.ts";
import { isDepthwise, type Layer } from "../formats/layer.ts";
import { type OnnxModel, onnx } from "../formats/onnx.ts";
import { type Segment, segmentsByteLength } from "../io/segment.ts";
import { checkAborted, type Sink } from "../io/sink.ts";
import { byteSource, type Resolve, type Source } from "../io/source.ts";
import { loadCalibrate } from "../wasm/calibrate.ts";
import { withNoise } from "./noise.ts";
import { type FeedSource, type Feeds, isHeldOut, type Ort, type OrtSession, SESSION } from "./onnxruntime-session.ts";

export { WlqError, type WlqErrorCode } from "../error.ts";
export { type ComparedOutput, type CompareOptions, type CompareReport, compareModels } from "./onnxruntime-compare.ts";
export type { FeedSource, Feeds, Ort, OrtSession, OrtTensor } from "./onnxruntime-session.ts";

/** How far calibration is. */
export interface CalibrateProgress {
  /** Runs done, over all passes. */
  readonly runs: number;
  readonly pass: number;
  readonly passes: number;
}

export interface CalibrateOptions {
  /** Only layers whose weight matches. */
  readonly include?: RegExp;
  /** No layer whose weight matches. */
  readonly exclude?: RegExp;
  /** Most inputs of an output for which all their products are kept; wider layers get mean squares alone. Default 4096. */
  readonly maxColumns?: number;
  /** Bytes of sums at a time; what does not fit is observed in further passes over the inputs. Default 256 MiB. */
  readonly memory?: number;
  /**
   * Share of the runs that codes are not chosen by, spread evenly; they give the `heldOutDb` that reports state. Takes twice
   * the memory, and twice the file. Default 0.
   */
  readonly heldOut?: number;
  /**
   * Every run once more with noise on its float32 inputs, this share of each one's standard deviation: for later inputs that
   * are unlike the samples. Takes twice the runs. Default 0: none.
   */
  readonly noise?: number;
  /** Depthwise convolutions, too. Default false: they are small and gain nothing. */
  readonly depthwise?: boolean;
  /** Options of `InferenceSession.create`. Default: one Wasm thread's provider, errors alone in the log. */
  readonly session?: object;
  /** Finds companion files of the model. */
  readonly resolve?: Resolve;
  readonly onProgress?: (progress: CalibrateProgress) => void;
  readonly signal?: AbortSignal;
}

/** What calibration saw. */
export interface CalibrateReport {
  readonly layers: readonly {
    readonly weight: string;
    /** Inputs seen: positions of a convolution, rows of a product. */
    readonly samples: number;
    /** Weights of one output. */
    readonly columns: number;
    /** Whether all products are there, or mean squares alone. */
    readonly full: boolean;
  }[];
  readonly runs: number;
  /** How many of them were held out. */
  readonly heldOut: number;
  readonly passes: number;
  /** Of the statistics file. */
  readonly bytesOut: number;
  readonly seconds: number;
}

/** The defaults of {@link CalibrateOptions}. */
export const CALIBRATE_DEFAULTS: Readonly<
  Required<Pick<CalibrateOptions, "maxColumns" | "memory" | "heldOut" | "noise" | "depthwise">>
> = {
  maxColumns: 4096,
  memory: 256 * 2 ** 20,
  heldOut: 0,
  noise: 0,
  depthwise: false,
};

/**
 * Runs the float model on sample inputs and writes the statistics of its layers' inputs, for
 * `compress(…, { calibration })`. A few dozen inputs are enough; no labels are needed.
 *
 * @param ort the namespace of onnxruntime-web, -node or -react-native
 * @throws WlqError `unsupported` where the model has no layer to observe, `aborted`, `non-finite`
 * @example
 * await calibrate(ort, await fileSource("model.onnx"), samples, fileSink("statistics.safetensors"));
 */
export async function calibrate(
  ort: Ort,
  model: Source,
  feeds: FeedSource,
  sink: Sink,
  options: CalibrateOptions = {},
): Promise<CalibrateReport> {
  const started = performance.now();
  try {
    await loadCalibrate();
    const { resolve, onProgress, signal, heldOut, noise } = { ...CALIBRATE_DEFAULTS, ...options };
    if (!(noise >= 0 && noise <= 10)) throw new RangeError(`noise must be from 0 to 10, got ${noise}`);
    if (!(heldOut >= 0 && heldOut <= 0.9)) throw new RangeError(`heldOut must be from 0 to 0.9, got ${heldOut}`);
    const opened = await onnx().open(byteSource(model), { resolve });
    const layers = chosen(opened, options);
    const passes = passesOf(layers, feeds, options);
    const list: LayerStatistics[] = [];
    let runs = 0;
    for (const [index, pass] of passes.entries()) {
      const tell = (): void => {
        runs++;
        onProgress?.({ runs, pass: index, passes: passes.length });
      };
      list.push(...(await observePass(ort, opened, pass, feeds, options, tell)));
    }
    checkAborted(signal);
    if (runs === 0) throw new WlqError("unsupported", "there are no sample inputs to calibrate with");
    const each = runs / passes.length;
    const bytesOut = await saveStatistics(list, sink);
    return {
      layers: list.map(({ layer: { weight, columns }, samples, covariance }) => {
        return { weight, samples, columns, full: covariance !== undefined };
      }),
      runs,
      heldOut: Math.floor(each * heldOut) * passes.length,
      passes: passes.length,
      bytesOut,
      seconds: (performance.now() - started) / 1000,
    };
  } catch (error) {
    if (!sink.locked) await sink.abort(error).catch(() => {});
    throw error;
  }
}

type Observed = ReturnType<OnnxModel["layers"]>[number];

function chosen(
  model: OnnxModel,
  { include, exclude, depthwise = CALIBRATE_DEFAULTS.depthwise }: CalibrateOptions,
): Observed[] {
  const test = (pattern: RegExp, name: string): boolean =>
    new RegExp(pattern, pattern.flags.replace("g", "")).test(name);
  const layers = model
    .layers()
    .filter(
      (layer) =>
        (depthwise || !isDepthwise(layer)) &&
        (!include || test(include, layer.weight)) &&
        !(exclude && test(exclude, layer.weight)),
    );
  if (layers.length > 0) return layers;
  throw new WlqError("unsupported", "the model has no layer that can be observed in its main graph");
}

interface Pass {
  readonly layers: readonly Observed[];
  full(layer: Layer): boolean;
}

/** Layers whose sums fit in memory together; one pass with mean squares for the rest where inputs come but once. */
function passesOf(layers: readonly Observed[], feeds: FeedSource, options: CalibrateOptions): Pass[] {
  const { maxColumns = CALIBRATE_DEFAULTS.maxColumns, memory: all = CALIBRATE_DEFAULTS.memory } = options;
  const memory = options.heldOut ? all / 2 : all;
  const again = typeof feeds === "function" || Array.isArray(feeds);
  const passes: { layers: Observed[]; full: Set<Layer>; bytes: number }[] = [];
  for (const layer of layers) {
    let full = layer.columns <= maxColumns && sumsBytes(layer, true) <= memory;
    let pass = passes.at(-1);
    if (!pass || (again && pass.bytes + sumsBytes(layer, full) > memory)) {
      pass = { layers: [], full: new Set(), bytes: 0 };
      passes.push(pass);
    }
    full &&= pass.bytes + sumsBytes(layer, true) <= memory;
    pass.layers.push(layer);
    pass.bytes += sumsBytes(layer, full);
    if (full) pass.full.add(layer);
  }
  return passes.map(({ layers: list, full }) => ({ layers: list, full: (layer) => full.has(layer) }));
}

async function observePass(
  ort: Ort,
  model: OnnxModel,
  { layers, full }: Pass,
  feeds: FeedSource,
  options: CalibrateOptions,
  tell: () => void,
): Promise<LayerStatistics[]> {
  const { session: sessionOptions = SESSION, signal, heldOut, noise } = { ...CALIBRATE_DEFAULTS, ...options };
  const names = [...new Set(layers.map(({ input }) => input))];
  // a layer may read an input of the model, which is no output
  const outputs = names.filter((name) => !model.isInput(name));
  const exposed = async (): Promise<OrtSession> =>
    ort.InferenceSession.create(await joined(model.exposing(outputs)), sessionOptions);
  const session = outputs.length > 0 ? await exposed() : undefined;
  try {
    const observer = new Observer(layers, full);
    const others = heldOut > 0 ? new Observer(layers, full) : undefined;
    const see = async (run: Feeds, by: Observer): Promise<void> => {
      checkAborted(signal);
      const values = (await session?.run(run, outputs)) ?? {};
      for (const { weight, input } of layers) {
        const value = values[input] ?? run[input];
        if (!value) throw new RangeError(`the feeds have no input "${input}"`);
        by.observe(weight, { data: value.data as Float32Array, shape: value.dims });
      }
      for (const value of Object.values(values)) value.dispose?.();
    };
    let index = 0;
    for await (const run of typeof feeds === "function" ? feeds() : feeds) {
      const by = others && isHeldOut(index, heldOut) ? others : observer;
      await see(run, by);
      if (noise > 0 && by === observer) await see(withNoise(run, noise, index), observer);
      index++;
      tell();
    }
    return layers.map(({ weight }) => ({
      ...observer.statistics(weight),
      ...(others ? { heldOut: others.statistics(weight) } : {}),
    }));
  } finally {
    await session?.release();
  }
}

async function joined(segments: readonly Segment[]): Promise<Uint8Array> {
  const out = new Uint8Array(segmentsByteLength(segments));
  let at = 0;
  const put = (bytes: Uint8Array): void => {
    out.set(bytes, at);
    at += bytes.length;
  };
  for (const segment of segments) {
    if (segment instanceof Uint8Array) put(segment);
    else for await (const chunk of segment.chunks()) put(chunk);
  }
  return out;
}
