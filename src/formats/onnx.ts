// The ONNX format: the constants of all graphs and functions as tensors, and the file rewritten around them.

import type { Segment } from "../io/segment.ts";
import { copySegment } from "../io/segment.ts";
import type { ByteSource } from "../io/source.ts";
import { countElements, dtypeBits, isFloatDtype } from "../tensor.ts";
import type { CodedTensor, Format, InGraph, Model, OpenOptions, OutputFiles, TensorEntry } from "./format.ts";
import { inGraph } from "./onnx-decode.ts";
import type { Constant, OnnxFile } from "./onnx-graph.ts";
import { readOnnx } from "./onnx-graph.ts";
import { exposing, layersOf, type OnnxLayer } from "./onnx-layers.ts";
import type { OnnxState, Stored } from "./onnx-model.ts";
import { checkNames, isOverridable, missing, movable } from "./onnx-model.ts";
import { Companions, dtypeOf, onnxError, openPayload } from "./onnx-payload.ts";
import { Roles } from "./onnx-roles.ts";
import { Shifts } from "./onnx-shift.ts";
import type { Body, OnnxOptions } from "./onnx-write.ts";
import { assemble, ONNX_DEFAULTS, rawData, rewritten, tensorBody, tensorEdits } from "./onnx-write.ts";
import type { Edit } from "./protobuf.ts";
import { splice } from "./protobuf.ts";

export type { ConvGeometry, Layer } from "./layer.ts";
export type { OnnxOptions } from "./onnx-write.ts";

/** A model opened here. */
export interface OnnxModel extends Model {
  skeleton(omit: ReadonlySet<string>): Promise<readonly Segment[]>;
  /** `payloads`: dense payloads for tensors that are not coded or are left; without one they keep their own. */
  inGraph(coded: ReadonlyMap<string, CodedTensor>, payloads?: ReadonlyMap<string, Segment>): Promise<InGraph>;
  /** Layers of the main graph that calibration can observe. */
  layers(): readonly OnnxLayer[];
  /** Whether the main graph has an input of that name. */
  isInput(name: string): boolean;
  /** The model with these values of the main graph as its outputs, and no others. */
  exposing(names: Iterable<string>): Segment[];
}

/** The ONNX format, with what its models have beyond others. */
export interface OnnxFormat extends Format {
  open(source: ByteSource, options: OpenOptions): Promise<OnnxModel>;
}

/**
 * The ONNX format, for `compress(…, { formats: [onnx()] })`.
 *
 * Tensors are the initializers and `Constant` nodes of all graphs, subgraphs and model-local functions. Payloads are
 * read in ranges and never held; models with companion files (external data) need `resolve`.
 */
export function onnx(options: OnnxOptions = {}): OnnxFormat {
  return {
    name: "onnx",
    detect,
    open: (source, openOptions) => open(source, openOptions, { ...ONNX_DEFAULTS, ...options }),
  };
}

/** ModelProto's fields by number, with their wire types. */
const MODEL_WIRES: Readonly<Record<number, number>> = {
  1: 0,
  2: 2,
  3: 2,
  4: 2,
  5: 0,
  6: 2,
  7: 2,
  8: 2,
  14: 2,
  20: 2,
  25: 2,
  26: 2,
};

/** All fields that begin within the head must be a ModelProto's: ONNX has no signature. */
function detect(head: Uint8Array, byteLength: number): boolean {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; at < head.length; scale *= 128) {
      const byte = head[at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < head.length) {
    const tag = varint();
    if (MODEL_WIRES[Math.floor(tag / 8)] !== tag % 8) return at >= head.length && at > 2;
    const value = varint();
    if (tag % 8 === 2) {
      // The producer's name is a text; in a Caffe net field 2 is a layer, which begins with tags and short lengths.
      if (tag === 18 && head.subarray(at, at + value).some((byte) => byte < 32)) return false;
      at += value;
      if (at > byteLength) return false;
    }
  }
  return head.length > 0;
}

