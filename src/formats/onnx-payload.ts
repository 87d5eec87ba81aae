// An ONNX tensor's payload as raw little-endian bytes: out of raw_data, typed fields, or a companion file.

import type { WlqErrorCode } from "../error.ts";
import { WlqError } from "../error.ts";
import { type Place, placeIn } from "../io/place.ts";
import { type ByteSource, byteSource, type Resolve } from "../io/source.ts";
import type { Dtype } from "../tensor.ts";
import { countElements, dtypeBits } from "../tensor.ts";
import type { TensorProto } from "./onnx-graph.ts";
import { Cursor, FIXED32, FIXED64, LENGTH, VARINT } from "./protobuf.ts";

/** TensorProto.DataType to safetensors' names. Strings, complex128 and the 4- and 2-bit types have none: they stay as they are. */
const DTYPES: readonly (Dtype | undefined)[] = [
  undefined, "F32", "U8", "I8", "U16", "I16", "I32", "I64", undefined, "BOOL", "F16", "F64", "U32", "U64", "C64", undefined, "BF16",
  "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", undefined, undefined, undefined, "F8_E8M0",
]; // biome-ignore format: a table

export function dtypeOf(dataType: number): Dtype | undefined {
  return DTYPES[dataType];
}

/** An error about one tensor. */
export function onnxError(code: WlqErrorCode, tensor: string, message: string): WlqError {
  return new WlqError(code, `ONNX tensor "${tensor}": ${message}`, { tensor });
}

/** Bytes that may be read in ranges. */
export interface Payload {
  readonly byteLength: number;
  read(start: number, end: number): Promise<Uint8Array>;
  /** Where threads find it as it is. */
  readonly place?: Place | undefined;
  /** Where a companion file has it. */
  readonly at?: { readonly location: string; readonly start: number };
}

/** The companion files of a model by name, each opened once. */
export class Companions extends Map<string, ByteSource> {
  readonly #resolve: Resolve | undefined;

  constructor(resolve: Resolve | undefined) {
    super();
    this.#resolve = resolve;
  }

