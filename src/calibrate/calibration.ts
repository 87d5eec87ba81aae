// Calibration: a statistics file as what `compress` asks for codes.
import type { CalibratedTensor, Calibration, OpenCalibration } from "../calibration.ts";
import type { Coding } from "../codebook.ts";
import { WlqError } from "../error.ts";
import { countOutputs, type Layer } from "../formats/layer.ts";
import type { Source } from "../io/source.ts";
import type { QuantizePlan } from "../options.ts";
import { clusterInMemory } from "../quantize.ts";
import { type CalibrateScope, calibrateScope, loadCalibrate } from "../wasm/calibrate.ts";
import { type EncodeScope, encodeBinary, encodeScope } from "../wasm/encode.ts";
import { loadWork } from "../wasm/work.ts";
import { compensate } from "./compensate.ts";
import { curveThrough, withLevels } from "./curve.ts";
import { INDEPENDENT } from "./shrinkage.ts";
import { type LayerStatistics, type Moments, StatisticsFile } from "./statistics.ts";

/** Options of {@link calibration}. */
export interface CalibrationOptions {
  /**
   * What is added to the diagonal of the inputs' covariance, as a share of its mean: more for samples that are few or
   * unlike the later inputs. Default 0.01.
   */
  readonly damping?: number;
  /** Turns of refinement: values by least squares, then codes by coordinate descent. Default 2. */
  readonly turns?: number;
  /**
   * What a bit counts when codes are chosen: 1 as much as the error that a bit more a weight takes away. For a container whose
   * codes are entropy-coded: 1 made that of a text recognizer 1.5 % smaller, layer outputs lost 0.15 dB. Default 0.
   */
  readonly rate?: number;
}

/** The defaults of {@link CalibrationOptions}. */
export const CALIBRATION_DEFAULTS: Readonly<Required<CalibrationOptions>> = { damping: 0.01, turns: 2, rate: 0 };

// Codes that a sweep changes late are few.
const SWEEPS = 2;

/**
 * A statistics file for `compress(source, sink, { calibration: calibration(file) })`: codes are chosen such that the
 * layers' outputs, on inputs like the samples, stay what they were.
 *
 * @throws RangeError for options; `open` throws WlqError where the file has no statistics or is damaged
 */
export function calibration(statistics: Source, options: CalibrationOptions = {}): Calibration {
  const chosen = { ...CALIBRATION_DEFAULTS, ...options };
  if (!(chosen.damping >= 0 && chosen.damping <= 1)) {
    throw new RangeError(`damping must be from 0 to 1, got ${chosen.damping}`);
  }
  if (!Number.isInteger(chosen.turns) || chosen.turns < 0) {
    throw new RangeError(`turns must be a count, got ${chosen.turns}`);
  }
  if (!(chosen.rate >= 0 && chosen.rate <= 16)) throw new RangeError(`rate must be from 0 to 16, got ${chosen.rate}`);
  return {
    async open() {
      const file = await StatisticsFile.open(statistics);
      await loadCalibrate();
      if (!encodeBinary.ready) await loadWork(encodeBinary);
      return opened(file, chosen);
    },
  };
}

function opened(file: StatisticsFile, options: Required<CalibrationOptions>): OpenCalibration {
  const scope = calibrateScope();
  const encode = encodeScope();
  return {
    knows(tensor, shape) {
      const layer = file.layer(tensor);
      if (layer && layer.shape.join() !== shape.join()) {
        const both = `[${layer.shape.join(", ")}], the model [${shape.join(", ")}]`;
        throw new WlqError("malformed", `tensor "${tensor}": the statistics are for the shape ${both}`, { tensor });
      }
      return layer !== undefined;
    },
    async quantize(tensor, weights, plan, shiftable) {
      const statistics = await file.read(tensor);
      const heldOut = await file.heldOut(tensor);
      return quantizeWith(scope, encode, statistics, weights, plan, shiftable, options, heldOut).tensor;
    },
    async curve(tensor, weights, plan, shiftable, levels) {
      const statistics = await file.read(tensor);
      const { layer } = statistics;
      if (!groupsAreOutputs(layer, plan)) return undefined;
      const measured = { ...options, turns: 0, rate: 0 };
      let sensitivity = 1;
      const errors = curveThrough(levels, (k) => {
        const own = withLevels(plan, k);
        const { expected = 0, power = 0 } = quantizeWith(scope, encode, statistics, weights, own, shiftable, measured);
        // A distribution moves by half the square of what its logits move by, in nats; of other layers the error over the
        // power came to about as many nats, when layers of PP-OCR were quantized one at a time.
        if (layer.logits) sensitivity = Math.max(1, power / countOutputs(layer) / 2);
        return expected;
      });
      return { errors, sensitivity, shifted: shiftable && layer.kind !== "lookup" };
    },
  };
}

