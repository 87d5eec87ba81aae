// A small Caffe writer for fixtures: protobuf by hand, so that every generation and spelling of a blob can be made.
import { type Bytes, bytesOf, concat, fixed32, fixed64, len, text, v, varint } from "./onnx-fixture.ts";

/** A NetParameter. */
export const net = (name: string, ...fields: readonly Bytes[]): Bytes => concat(text(1, name), ...fields);

/** A LayerParameter as a NetParameter's field; `params` are further fields, which a writer puts behind the blobs. */
export const layer = (name: string, type: string, blobs: readonly Bytes[], ...params: readonly Bytes[]): Bytes =>
  len(100, text(1, name), text(2, type), text(3, "in"), text(4, name), ...blobs.map((b) => len(7, b)), ...params);

/** V1LayerParameter.LayerType. */
export const V1_TYPE = { CONVOLUTION: 4, INNER_PRODUCT: 14, POOLING: 17, DECONVOLUTION: 39 } as const;

/** A V1LayerParameter as a NetParameter's field. */
export const v1Layer = (name: string, type: number, blobs: readonly Bytes[], ...params: readonly Bytes[]): Bytes =>
  len(2, text(2, "in"), text(3, name), text(4, name), v(5, type), ...blobs.map((b) => len(6, b)), ...params);

/** A V0LayerParameter inside a V1LayerParameter. */
export const v0Layer = (name: string, type: string, blobs: readonly Bytes[]): Bytes =>
  len(2, len(1, text(1, name), text(2, type), ...blobs.map((b) => len(50, b))), text(2, "in"), text(3, name));

/** `shape`, packed. */
export const shape = (...dims: readonly number[]): Bytes => len(7, len(1, ...dims.map(varint)));

/** num, channels, height, width. */
export const legacy = (...dims: readonly [number, number, number, number]): Bytes =>
  concat(...dims.map((dim, i) => v(i + 1, dim)));

export const floats = (values: Float32Array): Bytes => len(5, bytesOf(values));
export const unpackedFloats = (values: Float32Array): Bytes => concat(...[...values].map((x) => fixed32(5, x)));
export const doubles = (values: Float64Array): Bytes => len(8, bytesOf(values));
export const unpackedDoubles = (values: Float64Array): Bytes => concat(...[...values].map((x) => fixed64(8, x)));
export const diff = (values: Float32Array): Bytes => len(6, bytesOf(values));

/** `raw_data` as OpenCV's `shrinkCaffeModel` writes it; 0 double, 1 float, 2 float16. */
export const raw = (type: number, array: ArrayBufferView): Bytes => concat(v(10, type), len(12, bytesOf(array)));