  /** @throws WlqError `unsafe-path`, `not-found`, or what `resolve` throws */
  async open(location: string, tensor: string): Promise<[string, ByteSource]> {
    const name = safeName(location, tensor);
    let source = this.get(name);
    if (!source) {
      if (!this.#resolve) {
        throw onnxError(
          "not-found",
          tensor,
          `it lies in the companion file "${name}": pass { resolve: (name) => source } to find it`,
        );
      }
      source = byteSource(await this.#resolve(name));
      this.set(name, source);
    }
    return [name, source];
  }
}

// A colon is a drive letter, a URL scheme or an NTFS stream; control characters cut names short.
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point
const UNSAFE = /[\\:\x00-\x1f]|%(2e|2f|5c)/i;

/** A companion's name, which must stay in the model's folder on every system and also when it becomes a URL. */
function safeName(location: string, tensor: string): string {
  const parts = location.split("/").filter((part) => part !== ".");
  if (parts.includes("..") || parts.includes("") || parts.length === 0 || UNSAFE.test(location)) {
    throw onnxError(
      "unsafe-path",
      tensor,
      `it names the companion file "${location}", which must be a plain relative path`,
    );
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
  const expected = dtype && (count * dtypeBits(dtype)) / 8;
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

function checkSize(
  name: string,
  tensor: TensorProto,
  dtype: Dtype,
  bytes: number,
  expected: number,
  has: string,
): void {
  if (bytes === expected) return;
  throw onnxError(
    "malformed",
    name,
    `${dtype} of shape [${tensor.dims.join(", ")}] takes ${expected} bytes, ${has} ${bytes}`,
  );
}

function range(source: ByteSource, start: number, byteLength: number, location?: string): Payload {
  return {
    byteLength,
    place: placeIn(source, start),
    read: (from, to) => source.read(start + from, start + to),
    ...(location === undefined ? {} : { at: { location, start } }),
  };
}

async function openExternal(
  tensor: TensorProto,
  name: string,
  companions: Companions,
  expected: number | undefined,
): Promise<Payload> {
  const [location, source] = await companions.open(tensor.external.get("location") ?? "", name);
  const offset = externalNumber(tensor, "offset", name) ?? 0;
  const length = externalNumber(tensor, "length", name) ?? expected ?? Math.max(0, source.byteLength - offset);
  if (expected !== undefined)
    checkSize(name, tensor, dtypeOf(tensor.dataType)!, length, expected, "external_data says");
  if (offset + length > source.byteLength) {
    const wanted = `bytes ${offset} to ${offset + length} of "${location}"`;
    throw onnxError("truncated", name, `${wanted} are wanted, the file has ${source.byteLength}`);
  }
  return range(source, offset, length, location);
}

function externalNumber(tensor: TensorProto, key: string, name: string): number | undefined {
  const text = tensor.external.get(key);
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) {
    throw onnxError("malformed", name, `external_data says ${key} "${text}", a number of bytes is wanted`);
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
  const unit = fixed || dtypeBits(dtype) / 8;
  const count = expected / unit;
  const single = pieces.length === 1 && pieces[0]!.wire === LENGTH ? pieces[0] : undefined;
  let least = 0;
  let most = 0;
  for (const { wire, payload, end, count: run } of pieces) {
    if (wire !== LENGTH && wire !== (fixed === 4 ? FIXED32 : fixed ? FIXED64 : VARINT)) {
      throw onnxError("malformed", name, `its data has protobuf wire type ${wire}, which ${dtype} cannot have`);
    }
    if (wire === LENGTH && fixed && (end - payload) % fixed !== 0)
      checkSize(name, tensor, dtype, end - payload, expected, "a data field has");
    // A varint has 1 to 10 bytes; how many there are is known when the last one is read.
    least += wire === LENGTH ? Math.ceil((end - payload) / (fixed || 10)) : run;
    most += wire === LENGTH ? (end - payload) / (fixed || 1) : run;
  }
  if (count < least || count > most)
    checkSize(name, tensor, dtype, (count < least ? least : most) * unit, expected, "its data fields have");
  if (single && fixed) return range(source, single.payload, expected);
  return { byteLength: expected, read: scanned(source, pieces, name, unit, count, fixed > 0) };
}

/** Elements of varying size, or a field each: decoded by scanning, on from where the last read ended or else from the beginning. */
function scanned(
  source: ByteSource,
  pieces: TensorProto["pieces"],
  name: string,
  unit: number,
  count: number,
  fixed: boolean,
): Payload["read"] {
  const cursor = new Cursor(source);
  /** Where element `next` is. */
  let next = 0;
  let piece = 0;
  let pos = -1;
  /** Reads share the cursor, so they take turns. */
  let turn: Promise<unknown> = Promise.resolve();
  return (start, end) => {
    const result = turn.then(() => scan(start, end));
    turn = result.catch(() => undefined);
    return result;
  };

  async function scan(start: number, end: number): Promise<Uint8Array> {
    const first = Math.floor(start / unit);
    const last = start < end ? Math.ceil(end / unit) : first;
    const out = new Uint8Array((last - first) * unit);
    if (next > first) [next, piece, pos] = [0, 0, -1];
    while (next < last) {
      if (!more()) miscounted(next);
      const { wire, end: pieceEnd } = pieces[piece]!;
      cursor.pos = pos;
      const pending = cursor.ready(24);
      if (pending) await pending;
      if (wire !== LENGTH) cursor.varint(pieceEnd);
      const at = (next - first) * unit;
      if (!fixed) cursor.varint(pieceEnd);
      for (let k = 0; k < unit; k++) {
        const byte = fixed ? cursor.byte() : (k < 4 ? cursor.low : cursor.high) >>> (8 * (k & 3));
        if (at >= 0) out[at + k] = byte;
      }
      pos = cursor.pos;
      next++;
    }
    if (next === count && more()) miscounted("more");
    return out.subarray(start - first * unit, end - first * unit);
  }

  /** Moves on to the beginning of the next piece that has elements where this one has none left. */
  function more(): boolean {
    for (; piece < pieces.length; piece++, pos = -1) {
      const { wire, start, payload, end } = pieces[piece]!;
      if (pos < 0) pos = wire === LENGTH ? payload : start;
      if (pos < end) return true;
    }
    return false;
  }

  function miscounted(found: number | string): never {
    throw onnxError("malformed", name, `its shape has ${count} elements, its data ${found}`);
  }
}