/** Whether what shares values or a scale is an output, or all of them. */
function groupsAreOutputs(layer: Layer, plan: QuantizePlan): boolean {
  const byOutput = plan.axis === (layer.layout === "outer" ? 0 : layer.shape.length - 1);
  const fits = (per: string): boolean => per === "tensor" || per === "none" || (per === "channel" && byOutput);
  return fits(plan.granularity) && fits(plan.scale);
}

/** Codebook by importance, then codes. Groups that are not outputs get the codebook alone. */
function quantizeWith(
  scope: CalibrateScope,
  encode: EncodeScope,
  statistics: LayerStatistics,
  weights: Float32Array,
  plan: QuantizePlan,
  shiftable: boolean,
  { damping, turns, rate }: Required<CalibrationOptions>,
  heldOut?: Moments,
): { readonly tensor: CalibratedTensor; readonly expected?: number; readonly power?: number } {
  const { layer } = statistics;
  const whole = groupsAreOutputs(layer, plan);
  const shift = shiftable && whole && layer.kind !== "lookup";
  const coding = clusterInMemory(encode, plan, weights, importanceOf(statistics, shift, damping, weights.length));
  if (!whole) return { tensor: { coding } };
  const {
    codebook,
    scale,
    codes,
    output,
    expected,
    power,
    shift: shifts,
  } = compensate(
    scope,
    statistics,
    weights,
    coding,
    {
      damping,
      independent: INDEPENDENT,
      // thresholds of ecsq were found for its values and its codes
      turns: coding.thresholds ? 0 : turns,
      rate,
      sweeps: SWEEPS,
      fit: plan.cluster.method === "optimal",
      pins: plan.cluster.pins,
      shiftable: shift,
      format: plan.cluster.format,
    },
    heldOut,
  );
  const better: Coding = {
    ...coding,
    codebook,
    ...(coding.scale && scale ? { scale: { per: coding.scale.per, values: scale } } : {}),
    chosen: codes,
  };
  return { tensor: { coding: better, output, ...(shifts ? { shift: shifts } : {}) }, expected, power };
}

/** What an error in each weight costs: the power of its input, about the mean where that is put right. */
export function importanceOf(
  { layer, mean, square }: LayerStatistics,
  shiftable: boolean,
  damping: number,
  count: number,
): Float32Array {
  const { columns, groups, layout } = layer;
  const cost = Float32Array.from(square, (own, c) =>
    shiftable ? Math.max(0, own - (mean[c] as number) * (mean[c] as number)) : own,
  );
  for (let g = 0; g < groups; g++) {
    const part = cost.subarray(g * columns, (g + 1) * columns);
    let sum = 0;
    for (const x of part) sum += x;
    // an input that was never seen may come later
    const least = (Math.max(damping, 1e-6) * sum) / columns;
    for (let c = 0; c < columns; c++) part[c] = (part[c] as number) + least;
  }
  const out = new Float32Array(count);
  if (layout === "inner") {
    const outputs = countOutputs(layer);
    for (let c = 0; c < columns; c++) out.fill(cost[c] as number, c * outputs, (c + 1) * outputs);
    return out;
  }
  const each = countOutputs(layer) / groups;
  for (let o = 0; o * columns < count; o++) {
    const g = Math.floor(o / each);
    out.set(cost.subarray(g * columns, (g + 1) * columns), o * columns);
  }
  return out;
}