async function open(
  source: ByteSource,
  { resolve, skeleton }: OpenOptions,
  options: Required<OnnxOptions>,
): Promise<OnnxModel> {
  const file = await readOnnx(source);
  const companions = new Companions(resolve);
  const roles = new Roles(file);
  const constants = file.scopes.flatMap((scope) => scope.constants).sort((a, b) => a.start - b.start);
  const names = uniqueNames(constants);
  const stored: Stored[] = [];
  for (const constant of constants) {
    const { tensor } = constant;
    const name = names.get(constant)!;
    const payload = await openPayload(source, tensor, name, companions);
    const dtype = dtypeOf(tensor.dataType);
    if (!dtype) {
      stored.push({ tensor, payload });
      continue;
    }
    const byteLength = (countElements(tensor.dims, name) * dtypeBits(dtype)) / 8;
    if (!payload && !skeleton) {
      throw onnxError(
        "malformed",
        name,
        `shape [${tensor.dims.join(", ")}] takes ${byteLength} bytes, the file has no data for it`,
      );
    }
    const role = roles.of(constant);
    const isFloat = isFloatDtype(dtype);
    const keep = isFloat ? keepReason(file, constant, role.quantizedBy) : undefined;
    const entry: TensorEntry = {
      name,
      dtype,
      shape: tensor.dims,
      byteLength,
      axis: role.axis,
      ...(keep ? { keep } : {}),
      weight: isFloat && role.weight,
      place: payload?.place,
      async read(start, end) {
        if (!payload) throw missing(name);
        if (start < 0 || end < start || end > byteLength) {
          throw new RangeError(`bytes ${start} to ${end} of tensor "${name}" are wanted, it has ${byteLength}`);
        }
        return payload.read(start, end);
      },
    };
    stored.push({ tensor, constant, entry, payload });
  }
  for (const tensor of file.others) {
    if (tensor.isExternal) stored.push({ tensor, payload: await openPayload(source, tensor, tensor.name, companions) });
  }
  const warnings = warningsOf(roles, stored);
  return modelOf({ source, file, stored, companions, options, fixed: [], replaced: new Map() }, warnings);
}

function modelOf(state: OnnxState, warnings: readonly string[]): OnnxModel {
  const { file, stored, companions } = state;
  let companionBytes = 0;
  for (const companion of companions.values()) companionBytes += companion.byteLength;
  let shifts: Shifts | undefined;
  const shiftsOf = (): Shifts => {
    shifts ??= new Shifts(state);
    return shifts;
  };
  return {
    format: "onnx",
    tensors: stored.flatMap(({ entry }) => entry ?? []),
    warnings,
    dense: (payloads) => dense(state, payloads),
    companionBytes,
    skeleton: (omit) => skeletonOf(state, omit),
    inGraph: async (coded, payloads = new Map()) => inGraph(state, coded, payloads),
    shiftable: (weight) => shiftsOf().has(weight),
    shifted: async (by) => modelOf({ ...state, ...(await shiftsOf().apply(by)) }, warnings),
    layers: () => layersOf(state),
    isInput: (name) => file.main.inputs.has(name),
    exposing: (names) => exposing(state, names),
  };
}

/** A name a constant, outer scopes first, so that the main graph's initializers keep theirs; a taken one gets `~1`, `~2` … */
function uniqueNames(constants: readonly Constant[]): Map<Constant, string> {
  const names = new Map<Constant, string>();
  const taken = new Map<string, number>();
  const depth = ({ scope }: Constant): number => (scope.isFunction ? 1 : 0) + scope.message.depth;
  for (const constant of [...constants].sort((a, b) => depth(a) - depth(b))) {
    let name = constant.name;
    // Where the last clash ended, so that thousands of equal names do not each begin at ~1.
    let n = taken.get(name) ?? 0;
    for (; taken.has(name); name = `${constant.name}~${n}`) n++;
    taken.set(constant.name, n);
    taken.set(name, taken.get(name) ?? 0);
    names.set(constant, name);
  }
  return names;
}

