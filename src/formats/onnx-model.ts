// An opened ONNX model's inner state, shared by its reader and its writers.
import { WlqError } from "../error.ts";
import type { Segment } from "../io/segment.ts";
import type { ByteSource } from "../io/source.ts";
import type { Model, TensorEntry } from "./format.ts";
import type { Constant, OnnxFile, Scope, TensorProto } from "./onnx-graph.ts";
import type { Payload } from "./onnx-payload.ts";
import { tensorBody } from "./onnx-write.ts";
import type { Body, OnnxOptions } from "./onnx-write.ts";
import { sourceSegment } from "./protobuf.ts";

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
}

export const states: WeakMap<Model, OnnxState> = new WeakMap();

/** The state of a model that {@link onnx} opened. */
export function onnxState(model: Model): OnnxState {
  const state = states.get(model);
  if (!state) throw new TypeError(`a model opened by onnx() is wanted, got one of the format "${model.format}"`);
  return state;
}

export function missing(name: string): WlqError {
  return new WlqError("not-found", `ONNX tensor "${name}": its payload was left out of this skeleton and is not given`, { tensor: name });
}

/** From IR version 4 on, an initializer that is listed as an input is a default that the caller may override. */
export function isOverridable(file: OnnxFile, { scope, node, name }: Constant): boolean {
  return !node && (scope !== file.main || file.irVersion >= 4) && inputNames(scope).has(name);
}

const inputNameSets = new WeakMap<Scope, Set<string>>();
function inputNames(scope: Scope): Set<string> {
  let names = inputNameSets.get(scope);
  if (!names) inputNameSets.set(scope, (names = new Set(scope.inputs.map((input) => input.name))));
  return names;
}

/** Throws when one of the names is no tensor of the model, or its payload has another size. */
export function checkNames(state: OnnxState, given: Iterable<readonly [string, number | undefined]>): void {
  const sizes = new Map(state.stored.flatMap(({ entry }) => (entry ? [[entry.name, entry.byteLength]] : [])));
  for (const [name, byteLength] of given) {
    const size = sizes.get(name);
    if (size === undefined) throw new WlqError("not-found", `ONNX: the model has no tensor "${name}"`, { tensor: name });
    if (byteLength !== undefined && byteLength !== size) {
      throw new WlqError("malformed", `ONNX tensor "${name}" has ${size} bytes, its new payload ${byteLength}`, { tensor: name });
    }
  }
}

/** Payloads that stay in the main file and could be moved out of it. */
export function movable(stored: readonly Stored[], taken: ReadonlySet<Stored>): Body[] {
  return stored.flatMap((item) =>
    item.payload && !item.payload.at && !taken.has(item) ? [tensorBody(item.tensor, sourceSegment(item.payload, 0, item.payload.byteLength))] : [],
  );
}
