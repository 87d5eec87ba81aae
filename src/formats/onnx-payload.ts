// An ONNX tensor's payload as raw little-endian bytes: out of raw_data, typed fields, or a companion file.
import { WlqError } from "../error.ts";
import { byteSource } from "../io/source.ts";
import type { ByteSource, Resolve } from "../io/source.ts";
import { DTYPE_BITS, countElements } from "../tensor.ts";
import type { Dtype } from "../tensor.ts";
import type { TensorProto } from "./onnx-graph.ts";
import { Cursor, FIXED32, FIXED64, LENGTH } from "./protobuf.ts";

/** TensorProto.DataType to safetensors' names. Strings, complex128 and the 4- and 2-bit types have none: they stay as they are. */
const DTYPES: readonly (Dtype | undefined)[] = [
  undefined, "F32", "U8", "I8", "U16", "I16", "I32", "I64", undefined, "BOOL", "F16", "F64", "U32", "U64", "C64", undefined, "BF16",
  "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", undefined, undefined, undefined, "F8_E8M0",
]; // biome-ignore format: a table

export function dtypeOf(dataType: number): Dtype | undefined {
  return DTYPES[dataType];
}

/** Bytes that may be read in ranges. */
export interface Payload {
  readonly byteLength: number;
  read(start: number, end: number): Promise<Uint8Array>;
  /** Where a companion file has it. */
  readonly at?: { readonly location: string; readonly start: number };
}

/** The companion files of a model, each opened once. */
export class Companions {
  readonly sources: Map<string, ByteSource> = new Map();
  readonly #resolve: Resolve | undefined;

  constructor(resolve: Resolve | undefined) {
    this.#resolve = resolve;
  }

  /** @throws WlqError `unsafe-path`, `not-found`, or what `resolve` throws */
  async open(location: string, tensor: string): Promise<[string, ByteSource]> {
    const name = safeName(location, tensor);
    let source = this.sources.get(name);
    if (!source) {
      if (!this.#resolve) {
        throw new WlqError(
          "not-found",
          `ONNX tensor "${tensor}" lies in the companion file "${name}": pass { resolve: (name) => source } to find it`,
          { tensor },
        );
      }
      source = byteSource(await this.#resolve(name));
      this.sources.set(name, source);
    }
    return [name, source];
  }
}

/** A companion's name, which must stay in the model's folder on every system and also when it becomes a URL. */
function safeName(location: string, tensor: string): string {
  const parts = location.split("/").filter((part) => part !== ".");
  // A colon is a drive letter, a URL scheme or an NTFS stream; control characters cut names short.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point
  if (parts.includes("..") || parts.includes("") || parts.length === 0 || /[\\:\x00-\x1f]|%(2e|2f|5c)/i.test(location)) {
    throw new WlqError("unsafe-path", `ONNX tensor "${tensor}" names the companion file "${location}", which must be a plain relative path`, {
      tensor,
    });
  }
  return parts.join("/");
}

/** The payload of a tensor; undefined when the TensorProto has none (in a skeleton). Sizes are checked, data is not read. */
export async function openPayload(
  source: ByteSource,
  tensor: TensorProto,
  name: string,
  companions: Companions,
): Promise<Payload | undefined> {
  const dtype = dtypeOf(tensor.dataType);
  const count = countElements(tensor.dims, name);
  const expected = dtype && (count * DTYPE_BITS[dtype]) / 8;
  if (tensor.isExternal) return openExternal(tensor, name, companions, expected);
  if (tensor.pieces.length === 0 && count > 0) return undefined;
  if (expected === undefined) return undefined;
  const raw = tensor.pieces.findLast((piece) => piece.number === 9 && piece.wire === LENGTH);
  const typed = tensor.pieces.filter((piece) => piece.number === typedField(dtype!));
  if (raw && (raw.end > raw.payload || typed.length === 0)) {
    checkSize(name, tensor, dtype!, raw.end - raw.payload, expected, "raw_data has");
    return range(source, raw.payload, expected);
  }
  return openTyped(source, tensor, typed, name, dtype!, expected);
}

function checkSize(name: string, tensor: TensorProto, dtype: Dtype, bytes: number, expected: number, has: string): void {
  if (bytes === expected) return;
  throw new WlqError(
    "malformed",
    `ONNX tensor "${name}": ${dtype} of shape [${tensor.dims.join(", ")}] takes ${expected} bytes, ${has} ${bytes}`,
    { tensor: name },
  );
}

function range(source: ByteSource, start: number, byteLength: number, location?: string): Payload {
  return {
    byteLength,
    read: (from, to) => source.read(start + from, start + to),
    ...(location === undefined ? {} : { at: { location, start } }),
  };
}

async function openExternal(tensor: TensorProto, name: string, companions: Companions, expected: number | undefined): Promise<Payload> {
  const [location, source] = await companions.open(tensor.external.get("location") ?? "", name);
  const offset = externalNumber(tensor, "offset", name) ?? 0;
  const length = externalNumber(tensor, "length", name) ?? expected ?? Math.max(0, source.byteLength - offset);
  if (expected !== undefined) checkSize(name, tensor, dtypeOf(tensor.dataType)!, length, expected, "external_data says");
  if (offset + length > source.byteLength) {
    throw new WlqError(
      "truncated",
      `ONNX tensor "${name}": bytes ${offset} to ${offset + length} of "${location}" are wanted, the file has ${source.byteLength}`,
      { tensor: name },
    );
  }
  return range(source, offset, length, location);
}

function externalNumber(tensor: TensorProto, key: string, name: string): number | undefined {
  const text = tensor.external.get(key);
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) {
    throw new WlqError("malformed", `ONNX tensor "${name}": external_data says ${key} "${text}", a number of bytes is wanted`, { tensor: name });
  }
  return Number(text);
}

