// wlq: quantize tensors and compress model files.
export type {
  Coding, Granularity, QuantizationStats, QuantizedTensor, Scale, ScalePer,
} from "./codebook.ts";
export { WlqError, type WlqErrorCode } from "./error.ts";
export { type InitOptions, init } from "./init.ts";
export {
  dequantize, dequantizeSync, QUANTIZE_DEFAULTS, type QuantizeOptions, quantize, quantizeSync, unpackCodes,
} from "./quantize.ts";
export type { Tensor } from "./tensor.ts";
