// Writing an ONNX file: payloads put in place, companion files rewritten, and big payloads moved out of a main file beyond 2 GiB.
import { WlqError } from "../error.ts";
import type { Segment } from "../io/segment.ts";
import { copySegment, segmentsByteLength } from "../io/segment.ts";
import type { ByteSource } from "../io/source.ts";
import type { OutputFiles } from "./format.ts";
import type { TensorProto } from "./onnx-graph.ts";
import type { Edit } from "./protobuf.ts";
import { lengthField, splice, textField, varintField } from "./protobuf.ts";

/** Options of `onnx()`. */
export interface OnnxOptions {
  /** Bytes the main file may have before payloads of 1 MiB and more move to a companion file; 2^31 - 1, protobuf's limit. */
  readonly mainLimit?: number;
  /** Name of that companion file. */
  readonly companion?: string;
}

export const ONNX_DEFAULTS: Required<OnnxOptions> = { mainLimit: 2 ** 31 - 1, companion: "model.onnx.data" };

/** Smaller payloads stay in the main file: moving them frees little. */
const SPILL_BYTES = 1 << 20;
/** onnxruntime maps companion files into memory, a page at a time. */
const PAGE = 4096;

/** A payload to be written, and how: `edits` is given the TensorProto fields that hold it, or point at it. */
export interface Body {
  readonly bytes: Segment;
  edits(data: readonly Segment[]): Edit[];
}

/** Drops a tensor's payload, wherever it is, and puts `data` in the place of its first field. */
export function tensorEdits(tensor: TensorProto, data: readonly Segment[]): Edit[] {
  const within = tensor.message;
  const dropped = [...tensor.pieces, ...tensor.externalFields].sort((a, b) => a.start - b.start);
  const at = dropped[0]?.start ?? within.end;
  return [
    { within, start: at, end: at, bytes: data },
    ...dropped.map(({ start, end }) => ({ within, start, end, bytes: [] })),
  ];
}

export function tensorBody(tensor: TensorProto, bytes: Segment): Body {
  return { bytes, edits: (data) => tensorEdits(tensor, data) };
}

/** TensorProto fields that hold a payload. */
export function rawData(bytes: Segment): Segment[] {
  return lengthField(9, [bytes]);
}

function externalData(location: string, offset: number, length: number): Segment[] {
  const entry = (key: string, value: string): Segment[] =>
    lengthField(13, [...textField(1, key), ...textField(2, value)]);
  return [
    ...entry("location", location),
    ...entry("offset", String(offset)),
    ...entry("length", String(length)),
    ...varintField(14, 1),
  ];
}

/**
 * The main file with `fixed` edits and `bodies` made; if it is too big, all big bodies, then also the `movable` ones
 * (payloads that are in the file already), go to a companion file.
 */
export function assemble(
  source: ByteSource,
  fixed: readonly Edit[],
  bodies: readonly Body[],
  movable: () => Body[],
  companions: Map<string, readonly Segment[]>,
  options: Required<OnnxOptions>,
): OutputFiles {
  const inline = splice(source, [...fixed, ...bodies.flatMap((body) => body.edits(rawData(body.bytes)))]);
  if (segmentsByteLength(inline) <= options.mainLimit) return { main: inline, companions };
  let name = options.companion;
  while (companions.has(name)) name = `${name}~1`;
  const spilled: Segment[] = [];
  let offset = 0;
  const place = (body: Body): Edit[] => {
    const length = body.bytes.byteLength;
    if (length < SPILL_BYTES) return body.edits(rawData(body.bytes));
    const padding = (PAGE - (offset % PAGE)) % PAGE;
    if (padding > 0) spilled.push(new Uint8Array(padding));
    spilled.push(body.bytes);
    const edits = body.edits(externalData(name, offset + padding, length));
    offset += padding + length;
    return edits;
  };
  const main = splice(source, [...fixed, ...[...bodies, ...movable()].flatMap(place)]);
  const mainBytes = segmentsByteLength(main);
  if (mainBytes > options.mainLimit) {
    throw new WlqError(
      "limit",
      `ONNX: the main file would have ${mainBytes} bytes even with its big tensors in "${name}", ${options.mainLimit} are possible`,
    );
  }
  companions.set(name, spilled);
  return { main, companions };
}

/** A companion file with some ranges replaced by as many bytes. */
export function rewritten(
  source: ByteSource,
  ranges: readonly { readonly start: number; readonly bytes: Segment }[],
): Segment[] {
  const out: Segment[] = [];
  let at = 0;
  for (const { start, bytes } of [...ranges].sort((a, b) => a.start - b.start)) {
    if (start > at) out.push(copySegment(source, at, start));
    out.push(bytes);
    at = start + bytes.byteLength;
  }
  if (at < source.byteLength) out.push(copySegment(source, at, source.byteLength));
  return out;
}
