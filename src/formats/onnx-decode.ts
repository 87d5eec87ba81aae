// `--to onnx`: coded tensors become nodes that decode them, so that any ONNX runtime runs the smaller file.

import type { Segment } from "../io/segment.ts";
import { copySegment, segmentsByteLength } from "../io/segment.ts";
import { countElements } from "../tensor.ts";
import type { CodedTensor, InGraph, TensorEntry } from "./format.ts";
import type { Constant, OnnxFile, Scope } from "./onnx-graph.ts";
import type { OnnxState, Stored } from "./onnx-model.ts";
import { checkNames, isOverridable, missing, movable } from "./onnx-model.ts";
import { DATA_TYPE, exactBfloat, exactHalf, NodeList } from "./onnx-nodes.ts";
import type { Packing } from "./onnx-pack.ts";
import { digitTable, packedSegment, packings } from "./onnx-pack.ts";
import { onnxError } from "./onnx-payload.ts";
import type { Body } from "./onnx-write.ts";
import { assemble, rawData, tensorBody } from "./onnx-write.ts";
import type { Edit, Message } from "./protobuf.ts";

/** Reshape and Constant are usable from 7 on; from 9 on Cast and Gather take all that is needed. */
const LEAST_OPSET = 9;

/**
 * Writes an ONNX model in which every coded tensor is decoded by standard operators.
 *
 * @param coded tensors by name
 * @param payloads dense payloads for tensors that are not coded or are `left`; without one they keep their own
 * @throws WlqError `unsupported` below opset 9; `not-found` for an unknown tensor, or one whose payload a skeleton lacks
 */
export function inGraph(
  state: OnnxState,
  coded: ReadonlyMap<string, CodedTensor>,
  payloads: ReadonlyMap<string, Segment>,
): InGraph {
  checkNames(state, coded.keys());
  checkNames(state, payloads.keys(), payloads);
  const tables = new Tables(freshNames(state.file));
  const ways = new Map<Stored, Decoding[]>();
  for (const item of state.stored) {
    const { entry, constant } = item;
    const codedTensor = entry && coded.get(entry.name);
    if (!entry || !constant || !codedTensor) continue;
    const both = decodings(state.file, constant, entry, codedTensor, tables);
    ways.set(item, both);
    const [inBytes, inWords] = both;
    if (inBytes?.table) inBytes.table.saved += Math.max(0, Math.min(inWords!.bytes, denseBytes(item)) - inBytes.bytes);
  }
  const fixed: Edit[] = [...state.fixed];
  const bodies: Body[] = [];
  const taken = new Set<Stored>();
  const left: string[] = [];
  const bytes = new Map<string, number>();
  for (const item of state.stored) {
    const { entry, constant, payload } = item;
    if (entry && constant && ways.has(item)) {
      const [best] = ways
        .get(item)!
        .filter(({ table }) => !table || table.saved > table.bytes)
        .sort((a, b) => a.bytes - b.bytes);
      if (best && best.bytes < denseBytes(item)) {
        taken.add(item);
        bytes.set(entry.name, best.bytes + accept(best, constant, fixed, bodies));
        continue;
      }
      left.push(entry.name);
    }
    const given = entry && (payloads.get(entry.name) ?? state.replaced.get(item));
    if (!given && entry && !payload) throw missing(entry.name);
    if (!given && !payload?.at) continue;
    taken.add(item);
    bodies.push(tensorBody(item.tensor, given ?? copySegment(payload!, 0, payload!.byteLength)));
  }
  const files = assemble(state.source, fixed, bodies, () => movable(state.stored, taken), new Map(), state.options);
  return { files, left, bytes };
}

