// A small ONNX writer for fixtures: protobuf by hand, so that every spelling of a tensor can be made.
import type { Segment } from "../../src/io/segment.ts";

export type Bytes = Uint8Array;

export function concat(...parts: readonly Bytes[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Any 64-bit integer as a varint; negative ones take ten bytes. */
export function varint(value: number | bigint): Bytes {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  out.push(Number(rest));
  return Uint8Array.from(out);
}

export const v = (number: number, value: number | bigint): Bytes => concat(varint(number * 8), varint(value));
export const len = (number: number, ...body: readonly Bytes[]): Bytes => {
  const bytes = concat(...body);
  return concat(varint(number * 8 + 2), varint(bytes.length), bytes);
};
export const text = (number: number, value: string): Bytes => len(number, new TextEncoder().encode(value));
export const bytesOf = (array: ArrayBufferView): Bytes =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
export const fixed32 = (number: number, value: number): Bytes =>
  concat(varint(number * 8 + 5), bytesOf(Float32Array.of(value)));
export const fixed64 = (number: number, value: number): Bytes =>
  concat(varint(number * 8 + 1), bytesOf(Float64Array.of(value)));

export const TYPE = { F32: 1, U8: 2, I8: 3, I32: 6, I64: 7, STRING: 8, F16: 10, F64: 11, BF16: 16 } as const;

/** A TensorProto; `data` are its data fields. */
export const tensor = (
  name: string,
  dims: readonly (number | bigint)[],
  type: number,
  ...data: readonly Bytes[]
): Bytes => concat(...dims.map((dim) => v(1, dim)), v(2, type), ...(name ? [text(8, name)] : []), ...data);

export const raw = (array: ArrayBufferView): Bytes => len(9, bytesOf(array));
export const external = (location: string, offset?: number | string, length?: number | string): Bytes => {
  const entry = (key: string, value: unknown): Bytes =>
    value === undefined ? new Uint8Array(0) : len(13, text(1, key), text(2, String(value)));
  return concat(entry("location", location), entry("offset", offset), entry("length", length), v(14, 1));
};
export const f32 = (name: string, dims: readonly number[], values: Float32Array): Bytes =>
  tensor(name, dims, TYPE.F32, raw(values));
export const i64 = (name: string, values: readonly number[]): Bytes =>
  tensor(name, [values.length], TYPE.I64, len(7, ...values.map(varint)));

export const attr = {
  int: (name: string, value: number): Bytes => len(5, text(1, name), v(3, value), v(20, 2)),
  ints: (name: string, values: readonly number[]): Bytes =>
    len(5, text(1, name), ...values.map((n) => v(8, n)), v(20, 7)),
  tensor: (name: string, value: Bytes): Bytes => len(5, text(1, name), len(5, value), v(20, 4)),
  graph: (name: string, value: Bytes): Bytes => len(5, text(1, name), len(6, value), v(20, 5)),
};

export const node = (
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: readonly Bytes[] = [],
  domain = "",
): Bytes =>
  concat(
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(4, op),
    ...attributes,
    ...(domain ? [text(7, domain)] : []),
  );

export const constant = (output: string, value: Bytes): Bytes =>
  node("Constant", [], [output], [attr.tensor("value", value)]);

export const value = (name: string, type: number, dims: readonly (number | string)[]): Bytes =>
  concat(
    text(1, name),
    len(
      2,
      len(1, v(1, type), len(2, ...dims.map((dim) => len(1, typeof dim === "number" ? v(1, dim) : text(2, dim))))),
    ),
  );

export interface GraphParts {
  readonly nodes: readonly Bytes[];
  readonly initializers?: readonly Bytes[];
  readonly inputs?: readonly Bytes[];
  readonly outputs: readonly Bytes[];
  readonly extra?: readonly Bytes[];
}

export const graph = ({ nodes, initializers = [], inputs = [], outputs, extra = [] }: GraphParts): Bytes =>
  concat(
    ...nodes.map((body) => len(1, body)),
    text(2, "g"),
    ...initializers.map((body) => len(5, body)),
    ...inputs.map((body) => len(11, body)),
    ...outputs.map((body) => len(12, body)),
    ...extra,
  );

export interface ModelParts {
  readonly ir?: number;
  readonly opset?: number;
  readonly graph: Bytes;
  readonly functions?: readonly Bytes[];
  readonly domains?: readonly string[];
  readonly extra?: readonly Bytes[];
}

export const model = ({
  ir = 8,
  opset = 13,
  graph: body,
  functions = [],
  domains = [],
  extra = [],
}: ModelParts): Bytes =>
  concat(
    v(1, ir),
    text(2, "wlq-fixture"),
    len(7, body),
    len(8, text(1, ""), v(2, opset)),
    ...domains.map((domain) => len(8, text(1, domain), v(2, 1))),
    ...functions.map((fn) => len(25, fn)),
    ...extra,
  );

export const fn = (
  domain: string,
  name: string,
  inputs: readonly string[],
  outputs: readonly string[],
  nodes: readonly Bytes[],
  opset = 13,
): Bytes =>
  concat(
    text(1, name),
    ...inputs.map((input) => text(4, input)),
    ...outputs.map((output) => text(5, output)),
    ...nodes.map((body) => len(7, body)),
    len(9, text(1, ""), v(2, opset)),
    text(10, domain),
  );

/** Seeded values of about normal distribution, in -4 to 4. */
export function weights(count: number, seed = 1): Float32Array {
  const out = new Float32Array(count);
  let state = seed >>> 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < count; i++) out[i] = (next() + next() + next() + next() - 2) * 2;
  return out;
}

/** Float32 to float16 bits, round to nearest even; for finite values below 65504. */
export function toHalf(values: ArrayLike<number>): Uint16Array {
  return Uint16Array.from(values, (value) => {
    const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
    const size = Math.abs(value);
    const exponent = Math.max(Math.floor(Math.log2(size || 1e-30)), -14);
    let mantissa = size / 2 ** (exponent - 10);
    const floor = Math.floor(mantissa);
    const rest = mantissa - floor;
    mantissa = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
    return sign | ((exponent + 14) * 1024 + mantissa);
  });
}

export function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  const size = exponent === 0 ? mantissa * 2 ** -24 : (mantissa + 1024) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -size : size;
}

/** The bytes of a list of segments. */
export async function collect(segments: readonly Segment[]): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (const segment of segments) {
    if (segment instanceof Uint8Array) parts.push(segment);
    else for await (const chunk of segment.chunks()) parts.push(chunk);
  }
  return concat(...parts);
}
