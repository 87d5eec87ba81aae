// An ONNX model's structure: scopes, nodes and constants as byte ranges, their payloads jumped over.
import { WlqError } from "../error.ts";
import type { ByteSource } from "../io/source.ts";
import type { Field, Message } from "./protobuf.ts";
import { LENGTH, lengthTag, VARINT, varintTag, WireReader } from "./protobuf.ts";

/** Attributes that are kept; of `auto_pad` only whether it says something. */
const INTEGERS = new Set(["transA", "transB", "perm", "group", "strides", "pads", "dilations", "auto_pad", "axis"]);

/** What an ONNX file may make us keep in memory. */
export const ONNX_LIMITS: Readonly<Record<"nodes" | "constants" | "rank", number>> = {
  /** Nodes in all scopes; exports of unrolled language models have about 100 000. */
  nodes: 1 << 18,
  /** Constants in all scopes. */
  constants: 1 << 18,
  /** Dimensions of a tensor and axes of a permutation; numpy allows 64. */
  rank: 64,
};

/** One stretch of a TensorProto's payload: a length-delimited field, or a run of unpacked elements. */
export interface Piece {
  readonly number: number;
  readonly wire: number;
  readonly start: number;
  readonly payload: number;
  end: number;
  /** Fields in the run. */
  count: number;
}

/** A TensorProto. */
export interface TensorProto {
  readonly message: Message;
  name: string;
  dims: number[];
  dataType: number;
  /** The data fields, whichever they are: raw_data, float_data … */
  readonly pieces: Piece[];
  /** `external_data`: location, offset, length … */
  readonly external: Map<string, string>;
  /** Where the fields `external_data` and `data_location` lie. */
  readonly externalFields: { readonly start: number; readonly end: number }[];
  isExternal: boolean;
}

export interface Node {
  readonly scope: Scope;
  readonly message: Message;
  readonly start: number;
  readonly end: number;
  op: string;
  domain: string;
  readonly inputs: string[];
  readonly outputs: string[];
  /** The field of the first output's name. */
  output?: { readonly start: number; readonly end: number };
  /** Integer attributes that say how a weight is used: axes, and a convolution's geometry. */
  ints?: Map<string, readonly number[]>;
}

/** A TensorProto that gives a value its name: an initializer, or a node `Constant`. */
export interface Constant {
  readonly scope: Scope;
  /** The name of the value. */
  readonly name: string;
  readonly tensor: TensorProto;
  /** Absent for an initializer. */
  readonly node?: Node;
  /** The whole field, initializer or node, within `scope.message`. */
  readonly start: number;
  readonly end: number;
}

/** A graph, or the body of a model-local function: names are looked up in it, then in the scope around it. */
export interface Scope {
  readonly message: Message;
  readonly parent?: Scope;
  readonly isFunction: boolean;
  readonly nodes: Node[];
  readonly constants: Constant[];
  /** By name, in order; `start` to `end` is the whole field. */
  readonly inputs: Map<string, { readonly start: number; readonly end: number }>;
  /** Of a graph, by name; `start` to `end` is the whole field. */
  readonly outputs: Map<string, { readonly start: number; readonly end: number }>;
  /** Version of the standard operators; 1 when nothing is imported. */
  opset: number;
  /** Of a function: what nodes call it. */
  op: string;
  domain: string;
}

export interface OnnxFile {
  readonly irVersion: number;
  readonly main: Scope;
  /** All scopes, in file order of their beginnings. */
  readonly scopes: readonly Scope[];
  /** Tensors that are not constants (attributes of other nodes, sparse tensors): of interest only when their data is external. */
  readonly others: readonly TensorProto[];
  /** Whether graphs for training follow, which may refer to initializers by name. */
  readonly hasTraining: boolean;
}