/** Makes names that nothing in the model has; short on purpose, since each is written several times for every tensor. */
function freshNames({ scopes }: OnnxFile): () => string {
  const taken = new Set<string | undefined>();
  const see = (name: string): unknown => taken.add(/^wlq\d*\//.exec(name)?.[0]);
  for (const { constants, inputs, nodes } of scopes) {
    for (const { name } of constants) see(name);
    for (const name of inputs.keys()) see(name);
    for (const node of nodes) for (const name of [...node.inputs, ...node.outputs]) see(name);
  }
  let prefix = "wlq/";
  for (let n = 1; taken.has(prefix); n++) prefix = `wlq${n}/`;
  let count = 0;
  return () => prefix + (count++).toString(36);
}

/** Bytes of a constant that stays dense: its field, and its payload where that is not in the field. */
function denseBytes({ constant, entry, payload }: Stored): number {
  return constant!.end - constant!.start + (payload && !payload.at ? 0 : entry!.byteLength);
}

/** Nodes for one tensor. */
interface Decoding {
  /** Without the table. */
  readonly bytes: number;
  readonly codes: Segment;
  /** The nodes, given the TensorProto fields with the codes. */
  nodes(data: readonly Segment[]): Segment[];
  readonly table?: Table;
}

/** The digits of a byte for one number of levels, shared by all tensors of a graph or function. */
interface Table {
  readonly scope: Scope;
  readonly name: string;
  readonly nodes: readonly Segment[];
  readonly bytes: number;
  /** Bytes that it saves in all tensors: it is worth its place when they are more than its own. */
  saved: number;
  written: boolean;
}

class Tables {
  readonly fresh: () => string;
  readonly #tables: Map<Scope, Map<number, Table>> = new Map();

  constructor(fresh: () => string) {
    this.fresh = fresh;
  }

  for(scope: Scope, packing: Packing): Table {
    while (scope.parent) scope = scope.parent;
    const known = this.#tables.get(scope) ?? new Map<number, Table>();
    this.#tables.set(scope, known);
    let table = known.get(packing.levels);
    if (!table) {
      const list = new NodeList(this.fresh);
      const digits = list.constant(
        DATA_TYPE.U8,
        [packing.levels ** packing.codes, packing.codes],
        rawData(digitTable(packing)),
      );
      const name = list.op("Cast", [digits], { to: DATA_TYPE.I32 });
      const nodes = list.encode(nodeField(scope));
      table = { scope, name, nodes, bytes: segmentsByteLength(nodes), saved: 0, written: false };
      known.set(packing.levels, table);
    }
    return table;
  }
}

/** The field of a node in its GraphProto or FunctionProto. */
function nodeField(scope: Scope): number {
  return scope.isFunction ? 7 : 1;
}

/** The ways to decode the tensor: codes in bytes, codes in words; none where it is impossible. */
function decodings(
  file: OnnxFile,
  constant: Constant,
  entry: TensorEntry,
  given: CodedTensor,
  tables: Tables,
): Decoding[] {
  const { scope } = constant;
  const count = checkCoded(entry, given);
  const coded = given.levels === 1 ? twoLevels(given) : given;
  if (scope.opset < LEAST_OPSET) {
    throw onnxError(
      "unsupported",
      entry.name,
      `decoding in the graph takes opset ${LEAST_OPSET}, the model has ${scope.opset}`,
    );
  }
  // A node's output may not have an input's name; training graphs refer to initializers; bfloat16 came with opset 13.
  if (
    isOverridable(file, constant) ||
    (file.hasTraining && !constant.node) ||
    (entry.dtype === "BF16" && scope.opset < 13)
  )
    return [];
  return packings(coded.levels).map((packing) => decodeWith(packing, constant, entry, coded, count, tables));
}

/** Checks a coded tensor against its entry; returns the number of weights. */
function checkCoded(
  { name, shape }: TensorEntry,
  { levels, granularity, axis, groupSize, codebook, scale, codes }: CodedTensor,
): number {
  const count = countElements(shape, name);
  const groups = (by: string): number =>
    by === "channel" ? (shape[axis] ?? NaN) : by === "group" ? Math.ceil(count / groupSize) : 1;
  const check = (what: string, got: number, want: number): void => {
    if (got !== want) throw new RangeError(`tensor "${name}": ${what} has ${got} entries, ${want} are wanted`);
  };
  if (!(levels >= 1 && levels <= 256))
    throw new RangeError(`tensor "${name}": levels is ${levels}, 1 to 256 are possible`);
  check("its codebook", codebook.length, groups(granularity) * levels);
  check("its codes", codes.byteLength, count);
  if (scale) check("its scale", scale.values.length, groups(scale.per));
  return count;
}

/** Digits to the base 1 carry nothing: a lone level counts as two equal ones. */
function twoLevels(coded: CodedTensor): CodedTensor {
  const codebook = new Float32Array(coded.codebook.length * 2);
  for (let i = 0; i < codebook.length; i++) codebook[i] = coded.codebook[i >> 1]!;
  return { ...coded, levels: 2, codebook };
}

function decodeWith(
  packing: Packing,
  { scope, name: output }: Constant,
  { name, dtype, shape }: TensorEntry,
  { levels, granularity, axis, groupSize, codebook, scale, codes }: CodedTensor,
  count: number,
  tables: Tables,
): Decoding {
  const { I32, I64 } = DATA_TYPE;
  const number = nodeField(scope);
  const inGroups = granularity === "group" || scale?.per === "group";
  const group = Math.min(groupSize, count);
  const grid = inGroups ? [Math.ceil(count / group), group] : [];
  const units = Math.ceil((inGroups ? grid[0]! * group : count) / packing.codes);
  const bytes = packing.unitBytes === 1;

  const packed = tables.fresh();
  const list = new NodeList(tables.fresh);
  let table: Table | undefined;
  const type = dtype as "F32" | "F16" | "BF16" | "F64";
  const values = floats(list, codebook, [codebook.length], scale ? "F32" : type);

  // Indices or, where one codebook serves all, values at once: `at` is a tensor of `dims`.
  let dims = packing.codes === 1 ? [units] : [units, packing.codes];
  let at: string;
  const direct = granularity === "tensor";
  if (!bytes) {
    const powers = Array.from({ length: packing.codes }, (_, i) => packing.levels ** i);
    at = list.op("Div", [packed, list.integers(I32, [packing.codes], powers)]);
    const base = list.integers(I32, [], [packing.levels]);
    // Mod came with opset 10.
    if (scope.opset < 10) at = list.op("Sub", [at, list.op("Mul", [list.op("Div", [at, base]), base])]);
    else at = list.op("Mod", [at, base]);
    if (direct) at = list.op("Gather", [values, at]);
  } else {
    at = list.op("Cast", [packed], { to: I32 });
    if (packing.codes > 1) {
      // Seen through the codebook, the table of digits is the product table.
      table = tables.for(scope, packing);
      at = list.op("Gather", [direct ? list.op("Gather", [values, table.name]) : table.name, at]);
    } else if (direct) at = list.op("Gather", [values, at]);
  }

  const reshape = (to: readonly number[]): void => {
    const elements = product(to);
    if (product(dims) > elements) {
      if (dims.length > 1) at = list.op("Reshape", [at, list.integers(I64, [1], [product(dims)])]);
      const ends = [elements];
      at =
        scope.opset < 10
          ? list.op("Slice", [at], { starts: [0], ends })
          : list.op("Slice", [at, list.integers(I64, [1], [0]), list.integers(I64, [1], ends)]);
      dims = ends;
    }
    if (dims.join() !== to.join()) at = list.op("Reshape", [at, list.integers(I64, [to.length], to)]);
    dims = [...to];
  };
  /** The shape in which something per channel or per group is broadcast over the tensor: trailing ones. */
  const across = (per: "channel" | "group"): number[] => {
    reshape(per === "group" ? grid : shape);
    return per === "group" ? [grid[0]!, 1] : shape.slice(axis).map((dim, i) => (i === 0 ? dim : 1));
  };
  if (granularity !== "tensor") {
    const begins = offsets(list, scope.opset, across(granularity), levels);
    at = list.op("Add", [at, begins]);
    at = list.op("Gather", [values, at]);
  }
  if (scale) {
    const factors = floats(list, scale.values, across(scale.per), "F32");
    at = list.op("Mul", [at, factors]);
    if (type !== "F32") at = list.op("Cast", [at], { to: DATA_TYPE[type] });
  }
  reshape(shape);
  list.nameLast(output);

  const rest = list.encode(number);
  const nodes = (data: readonly Segment[]): Segment[] => {
    const first = new NodeList(() => packed);
    first.constant(bytes ? DATA_TYPE.U8 : I32, bytes ? [units] : [units, 1], data);
    return [...first.encode(number), ...rest];
  };
  const packedCodes = packedSegment(codes, count, packing, units, name);
  return { bytes: segmentsByteLength(nodes(rawData(packedCodes))), codes: packedCodes, nodes, table };
}

function product(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

/** Where each channel's or group's values begin in the flat codebook: 0, levels, 2 * levels … */
function offsets(list: NodeList, opset: number, dims: readonly number[], levels: number): string {
  const { I32, I64 } = DATA_TYPE;
  const many = dims[0] ?? 1;
  // A constant takes up to 3 bytes an offset, Range (from opset 11) and its inputs about 150 in all.
  if (opset < 11 || many < 80)
    return list.integers(
      I32,
      dims,
      Array.from({ length: many }, (_, i) => i * levels),
    );
  const range = list.op(
    "Range",
    [0, many * levels, levels].map((value) => list.integers(I32, [], [value])),
  );
  return dims.length === 1 ? range : list.op("Reshape", [range, list.integers(I64, [dims.length], dims)]);
}

/** A float constant of the given dtype, in 16 bits where that loses nothing. */
function floats(
  list: NodeList,
  values: Float32Array,
  dims: readonly number[],
  dtype: "F32" | "F16" | "BF16" | "F64",
): string {
  const { F32, F16, BF16 } = DATA_TYPE;
  const bytesOf = (array: Uint16Array | Float32Array): Segment[] =>
    rawData(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  const brief = dtype === "BF16" ? exactBfloat(values) : exactHalf(values);
  // A Cast costs about 40 bytes, so a short float32 constant stays one.
  if (brief && (dtype === "F16" || dtype === "BF16"))
    return list.constant(dtype === "F16" ? F16 : BF16, dims, bytesOf(brief));
  const short = brief && dtype !== "BF16" && values.length > 20;
  const constant = list.constant(short ? F16 : F32, dims, bytesOf(short ? brief : values));
  return dtype === "F32" && !short ? constant : list.op("Cast", [constant], { to: DATA_TYPE[dtype] });
}

/** Puts the nodes where the tensor was: an initializer's at the start of its graph, a Constant's in its place. Returns the bytes of a table that had to come along. */
function accept(
  { table, codes, nodes }: Decoding,
  { scope, node, name, start, end }: Constant,
  fixed: Edit[],
  bodies: Body[],
): number {
  const at = (within: Message, bytes: readonly Segment[]): Edit => ({
    within,
    start: within.start,
    end: within.start,
    bytes,
  });
  const within = scope.message;
  const isNew = table && !table.written;
  if (isNew) {
    table.written = true;
    fixed.push(at(table.scope.message, table.nodes));
  }
  if (node) bodies.push({ bytes: codes, edits: (data) => [{ within, start, end, bytes: nodes(data) }] });
  else {
    // Below IR version 4 every initializer is listed as an input.
    for (const field of [{ start, end }, scope.inputs.get(name)])
      if (field) fixed.push({ within, start: field.start, end: field.end, bytes: [] });
    bodies.push({ bytes: codes, edits: (data) => [at(within, nodes(data))] });
  }
  return isNew ? table.bytes : 0;
}
