// `--to onnx`: coded tensors become nodes that decode them, so that any ONNX runtime runs the smaller file.
import { copySegment, segmentsByteLength } from "../io/segment.ts";
import type { Segment } from "../io/segment.ts";
import { countElements } from "../tensor.ts";
import type { CodedTensor, InGraph, TensorEntry } from "./format.ts";
import type { Constant, OnnxFile, Scope } from "./onnx-graph.ts";
import { checkNames, isOverridable, missing, movable } from "./onnx-model.ts";
import type { OnnxState, Stored } from "./onnx-model.ts";
import { DATA_TYPE, exactBfloat, exactHalf, NodeList } from "./onnx-nodes.ts";
import { onnxError } from "./onnx-payload.ts";
import { digitTable, packedSegment, packings } from "./onnx-pack.ts";
import type { Packing } from "./onnx-pack.ts";
import { assemble, rawData, tensorBody } from "./onnx-write.ts";
import type { Body } from "./onnx-write.ts";
import type { Edit } from "./protobuf.ts";

/** Reshape and Constant are usable from 7 on; from 9 on Cast and Gather take all that is needed. */
const LEAST_OPSET = 9;

/**
 * Writes an ONNX model in which every coded tensor is decoded by standard operators.
 *
 * @param coded tensors by name
 * @param payloads dense payloads for tensors that are not coded or are `left`; without one they keep their own
 * @throws WlqError `unsupported` below opset 9; `not-found` for an unknown tensor, or one whose payload a skeleton lacks
 */
