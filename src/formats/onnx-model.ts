// An opened ONNX model's inner state, shared by its reader and its writers.
import type { WlqError } from "../error.ts";
import type { Segment } from "../io/segment.ts";
import { copySegment } from "../io/segment.ts";
import type { ByteSource } from "../io/source.ts";
import type { TensorEntry } from "./format.ts";
import type { Constant, OnnxFile, TensorProto } from "./onnx-graph.ts";
import type { Payload } from "./onnx-payload.ts";
import { onnxError } from "./onnx-payload.ts";
import type { Body, OnnxOptions } from "./onnx-write.ts";
import { tensorBody } from "./onnx-write.ts";
import type { Edit } from "./protobuf.ts";

/** A constant with its entry (where its dtype has a name) and payload (where it is not left out of a skeleton). */
export interface Stored {
  readonly tensor: TensorProto;
  readonly constant?: Constant;
  readonly entry?: TensorEntry;
  readonly payload?: Payload;
}

/** What a model opened here knows beyond the interface. */
export interface OnnxState {
  readonly source: ByteSource;
  readonly file: OnnxFile;
  readonly stored: readonly Stored[];
  readonly companions: ReadonlyMap<string, ByteSource>;
  readonly options: Required<OnnxOptions>;
  /** Edits of the graph that every output has, and new payloads for constants that no caller replaces. */
  readonly fixed: readonly Edit[];
  readonly replaced: ReadonlyMap<Stored, Uint8Array>;
}

export function missing(name: string): WlqError {
  return onnxError("not-found", name, "its payload was left out of this skeleton and is not given");
}

/** From IR version 4 on, an initializer that is listed as an input is a default that the caller may override. */
export function isOverridable(file: OnnxFile, { scope, node, name }: Constant): boolean {
  return !node && (scope !== file.main || file.irVersion >= 4) && scope.inputs.has(name);
}

/** Throws when one of the names is no tensor of the model, or its new payload has another size. */
export function checkNames(state: OnnxState, names: Iterable<string>, payloads?: ReadonlyMap<string, Segment>): void {
  const sizes = new Map(state.stored.map(({ entry }) => [entry?.name, entry?.byteLength]));
  for (const name of names) {
    const size = sizes.get(name);
    const given = payloads?.get(name)?.byteLength ?? size;
    if (size === undefined) throw onnxError("not-found", name, "the model has no such tensor");
    if (given !== size) throw onnxError("malformed", name, `it has ${size} bytes, its new payload ${given}`);
  }
}

/** Payloads that stay in the main file and could be moved out of it. */
export function movable(stored: readonly Stored[], taken: ReadonlySet<Stored>): Body[] {
  return stored.flatMap((item) =>
    item.payload && !item.payload.at && !taken.has(item)
      ? [tensorBody(item.tensor, copySegment(item.payload, 0, item.payload.byteLength))]
      : [],
  );
}
