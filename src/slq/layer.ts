// A layer: live weights of the caller, and what is frozen of them.
import type { FloatDtype, RoundFormat } from "../tensor.ts";

/** One layer under quantization. */
export interface Layer {
  readonly name: string;
  readonly shape: readonly number[];
  /** The caller's own array, changed in place. */
  readonly data: Float32Array;
  /** Of the file that the weights come from and go to. */
  readonly dtype: FloatDtype;
  /** Rounding of the codebook, as the dtype has it. */
  readonly format: RoundFormat;
  readonly levels: number;
  /** 1 free, 0 frozen. */
  readonly mask: Uint8Array;
  /** Of the last round; of a frozen weight: which value of the codebook it is. */
  readonly codes: Uint8Array;
  /** Values of the last round, without repetition; ascending but for the reference. */
  codebook: Float32Array;
  /** Which of them are frozen: 1 or 0 each. */
  frozen: Uint8Array;
  /** Weights that are free. */
  free: number;
  /** MLQ: 0 untouched, 1 outer clusters frozen, 2 all frozen. */
  state: number;
}

export function newLayer(
  name: string,
  data: Float32Array,
  shape: readonly number[],
  levels: number,
  dtype: FloatDtype = "F32",
): Layer {
  return {
    name,
    shape,
    data,
    dtype,
    format: dtype === "F16" ? 1 : dtype === "BF16" ? 2 : 0,
    levels,
    mask: new Uint8Array(data.length).fill(1),
    codes: new Uint8Array(data.length),
    codebook: new Float32Array(0),
    frozen: new Uint8Array(0),
    free: data.length,
    state: 0,
  };
}

/** The frozen values, in the codebook's order. */
export function frozenValues({ codebook, frozen }: Layer): number[] {
  return [...codebook].filter((_, c) => frozen[c]);
}