export function inGraph(state: OnnxState, coded: ReadonlyMap<string, CodedTensor>, payloads: ReadonlyMap<string, Segment>): InGraph {
  checkNames(state, coded.keys());
  checkNames(state, payloads.keys(), payloads);
  const fresh = freshNames(state.file);
  const tables = new Map<Scope, Map<number, string>>();
  const fixed: Edit[] = [];
  const bodies: Body[] = [];
  const taken = new Set<Stored>();
  const left: string[] = [];
  const bytes = new Map<string, number>();
  for (const item of state.stored) {
    const { entry, constant, payload } = item;
    const codedTensor = entry && coded.get(entry.name);
    if (entry && constant && codedTensor) {
      const decoding = decode(state.file, constant, entry, codedTensor, fresh, tables);
      const bytesNow = constant.end - constant.start + (payload && !payload.at ? 0 : entry.byteLength);
      if (decoding && decoding.bytes < bytesNow) {
        taken.add(item);
        bytes.set(entry.name, decoding.bytes);
        accept(decoding, constant, tables, fixed, bodies);
        continue;
      }
      left.push(entry.name);
    }
    const given = entry && payloads.get(entry.name);
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
  let prefix = "wlq/";
  const clashes = (name: string): boolean => name.startsWith(prefix);
  const anyClash = ({ constants, inputs, nodes }: Scope): boolean =>
    constants.some(({ name }) => clashes(name)) ||
    [...inputs.keys()].some(clashes) ||
    nodes.some((node) => node.inputs.some(clashes) || node.outputs.some(clashes));
  for (let n = 1; scopes.some(anyClash); n++) prefix = `wlq${n}/`;
  let count = 0;
  return () => prefix + (count++).toString(36);
}

/** Nodes for one tensor. */
interface Decoding {
  readonly bytes: number;
  readonly codes: Segment;
  /** The nodes, given the TensorProto fields with the codes. */
  nodes(data: readonly Segment[]): Segment[];
  /** A digit table that is not in the model yet. */
  readonly table?: { readonly scope: Scope; readonly levels: number; readonly name: string; readonly nodes: readonly Segment[] };
}

/** The smallest way to decode the tensor; undefined where none is possible. */
function decode(
  file: OnnxFile,
  constant: Constant,
  entry: TensorEntry,
  given: CodedTensor,
  fresh: () => string,
  tables: ReadonlyMap<Scope, ReadonlyMap<number, string>>,
): Decoding | undefined {
  const { scope } = constant;
  const count = checkCoded(entry, given);
  const coded = given.levels === 1 ? twoLevels(given) : given;
  if (scope.opset < LEAST_OPSET) {
    throw onnxError("unsupported", entry.name, `decoding in the graph takes opset ${LEAST_OPSET}, the model has ${scope.opset}`);
  }
  // A node's output may not have an input's name; training graphs refer to initializers; bfloat16 came with opset 13.
  if (isOverridable(file, constant) || (file.hasTraining && !constant.node) || (entry.dtype === "BF16" && scope.opset < 13)) return undefined;
  let best: Decoding | undefined;
  for (const packing of packings(coded.levels)) {
    const candidate = decodeWith(packing, constant, entry, coded, count, fresh, tables);
    if (!best || candidate.bytes < best.bytes) best = candidate;
  }
  return best;
}

/** Checks a coded tensor against its entry; returns the number of weights. */
function checkCoded({ name, shape }: TensorEntry, { levels, granularity, axis, groupSize, codebook, scale, codes }: CodedTensor): number {
  const count = countElements(shape, name);
  const groups = (by: string): number => (by === "channel" ? (shape[axis] ?? NaN) : by === "group" ? Math.ceil(count / groupSize) : 1);
  const check = (what: string, got: number, want: number): void => {
    if (got !== want) throw new RangeError(`tensor "${name}": ${what} has ${got} entries, ${want} are wanted`);
  };
  if (!(levels >= 1 && levels <= 256)) throw new RangeError(`tensor "${name}": levels is ${levels}, 1 to 256 are possible`);
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
  fresh: () => string,
  tables: ReadonlyMap<Scope, ReadonlyMap<number, string>>,
): Decoding {
  const { I32, I64 } = DATA_TYPE;
  const number = scope.isFunction ? 7 : 1;
  const inGroups = granularity === "group" || scale?.per === "group";
  const group = Math.min(groupSize, count);
  const grid = inGroups ? [Math.ceil(count / group), group] : [];
  const units = Math.ceil((inGroups ? grid[0]! * group : count) / packing.codes);
  const bytes = packing.unitBytes === 1;

  const packed = fresh();
  const list = new NodeList(fresh);
  let table: Decoding["table"];
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
      // The table of digits is shared by all tensors of as many levels; seen through the codebook it is the product table.
      let owner = scope;
      while (owner.parent) owner = owner.parent;
      let digits = tables.get(owner)?.get(packing.levels);
      if (digits === undefined) {
        const shared = new NodeList(fresh);
        const rows = packing.levels ** packing.codes;
        digits = shared.op("Cast", [shared.constant(DATA_TYPE.U8, [rows, packing.codes], rawData(digitTable(packing)))], { to: I32 });
        table = { scope: owner, levels: packing.levels, name: digits, nodes: shared.encode(owner.isFunction ? 7 : 1) };
      }
      at = list.op("Gather", [direct ? list.op("Gather", [values, digits]) : digits, at]);
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
  const size = segmentsByteLength(nodes(rawData(packedCodes))) + segmentsByteLength(table?.nodes ?? []);
  return { bytes: size, codes: packedCodes, nodes, table };
}

function product(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

/** Where each channel's or group's values begin in the flat codebook: 0, levels, 2 * levels … */
function offsets(list: NodeList, opset: number, dims: readonly number[], levels: number): string {
  const { I32, I64 } = DATA_TYPE;
  const many = dims[0] ?? 1;
  // A constant takes up to 3 bytes an offset, Range (from opset 11) and its inputs about 150 in all.
  if (opset < 11 || many < 80) return list.integers(I32, dims, Array.from({ length: many }, (_, i) => i * levels));
  const range = list.op("Range", [0, many * levels, levels].map((value) => list.integers(I32, [], [value])));
  return dims.length === 1 ? range : list.op("Reshape", [range, list.integers(I64, [dims.length], dims)]);
}

/** A float constant of the given dtype, in 16 bits where that loses nothing. */
function floats(list: NodeList, values: Float32Array, dims: readonly number[], dtype: "F32" | "F16" | "BF16" | "F64"): string {
  const { F32, F16, BF16 } = DATA_TYPE;
  const bytesOf = (array: Uint16Array | Float32Array): Segment[] =>
    rawData(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  const brief = dtype === "BF16" ? exactBfloat(values) : exactHalf(values);
  // A Cast costs about 40 bytes, so a short float32 constant stays one.
  if (brief && (dtype === "F16" || dtype === "BF16")) return list.constant(dtype === "F16" ? F16 : BF16, dims, bytesOf(brief));
  const short = brief && dtype !== "BF16" && values.length > 20;
  const constant = list.constant(short ? F16 : F32, dims, bytesOf(short ? brief : values));
  return dtype === "F32" && !short ? constant : list.op("Cast", [constant], { to: DATA_TYPE[dtype] });
}

/** Puts the nodes where the tensor was: an initializer's at the start of its graph, a Constant's in its place. */
function accept(
  { table, codes, nodes }: Decoding,
  { scope, node, name, start, end }: Constant,
  tables: Map<Scope, Map<number, string>>,
  fixed: Edit[],
  bodies: Body[],
): void {
  if (table) {
    const known = tables.get(table.scope) ?? new Map<number, string>();
    tables.set(table.scope, known.set(table.levels, table.name));
    const first = table.scope.message.start;
    fixed.push({ within: table.scope.message, start: first, end: first, bytes: table.nodes });
  }
  const within = scope.message;
  if (node) {
    bodies.push({ bytes: codes, edits: (data) => [{ within, start, end, bytes: nodes(data) }] });
    return;
  }
  fixed.push({ within, start, end, bytes: [] });
  // Below IR version 4 every initializer is listed as an input.
  const input = scope.inputs.get(name);
  if (input) fixed.push({ within, start: input.start, end: input.end, bytes: [] });
  const first = within.start;
  bodies.push({ bytes: codes, edits: (data) => [{ within, start: first, end: first, bytes: nodes(data) }] });
}