function keepReason(file: OnnxFile, constant: Constant, quantizedBy: string | undefined): string | undefined {
  if (quantizedBy) return `already quantized: it feeds a ${quantizedBy} node`;
  if (isOverridable(file, constant)) return "it is also a graph input, so the caller may override it";
  return undefined;
}

function warningsOf(roles: Roles, stored: readonly Stored[]): string[] {
  const warnings: string[] = [];
  if (roles.quantized.size > 0) {
    const nodes = [...roles.quantized].map(([op, count]) => `${count} ${op} node${count === 1 ? "" : "s"}`).join(", ");
    warnings.push(`the model is already quantized (${nodes}): its quantized weights are left alone`);
  }
  const overridable = stored.filter(({ entry }) => entry?.keep?.includes("graph input"));
  if (overridable.length > 0) {
    warnings.push(
      `${overridable.length} initializers are also graph inputs (the first: "${overridable[0]!.entry!.name}"): left alone`,
    );
  }
  return warnings;
}

async function dense(state: OnnxState, payloads: ReadonlyMap<string, Segment>): Promise<OutputFiles> {
  checkNames(state, payloads.keys(), payloads);
  const shared = overlapping(state.stored);
  const bodies: Body[] = [];
  const taken = new Set<Stored>();
  const ranges = new Map<string, { start: number; bytes: Segment }[]>();
  for (const item of state.stored) {
    const bytes = item.entry && (payloads.get(item.entry.name) ?? state.replaced.get(item));
    if (!bytes) {
      if (item.entry && !item.payload) throw missing(item.entry.name);
      continue;
    }
    const at = item.payload?.at;
    // A range with two owners cannot take two payloads, and a checksum would become a lie: such tensors move into the main file.
    if (at && !shared.has(item) && !item.tensor.external.has("checksum")) {
      const list = ranges.get(at.location) ?? [];
      ranges.set(at.location, list);
      list.push({ start: at.start, bytes });
    } else {
      taken.add(item);
      bodies.push(tensorBody(item.tensor, bytes));
    }
  }
  const companions = new Map<string, readonly Segment[]>();
  for (const [name, source] of state.companions) companions.set(name, rewritten(source, ranges.get(name) ?? []));
  return assemble(state.source, state.fixed, bodies, () => movable(state.stored, taken), companions, state.options);
}

/** The tensors whose range of a companion file meets another's. */
function overlapping(stored: readonly Stored[]): Set<Stored> {
  const out = new Set<Stored>();
  const external = stored.filter(({ payload }) => payload?.at && payload.byteLength > 0);
  const compare = (a: Stored, b: Stored): number => {
    const [x, y] = [a.payload!.at!, b.payload!.at!];
    return x.location < y.location ? -1 : x.location > y.location ? 1 : x.start - y.start;
  };
  let furthest: Stored | undefined;
  for (const item of external.sort(compare)) {
    const { location, start } = item.payload!.at!;
    const before = furthest?.payload;
    if (before && before.at!.location === location && before.at!.start + before.byteLength > start) {
      out.add(furthest!).add(item);
      if (start + item.payload!.byteLength <= before.at!.start + before.byteLength) continue;
    }
    furthest = item;
  }
  return out;
}

async function skeletonOf(state: OnnxState, omit: ReadonlySet<string>): Promise<readonly Segment[]> {
  checkNames(state, omit);
  const edits: Edit[] = [...state.fixed];
  for (const item of state.stored) {
    const { tensor, entry, payload } = item;
    const replaced = state.replaced.get(item);
    if (entry && omit.has(entry.name)) edits.push(...tensorEdits(tensor, []));
    else if (replaced) edits.push(...tensorEdits(tensor, rawData(replaced)));
    else if (payload?.at) edits.push(...tensorEdits(tensor, rawData(copySegment(payload, 0, payload.byteLength))));
  }
  return splice(state.source, edits);
}
