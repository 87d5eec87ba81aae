// Calibration as `compress` sees it: something that chooses the codes of some tensors; types only.
import type { Coding } from "./codebook.ts";
import type { QuantizePlan } from "./options.ts";

/** What `calibration()` of wlq/calibrate makes of a statistics file. */
export interface Calibration {
  /** Reads the file's structure and compiles the kernels. */
  open(): Promise<OpenCalibration>;
}

/** A statistics file, opened. */
export interface OpenCalibration {
  /** Whether the inputs of that weight are known; throws `malformed` where they are those of another shape. */
  knows(tensor: string, shape: readonly number[]): boolean;
  /** Chooses codebook, scales and codes. `shiftable`: whether the outputs' mean error can be put right in the model. */
  quantize(tensor: string, weights: Float32Array, plan: QuantizePlan, shiftable: boolean): Promise<CalibratedTensor>;
  /** What each of these ascending numbers of levels is expected to leave; absent where the plan's groups are not outputs. */
  curve(
    tensor: string,
    weights: Float32Array,
    plan: QuantizePlan,
    shiftable: boolean,
    levels: readonly number[],
  ): Promise<OutputCurve | undefined>;
}

/** What numbers of levels cost in a layer's output. */
export interface OutputCurve {
  /** Error power over output power. */
  readonly errors: readonly number[];
  /** What that does to the model's output, where 1 is the usual. */
  readonly sensitivity: number;
  /** Whether the outputs' mean is put right, which may take a bias of its own. */
  readonly shifted: boolean;
}

/** How far a layer's output is from the float model's, on the calibration inputs. */
export interface OutputError {
  /** 10 log10(output power / error power), in dB; `null` where the error is zero. */
  readonly sqnrDb: number | null;
  /** The same, had every weight become its nearest value. */
  readonly nearestDb: number | null;
  /** `sqnrDb` on inputs that calibration held out: what to expect of others. Absent where there are none. */
  readonly heldOutDb?: number | null;
}

export interface CalibratedTensor {
  /** With `chosen` codes, unless each weight takes its nearest value. */
  readonly coding: Coding;
  /** What to add to each output so that its mean stays. */
  readonly shift?: Float32Array;
  /** Absent where codes are chosen weight by weight. */
  readonly output?: OutputError;
}