/** Reads the structure of a model. */
export async function readOnnx(source: ByteSource): Promise<OnnxFile> {
  const wire = new WireReader(source);
  const scopes: Scope[] = [];
  const others: TensorProto[] = [];
  const counts = { nodes: 0, constants: 0 };
  let irVersion = 0;
  let opset = 1;
  let main: Scope | undefined;
  let hasTraining = false;

  await wire.walk(wire.root, (field) => {
    switch (field.tag) {
      case varintTag(1):
        irVersion = field.value;
        return;
      case lengthTag(7):
        if (main) throw new WlqError("malformed", `ONNX: a second graph at byte ${field.start}, a model has one`);
        main = newScope(wire.child(wire.root, field));
        return readScope(main);
      case lengthTag(8):
        return readOpset(wire.root, field, (version) => (opset = version));
      case lengthTag(20):
        hasTraining = true;
        return;
      case lengthTag(25):
        return readScope(newScope(wire.child(wire.root, field), undefined, true));
    }
  });
  if (!main) throw new WlqError("malformed", "ONNX: the file has no graph, a model has one");
  for (const scope of scopes) {
    if (scope.parent) scope.opset = scope.parent.opset;
    else if (!scope.isFunction) scope.opset = opset;
  }
  return { irVersion, main, scopes, others, hasTraining };

  function countOne(what: keyof typeof counts): void {
    if (++counts[what] > ONNX_LIMITS[what]) throw new WlqError("limit", `ONNX: more than ${ONNX_LIMITS[what]} ${what}`);
  }

  /** Field 1 of a message, a name or key, and the text of field 2 where `withValue`. */
  async function readTexts(parent: Message, field: Field, withValue?: boolean): Promise<[string, string]> {
    const texts: [string, string] = ["", ""];
    await wire.walk(wire.child(parent, field), async (inner) => {
      if (inner.tag === lengthTag(1)) texts[0] = await wire.text(inner);
      if (withValue && inner.tag === lengthTag(2)) texts[1] = await wire.text(inner);
    });
    return texts;
  }

  async function readOpset(parent: Message, field: Field, found: (version: number) => void): Promise<void> {
    let version = 1;
    const [domain] = await readTexts(parent, field);
    await wire.walk(wire.child(parent, field), (inner) => {
      if (inner.tag === varintTag(2)) version = inner.value;
    });
    if (isStandard(domain)) found(version);
  }

  /** A GraphProto or a FunctionProto: their field numbers differ. */
  async function readScope(scope: Scope): Promise<void> {
    scopes.push(scope);
    const { message, isFunction } = scope;
    await wire.walk(message, async (field) => {
      const { tag, start, end } = field;
      if (tag === lengthTag(isFunction ? 7 : 1)) await readNode(scope, field);
      else if (isFunction) {
        if (tag === lengthTag(1)) scope.op = await wire.text(field);
        else if (tag === lengthTag(4)) scope.inputs.set(await wire.text(field), field);
        else if (tag === lengthTag(9)) await readOpset(message, field, (version) => (scope.opset = version));
        else if (tag === lengthTag(10)) scope.domain = await wire.text(field);
      } else if (tag === lengthTag(5)) {
        const tensor = await readTensor(message, field);
        scope.constants.push({ scope, name: tensor.name, tensor, start, end });
      } else if (tag === lengthTag(11)) scope.inputs.set((await readTexts(message, field))[0], field);
      else if (tag === lengthTag(12)) scope.outputs.set((await readTexts(message, field))[0], field);
      else if (tag === lengthTag(15)) await readSparse(message, field);
    });
  }

  async function readNode(scope: Scope, field: Field): Promise<void> {
    countOne("nodes");
    const { start, end } = field;
    const message = wire.child(scope.message, field);
    const node: Node = { scope, message, start, end, op: "", domain: "", inputs: [], outputs: [] };
    let value: TensorProto | undefined;
    await wire.walk(message, async (inner) => {
      if (inner.wire !== LENGTH) return;
      if (inner.number === 1) node.inputs.push(await wire.text(inner));
      else if (inner.number === 2) readOutput(node, inner, await wire.text(inner));
      else if (inner.number === 4) node.op = await wire.text(inner);
      else if (inner.number === 7) node.domain = await wire.text(inner);
      else if (inner.number === 5) value = (await readAttribute(node, wire.child(message, inner))) ?? value;
    });
    scope.nodes.push(node);
    if (!value) return;
    // An attribute may come before the operator's name, so it is known only now which tensors are constants.
    const name = node.outputs[0];
    if (node.op === "Constant" && isStandard(node.domain) && name)
      scope.constants.push({ scope, name, tensor: value, node, start, end });
    else others.push(value);
  }

  /** Reads an attribute, nested graphs included; returns the tensor of one that is called `value`. */
  async function readAttribute(node: Node, message: Message): Promise<TensorProto | undefined> {
    let name = "";
    let value: TensorProto | undefined;
    const ints: number[] = [];
    await wire.walk(message, async (field) => {
      const { tag, number } = field;
      if (tag === lengthTag(1)) name = await wire.text(field);
      else if (tag === varintTag(3)) ints.push(field.value);
      else if (number === 8 && INTEGERS.has(name)) await wire.integers(field, ints, ONNX_LIMITS.rank);
      else if (tag === lengthTag(4) && name === "auto_pad" && (await wire.text(field)) !== "NOTSET") ints.push(1);
      else if (field.wire !== LENGTH) return;
      else if (number === 5) value = await readTensor(message, field);
      else if (number === 6 || number === 11) await readScope(newScope(wire.child(message, field), node.scope));
      else if (number === 10) others.push(await readTensor(message, field));
      else if (number === 22 || number === 23) await readSparse(message, field);
    });
    if (INTEGERS.has(name)) {
      node.ints ??= new Map();
      node.ints.set(name, ints);
    }
    if (name === "value") return value;
    if (value) others.push(value);
    return undefined;
  }

  async function readSparse(parent: Message, field: Field): Promise<void> {
    const message = wire.child(parent, field);
    await wire.walk(message, async (inner) => {
      if (inner.tag === lengthTag(1) || inner.tag === lengthTag(2)) others.push(await readTensor(message, inner));
    });
  }

  async function readTensor(parent: Message, of: Field): Promise<TensorProto> {
    countOne("constants");
    const message = wire.child(parent, of);
    const tensor: TensorProto = {
      message,
      name: "",
      dims: [],
      dataType: 0,
      pieces: [],
      external: new Map(),
      externalFields: [],
      isExternal: false,
    };
    await wire.walk(message, (field) => {
      const isText = field.wire === LENGTH;
      switch (field.number) {
        case 1:
          if (isText || field.wire === VARINT) return wire.integers(field, tensor.dims, ONNX_LIMITS.rank);
          return;
        case 2:
          tensor.dataType = field.value;
          return;
        case 4: // float_data
        case 5: // int32_data
        case 6: // string_data
        case 7: // int64_data
        case 9: // raw_data
        case 10: // double_data
        case 11: // uint64_data
          addPiece(tensor.pieces, field);
          return;
        case 8:
          if (isText) return nameTensor(tensor, field);
          return;
        case 13:
          tensor.externalFields.push(field);
          if (isText)
            return readTexts(message, field, true).then(([key, value]) => void tensor.external.set(key, value));
          return;
        case 14:
          tensor.externalFields.push(field);
          tensor.isExternal = field.value === 1;
      }
    });
    return tensor;
  }

  async function nameTensor(tensor: TensorProto, field: Field): Promise<void> {
    tensor.name = await wire.text(field);
  }
}

function readOutput(node: Node, field: Field, name: string): void {
  node.output ??= field;
  node.outputs.push(name);
}

/** Unpacked elements come as a field each: they are kept as one run, so a long tensor stays one record. */
function addPiece(pieces: Piece[], field: Field): void {
  const last = pieces.at(-1);
  if (
    last &&
    field.wire !== LENGTH &&
    last.number === field.number &&
    last.wire === field.wire &&
    last.end === field.start
  ) {
    last.end = field.end;
    last.count++;
  } else {
    pieces.push({
      number: field.number,
      wire: field.wire,
      start: field.start,
      payload: field.payload,
      end: field.end,
      count: 1,
    });
  }
}

function newScope(message: Message, parent?: Scope, isFunction: boolean = false): Scope {
  const lists = { nodes: [], constants: [], inputs: new Map(), outputs: new Map() };
  return { message, parent, isFunction, ...lists, opset: 1, op: "", domain: "" };
}

export function isStandard(domain: string): boolean {
  return domain === "" || domain === "ai.onnx";
}
