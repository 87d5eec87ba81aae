// Standard ONNX operators as NodeProto bytes, for graphs that decode their own weights.
import type { Segment } from "../io/segment.ts";
import { lengthField, textField, varint, varintField } from "./protobuf.ts";

/** TensorProto.DataType. */
export const DATA_TYPE: Readonly<Record<"F32" | "U8" | "I32" | "I64" | "F16" | "F64" | "BF16", number>> = {
  F32: 1,
  U8: 2,
  I32: 6,
  I64: 7,
  F16: 10,
  F64: 11,
  BF16: 16,
};

interface Pending {
  readonly op: string;
  readonly inputs: readonly string[];
  output: string;
  readonly attributes: readonly Segment[];
}

/** Nodes being put together, each with one output that `fresh` names. Everything constant is a `Constant` node: it works in every scope and IR version. */
export class NodeList {
  readonly #nodes: Pending[] = [];
  readonly #fresh: () => string;

  constructor(fresh: () => string) {
    this.#fresh = fresh;
  }

  /** Adds a node and returns the name of its output. An attribute is an integer or a list of them. */
  op(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, number | readonly number[]>> = {},
  ): string {
    return this.#add(
      op,
      inputs,
      Object.entries(attributes).flatMap(([name, value]) =>
        lengthField(5, [
          ...textField(1, name),
          ...(typeof value === "number" ? varintField(3, value) : value.flatMap((item) => varintField(8, item))),
          ...varintField(20, typeof value === "number" ? 2 : 7),
        ]),
      ),
    );
  }

  /** A constant tensor whose payload are the given TensorProto fields. */
  constant(dataType: number, dims: readonly number[], data: readonly Segment[]): string {
    const tensor = [...dims.flatMap((dim) => varintField(1, dim)), ...varintField(2, dataType), ...data];
    return this.#add(
      "Constant",
      [],
      lengthField(5, [...textField(1, "value"), ...lengthField(5, tensor), ...varintField(20, 4)]),
    );
  }

  /** Non-negative integers, as the varints that int32_data and int64_data are. */
  integers(dataType: number, dims: readonly number[], values: readonly number[]): string {
    return this.constant(dataType, dims, lengthField(dataType === DATA_TYPE.I64 ? 7 : 5, values.map(varint)));
  }

  #add(op: string, inputs: readonly string[], attributes: readonly Segment[]): string {
    const output = this.#fresh();
    this.#nodes.push({ op, inputs, output, attributes });
    return output;
  }

  /** Gives the last node's output another name. */
  nameLast(output: string): void {
    this.#nodes.at(-1)!.output = output;
  }

  /** The nodes as fields `number`: 1 in a graph, 7 in a function. */
  encode(number: number): Segment[] {
    return this.#nodes.flatMap(({ op, inputs, output, attributes }) =>
      lengthField(number, [
        ...inputs.flatMap((name) => textField(1, name)),
        ...textField(2, output),
        ...textField(4, op),
        ...attributes,
      ]),
    );
  }
}

/** The values as float16 bits if every one is exactly a float16, else undefined. */
export function exactHalf(values: Float32Array): Uint16Array | undefined {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i]! >>> 16) & 0x8000;
    const exponent = ((bits[i]! >>> 23) & 255) - 127;
    const mantissa = bits[i]! & 0x7fffff;
    // Below 2^-14 a half has its last bit at 2^-24: the float's mantissa, leading one included, is shifted that far.
    const lost = exponent >= -14 ? 13 : -exponent - 1;
    const whole = mantissa | 0x800000;
    if (exponent === -127 && mantissa === 0) out[i] = sign;
    else if (exponent > 15 || exponent < -24 || (whole & ((1 << lost) - 1)) !== 0) return undefined;
    else if (exponent >= -14) out[i] = sign | ((exponent + 15) << 10) | (mantissa >>> 13);
    else out[i] = sign | (whole >>> lost);
  }
  return out;
}

/** The values as bfloat16 bits if every one is exactly a bfloat16, else undefined. */
export function exactBfloat(values: Float32Array): Uint16Array | undefined {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (bits.some((word) => (word & 0xffff) !== 0)) return undefined;
  return Uint16Array.from(bits, (word) => word >>> 16);
}
