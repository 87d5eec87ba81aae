// wlq/calibrate: statistics of layer inputs, from which weights are quantized without training.
import { type Layer, type LayerOptions, planLayer } from "../formats/layer.ts";
import type { Sink } from "../io/sink.ts";
import { loadCalibrate } from "../wasm/calibrate.ts";
import { type Inputs, Observer } from "./observer.ts";
import { saveStatistics } from "./statistics.ts";

export type { CalibratedTensor, Calibration, OpenCalibration, OutputError } from "../calibration.ts";
export { WlqError, type WlqErrorCode } from "../error.ts";
export type { LayerOptions } from "../formats/layer.ts";
export {
  CALIBRATION_DEFAULTS,
  type CalibrationOptions,
  calibration,
} from "./calibration.ts";
export { type InitCalibrateOptions, initCalibrate } from "./init.ts";
export type { Inputs } from "./observer.ts";
export { createRefit, REFIT_DEFAULTS, type Refit, type RefitOptions, type Rounds } from "./refit.ts";

// A triangle of 4096 columns is 67 MB of float64.
const DEFAULT_MAX_COLUMNS = 4096;

/** Options of {@link createObserver}. */
export interface ObserverOptions {
  /**
   * Most inputs of an output for which all products are kept: `columns^2 * 4` bytes of sums. Wider layers get the mean
   * square of each input alone. Default 4096.
   */
  readonly maxColumns?: number;
}

/** Adds up layer inputs. */
export interface LayerObserver {
  /**
   * Adds inputs of the layer with that weight. Those that are held out choose no codes: they say how well the chosen ones do
   * on others, at twice the memory. Throws RangeError where they do not fit.
   */
  observe(weight: string, inputs: Inputs, options?: { readonly heldOut?: boolean }): void;
  /** Writes the statistics: a safetensors file with the importance of each weight under its name. Returns its bytes. */
  save(sink: Sink): Promise<number>;
}

/**
 * Begins to observe layers, named by their weights.
 *
 * @throws RangeError with the layer and what is wrong with it
 * @example
 * const observer = await createObserver({ "fc1.weight": { shape: [300, 784] } });
 * for (const x of batches) observer.observe("fc1.weight", { data: x, shape: [32, 784] });
 * await observer.save(fileSink("statistics.safetensors"));
 */
export async function createObserver(
  layers: Readonly<Record<string, LayerOptions>>,
  { maxColumns = DEFAULT_MAX_COLUMNS }: ObserverOptions = {},
): Promise<LayerObserver> {
  const planned: Layer[] = Object.entries(layers).map(([weight, options]) => planLayer(weight, options));
  await loadCalibrate();
  const begin = (): Observer => new Observer(planned, ({ columns }) => columns <= maxColumns);
  const observer = begin();
  let others: Observer | undefined;
  return {
    observe(weight, inputs, { heldOut = false } = {}) {
      if (heldOut) others ??= begin();
      (heldOut && others ? others : observer).observe(weight, inputs);
    },
    save: (sink) =>
      saveStatistics(
        planned.map(({ weight }) => {
          const own = observer.statistics(weight);
          return others ? { ...own, heldOut: others.statistics(weight) } : own;
        }),
        sink,
      ),
  };
}
