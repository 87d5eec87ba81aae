// wlq: quantize tensors and compress model files.
export type { CalibratedTensor, Calibration, OpenCalibration, OutputError } from "./calibration.ts";
export type {
  Coding,
  Granularity,
  QuantizationStats,
  QuantizedTensor,
  Scale,
  ScalePer,
  WeightedError,
} from "./codebook.ts";
export { type CompressOptions, compress, type FileOptions, type Progress } from "./compress.ts";
export { type CompressStream, type CompressStreamOptions, compressStream } from "./compress-stream.ts";
export { type DecompressReport, decompress } from "./decompress.ts";
export { type DecompressStreamOptions, decompressStream } from "./decompress-stream.ts";
export { WlqError, type WlqErrorCode } from "./error.ts";
export type { CodedTensor, Format, InGraph, Model, OpenOptions, OutputFiles, TensorEntry } from "./formats/format.ts";
export { type InitOptions, init } from "./init.ts";
export { type InspectedTensor, type Inspection, inspect, type Verification, verify } from "./inspect.ts";
export { type HttpOptions, httpSource } from "./io/http.ts";
export type { LazySegment, Segment } from "./io/segment.ts";
export type { Sink } from "./io/sink.ts";
export type { ByteSource, RangeSource, Resolve, Source } from "./io/source.ts";
export type { StreamPair } from "./io/through.ts";
export { QUANTIZE_DEFAULTS, type QuantizeOptions } from "./options.ts";
export {
  checkPlan,
  type Plan,
  type PlannedOptions,
  type PlannedTensor,
  type PlanTarget,
  type TradeOff,
} from "./plan.ts";
export { type PlanOptions, plan } from "./planner.ts";
export { dequantize, dequantizeSync, quantize, quantizeSync, unpackCodes } from "./quantize.ts";
export type { Report, TensorReport } from "./report.ts";
export type { SelectOptions, TensorRule } from "./select.ts";
export type { Tensor } from "./tensor.ts";
export { type TensorStream, type TensorStreamOptions, tensorStream } from "./tensor-stream.ts";
export type { InitInput } from "./wasm/input.ts";
export type { WasmInput } from "./wasm/kernel.ts";
