// A blob's payload: its shape and dtype checked against its fields, and its bytes read in ranges.

import type { WlqErrorCode } from "../error.ts";
import { WlqError } from "../error.ts";
import type { Segment } from "../io/segment.ts";
import type { ByteSource } from "../io/source.ts";
import { countElements } from "../tensor.ts";
import type { BlobProto, DataField, Piece } from "./caffe-net.ts";
import type { Edit } from "./protobuf.ts";
import { lengthField } from "./protobuf.ts";

/** The dtypes that a blob's payload can have. */
export type BlobDtype = "F32" | "F64" | "F16";

const BYTES: Readonly<Record<BlobDtype, number>> = { F32: 4, F64: 8, F16: 2 };
const NUMBERS: Readonly<Record<DataField, number>> = { data: 5, double_data: 8, raw_data: 12 };
/** `raw_data_type` DOUBLE, FLOAT, FLOAT16; integers stay as they are. */
const RAW_DTYPES: readonly (BlobDtype | undefined)[] = ["F64", "F32", "F16"];

/** The payload of a blob. */
export interface BlobPayload {
  readonly dtype: BlobDtype;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** Left out of a skeleton. */
  readonly isAbsent: boolean;
  /** Bytes `start` to `end`, a checked range of a payload that is there. */
  read(start: number, end: number): Promise<Uint8Array>;
  /** Puts `bytes` in the payload's place; undefined leaves an empty field, which still says what the dtype is. */
  edits(bytes: Segment | undefined): Edit[];
}

/** An error about one tensor. */
export function caffeError(code: WlqErrorCode, tensor: string, message: string): WlqError {
  return new WlqError(code, `Caffe tensor "${tensor}": ${message}`, { tensor });
}

/** The payload of a blob; undefined where it has none, or one of a kind that has no dtype here. Data is not read. */
export function openBlob(
  source: ByteSource,
  blob: BlobProto,
  name: string,
  skeleton: boolean,
): BlobPayload | undefined {
  // Caffe lets the old four win over `shape`.
  const shape = blob.legacy ?? blob.dims ?? [];
  const count = countElements(shape, name);
  const kinds = [...blob.pieces.keys()];
  const [kind] = kinds;
  if (kind === undefined) {
    if (count === 0 || !(blob.legacy ?? blob.dims)) return undefined;
    throw caffeError("malformed", name, `shape [${shape.join(", ")}] has ${count} elements, the blob no data`);
  }
  // Caffe would take the doubles, OpenCV the floats.
  if (kinds.length > 1)
    throw caffeError("malformed", name, `it has both ${kinds.join(" and ")}: readers disagree which counts`);
  const all = blob.pieces.get(kind)!;
  // Elements of `data` and `double_data` add up, of a single field the last counts.
  const pieces = kind === "raw_data" ? all.slice(-1) : all;
  const dtype = kind === "data" ? "F32" : kind === "double_data" ? "F64" : RAW_DTYPES[blob.rawType ?? -1];
  if (!dtype) return undefined;
  const unit = BYTES[dtype];
  const byteLength = count * unit;
  let found = 0;
  for (const { start, payload, end, step } of pieces) found += step > 0 ? ((end - start) / step) * unit : end - payload;
  const isAbsent = skeleton && found === 0 && byteLength > 0;
  if (
    !isAbsent &&
    (found !== byteLength || pieces.some(({ payload, end, step }) => step === 0 && (end - payload) % unit !== 0))
  ) {
    throw caffeError(
      "malformed",
      name,
      `${dtype} of shape [${shape.join(", ")}] takes ${byteLength} bytes, ${kind} has ${found}`,
    );
  }
  return {
    dtype,
    shape,
    byteLength,
    isAbsent,
    read: reader(source, pieces, unit),
    edits(bytes) {
      const within = blob.message;
      const [first] = all;
      const { payload, end, step } = first!;
      if (bytes && all.length === 1 && step === 0 && bytes.byteLength === end - payload) {
        return [{ within, start: payload, end, bytes: [bytes] }];
      }
      const at = first!.start;
      return [
        { within, start: at, end: at, bytes: lengthField(NUMBERS[kind], bytes ? [bytes] : []) },
        ...all.map((piece) => ({ within, start: piece.start, end: piece.end, bytes: [] })),
      ];
    },
  };
}

/** Reads ranges of the raw little-endian payload, whichever pieces it lies in. */
function reader(source: ByteSource, pieces: readonly Piece[], unit: number): BlobPayload["read"] {
  const [single] = pieces;
  if (pieces.length === 1 && single!.step === 0)
    return (start, end) => source.read(single!.payload + start, single!.payload + end);
  return async (start, end) => {
    const out = new Uint8Array(end - start);
    let at = 0;
    for (const piece of pieces) {
      const bytes = piece.step > 0 ? ((piece.end - piece.start) / piece.step) * unit : piece.end - piece.payload;
      const from = Math.max(start, at);
      const to = Math.min(end, at + bytes);
      if (from < to) out.set(await readPiece(source, piece, unit, from - at, to - at), from - start);
      at += bytes;
      if (at >= end) break;
    }
    return out;
  };
}

async function readPiece(
  source: ByteSource,
  piece: Piece,
  unit: number,
  from: number,
  to: number,
): Promise<Uint8Array> {
  const { start, payload, step } = piece;
  if (step === 0) return source.read(payload + from, payload + to);
  const first = Math.floor(from / unit);
  const last = Math.ceil(to / unit);
  const fields = await source.read(start + first * step, start + last * step);
  const out = new Uint8Array((last - first) * unit);
  for (let i = 0, tag = step - unit; i < last - first; i++) {
    for (let k = 0; k < unit; k++) out[i * unit + k] = fields[i * step + tag + k]!;
  }
  return out.subarray(from - first * unit, to - first * unit);
}