/** The field of TensorProto that carries a dtype when raw_data does not. */
function typedField(dtype: Dtype): number {
  if (dtype === "F32" || dtype === "C64") return 4;
  if (dtype === "F64") return 10;
  if (dtype === "I64") return 7;
  return dtype === "U32" || dtype === "U64" ? 11 : 5;
}

function openTyped(
  source: ByteSource,
  tensor: TensorProto,
  pieces: TensorProto["pieces"],
  name: string,
  dtype: Dtype,
  expected: number,
): Payload {
  const fixed = pieces[0]?.number === 4 ? 4 : pieces[0]?.number === 10 ? 8 : 0;
  const unit = fixed || DTYPE_BITS[dtype] / 8;
  const count = expected / unit;
  const single = pieces.length === 1 && pieces[0]!.wire === LENGTH ? pieces[0] : undefined;
  let least = 0;
  let most = 0;
  for (const { wire, payload, end, count } of pieces) {
    if (wire !== LENGTH) {
      if (wire !== (fixed === 4 ? FIXED32 : fixed === 8 ? FIXED64 : 0)) {
        throw new WlqError("malformed", `ONNX tensor "${name}": its data has protobuf wire type ${wire}, which ${dtype} cannot have`, { tensor: name });
      }
      least += count;
      most += count;
    } else if (fixed) {
      if ((end - payload) % fixed !== 0) checkSize(name, tensor, dtype, end - payload, expected, "a data field has");
      least += (end - payload) / fixed;
      most += (end - payload) / fixed;
    } else {
      // A varint has 1 to 10 bytes; the exact number is known when the last element is read.
      least += Math.ceil((end - payload) / 10);
      most += end - payload;
    }
  }
  if (count < least || count > most) checkSize(name, tensor, dtype, (count < least ? least : most) * unit, expected, "its data fields have");
  if (single && fixed) return range(source, single.payload, expected);
  const scan = new TypedScan(source, pieces, name, unit, count, fixed > 0);
  return { byteLength: expected, read: (start, end) => scan.read(start, end) };
}

/** Elements between two remembered positions: a range is found by scanning at most this many. */
const STRIDE = 4096;

/** Elements of varying size, or a field each: decoded by scanning, with a remembered position every {@link STRIDE} elements. */
class TypedScan {
  readonly #marks: { piece: number; pos: number }[] = [];

  constructor(
    source: ByteSource,
    pieces: TensorProto["pieces"],
    name: string,
    unit: number,
    count: number,
    fixed: boolean,
  ) {
    this.#cursor = new Cursor(source);
    this.#pieces = pieces;
    this.#name = name;
    this.#unit = unit;
    this.#count = count;
    this.#fixed = fixed;
  }
  readonly #cursor: Cursor;
  readonly #pieces: TensorProto["pieces"];
  readonly #name: string;
  readonly #unit: number;
  readonly #count: number;
  readonly #fixed: boolean;
  /** Reads share one cursor, so they take turns. */
  #turn: Promise<unknown> = Promise.resolve();

  read(start: number, end: number): Promise<Uint8Array> {
    const result = this.#turn.then(() => this.#scan(start, end));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #scan(start: number, end: number): Promise<Uint8Array> {
    if (start >= end) return new Uint8Array(0);
    const unit = this.#unit;
    const cursor = this.#cursor;
    const first = Math.floor(start / unit);
    const last = Math.ceil(end / unit);
    const out = new Uint8Array((last - first) * unit);
    const mark = Math.min(Math.floor(first / STRIDE), Math.max(0, this.#marks.length - 1));
    let { piece, pos } = this.#marks[mark] ?? { piece: 0, pos: -1 };
    for (let i = mark * STRIDE; i < last; i++) {
      [piece, pos] = this.#next(piece, pos);
      if (piece === this.#pieces.length) this.#miscounted(i);
      if (i === this.#marks.length * STRIDE) this.#marks.push({ piece, pos });
      const { wire, end: pieceEnd } = this.#pieces[piece]!;
      cursor.pos = pos;
      const pending = cursor.ready(24);
      if (pending) await pending;
      if (wire !== LENGTH) cursor.varint(pieceEnd);
      const at = (i - first) * unit;
      if (this.#fixed) {
        for (let k = 0; k < unit; k++) {
          const byte = cursor.byte();
          if (at >= 0) out[at + k] = byte;
        }
      } else {
        cursor.varint(pieceEnd);
        for (let k = 0; k < unit && at >= 0; k++) out[at + k] = (k < 4 ? cursor.low : cursor.high) >>> (8 * (k & 3));
      }
      pos = cursor.pos;
    }
    if (last === this.#count && this.#next(piece, pos)[0] < this.#pieces.length) this.#miscounted(last + 1);
    return out.subarray(start - first * unit, end - first * unit);
  }

  /** The position of the next element: the same, or the beginning of the next piece that has any. */
  #next(piece: number, pos: number): [number, number] {
    for (; piece < this.#pieces.length; piece++, pos = -1) {
      const { wire, start, payload, end } = this.#pieces[piece]!;
      if (pos < 0) pos = wire === LENGTH ? payload : start;
      if (pos < end) break;
    }
    return [piece, pos];
  }

  #miscounted(found: number): never {
    throw new WlqError(
      "malformed",
      `ONNX tensor "${this.#name}": its shape has ${this.#count} elements, its data ${found > this.#count ? "more" : found}`,
      { tensor: this.#name },
    );
  }
}
