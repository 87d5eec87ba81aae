// An ONNX model's structure: scopes, nodes and constants as byte ranges, their payloads jumped over.
import { WlqError } from "../error.ts";
import type { ByteSource } from "../io/source.ts";
import { LENGTH, lengthTag, varintTag, WireReader } from "./protobuf.ts";
import type { Field, Message } from "./protobuf.ts";

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
  readonly start: number;
  readonly end: number;
  op: string;
  domain: string;
  readonly inputs: string[];
  readonly outputs: string[];
  /** The attributes that decide about axes: transA, transB, perm. */
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
  /** `start` to `end` is the whole field. */
  readonly inputs: { readonly name: string; readonly start: number; readonly end: number }[];
  readonly outputs: string[];
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
  return new Reader(source).file();
}

class Reader {
  readonly #wire: WireReader;
  readonly #scopes: Scope[] = [];
  readonly #others: TensorProto[] = [];
  #nodes = 0;
  #constants = 0;

  constructor(source: ByteSource) {
    this.#wire = new WireReader(source);
  }

  async file(): Promise<OnnxFile> {
    const { root } = this.#wire;
    let irVersion = 0;
    let main: Scope | undefined;
    let hasTraining = false;
    const opset = { opset: 1 };
    await this.#wire.walk(root, (field) => {
      switch (field.tag) {
        case varintTag(1):
          irVersion = field.value;
          return;
        case lengthTag(7):
          if (main) throw new WlqError("malformed", `ONNX: a second graph at byte ${field.start}, a model has one`);
          main = newScope(this.#wire.child(root, field));
          return this.#scope(main);
        case lengthTag(8):
          return this.#opset(this.#wire.child(root, field), opset);
        case lengthTag(20):
          hasTraining = true;
          return;
        case lengthTag(25):
          return this.#scope(newScope(this.#wire.child(root, field), undefined, true));
      }
    });
    if (!main) throw new WlqError("malformed", "ONNX: the file has no graph, a model has one");
    for (const scope of this.#scopes) {
      if (scope.parent) scope.opset = scope.parent.opset;
      else if (!scope.isFunction) scope.opset = opset.opset;
    }
    return { irVersion, main, scopes: this.#scopes, others: this.#others, hasTraining };
  }

  async #opset(message: Message, into: { opset: number }): Promise<void> {
    let domain = "";
    let version = 1;
    await this.#wire.walk(message, async (field) => {
      if (field.tag === lengthTag(1)) domain = await this.#wire.text(field);
      if (field.tag === varintTag(2)) version = field.value;
    });
    if (isStandard(domain)) into.opset = version;
  }

  /** A GraphProto or a FunctionProto: their field numbers differ. */
  async #scope(scope: Scope): Promise<void> {
    this.#scopes.push(scope);
    const wire = this.#wire;
    const { message } = scope;
    await wire.walk(message, scope.isFunction ? functionField.bind(this) : graphField.bind(this));

    function graphField(this: Reader, field: Field): Promise<void> | void {
      switch (field.tag) {
        case lengthTag(1):
          return this.#node(scope, field);
        case lengthTag(5):
          return this.#initializer(scope, field);
        case lengthTag(11):
          return this.#named(message, field).then((name) => void scope.inputs.push({ name, start: field.start, end: field.end }));
        case lengthTag(12):
          return this.#named(message, field).then((name) => void scope.outputs.push(name));
        case lengthTag(15):
          return this.#sparse(wire.child(message, field));
      }
    }

    function functionField(this: Reader, field: Field): Promise<void> | void {
      switch (field.tag) {
        case lengthTag(1):
          return wire.text(field).then((text) => void (scope.op = text));
        case lengthTag(4):
          return wire.text(field).then((name) => void scope.inputs.push({ name, start: field.start, end: field.end }));
        case lengthTag(5):
          return wire.text(field).then((name) => void scope.outputs.push(name));
        case lengthTag(7):
          return this.#node(scope, field);
        case lengthTag(9):
          return this.#opset(wire.child(message, field), scope);
        case lengthTag(10):
          return wire.text(field).then((text) => void (scope.domain = text));
      }
    }
  }

  /** The name of a ValueInfoProto. */
  async #named(parent: Message, field: Field): Promise<string> {
    let name = "";
    await this.#wire.walk(this.#wire.child(parent, field), async (inner) => {
      if (inner.tag === lengthTag(1)) name = await this.#wire.text(inner);
    });
    return name;
  }

  async #initializer(scope: Scope, field: Field): Promise<void> {
    const tensor = await this.#tensor(this.#wire.child(scope.message, field));
    scope.constants.push({ scope, name: tensor.name, tensor, start: field.start, end: field.end });
  }

  async #node(scope: Scope, field: Field): Promise<void> {
    if (++this.#nodes > ONNX_LIMITS.nodes) throw new WlqError("limit", `ONNX: more than ${ONNX_LIMITS.nodes} nodes`);
    const wire = this.#wire;
    const message = wire.child(scope.message, field);
    const node: Node = { scope, start: field.start, end: field.end, op: "", domain: "", inputs: [], outputs: [] };
    let value: TensorProto | undefined;
    await wire.walk(message, async (inner) => {
      if (inner.wire !== LENGTH) return;
      if (inner.number === 1) node.inputs.push(await wire.text(inner));
      else if (inner.number === 2) node.outputs.push(await wire.text(inner));
      else if (inner.number === 4) node.op = await wire.text(inner);
      else if (inner.number === 7) node.domain = await wire.text(inner);
      else if (inner.number === 5) value = (await this.#attribute(node, wire.child(message, inner))) ?? value;
    });
    scope.nodes.push(node);
    if (!value) return;
    // An attribute may come before the operator's name, so it is known only now which tensors are constants.
    const name = node.outputs[0];
    if (node.op === "Constant" && isStandard(node.domain) && name) {
      scope.constants.push({ scope, name, tensor: value, node, start: field.start, end: field.end });
    } else this.#others.push(value);
  }

  /** Reads an attribute, nested graphs included; returns the tensor of one that is called `value`. */
  async #attribute(node: Node, message: Message): Promise<TensorProto | undefined> {
    const wire = this.#wire;
    let name = "";
    let value: TensorProto | undefined;
    const ints: number[] = [];
    await wire.walk(message, (field) => {
      switch (field.tag) {
        case lengthTag(1):
          return wire.text(field).then((text) => void (name = text));
        case varintTag(3):
          ints.push(field.value);
          return;
        case lengthTag(5):
          return this.#tensor(wire.child(message, field)).then((tensor) => void (value = tensor));
        case lengthTag(6):
        case lengthTag(11):
          return this.#scope(newScope(wire.child(message, field), node.scope));
        case varintTag(8):
        case lengthTag(8):
          if (name === "perm") return wire.integers(field, ints, ONNX_LIMITS.rank);
          return;
        case lengthTag(10):
          return this.#tensor(wire.child(message, field)).then((tensor) => void this.#others.push(tensor));
        case lengthTag(22):
        case lengthTag(23):
          return this.#sparse(wire.child(message, field));
      }
    });
    if (name === "transA" || name === "transB" || name === "perm") (node.ints ??= new Map()).set(name, ints);
    if (name === "value") return value;
    if (value) this.#others.push(value);
    return undefined;
  }

  async #sparse(message: Message): Promise<void> {
    await this.#wire.walk(message, async (field) => {
      if (field.tag === lengthTag(1) || field.tag === lengthTag(2)) this.#others.push(await this.#tensor(this.#wire.child(message, field)));
    });
  }

  async #tensor(message: Message): Promise<TensorProto> {
    if (++this.#constants > ONNX_LIMITS.constants) {
      throw new WlqError("limit", `ONNX: more than ${ONNX_LIMITS.constants} constant tensors`);
    }
    const wire = this.#wire;
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
      switch (field.number) {
        case 1:
          if (field.wire === LENGTH || field.wire === 0) return wire.integers(field, tensor.dims, ONNX_LIMITS.rank);
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
          if (field.wire === LENGTH) return wire.text(field).then((text) => void (tensor.name = text));
          return;
        case 13:
          tensor.externalFields.push(field);
          if (field.wire === LENGTH) return this.#externalEntry(wire.child(message, field), tensor.external);
          return;
        case 14:
          tensor.externalFields.push(field);
          tensor.isExternal = field.value === 1;
      }
    });
    return tensor;
  }

  async #externalEntry(message: Message, into: Map<string, string>): Promise<void> {
    let key = "";
    let value = "";
    await this.#wire.walk(message, async (field) => {
      if (field.tag === lengthTag(1)) key = await this.#wire.text(field);
      if (field.tag === lengthTag(2)) value = await this.#wire.text(field);
    });
    into.set(key, value);
  }
}

/** Unpacked elements come as a field each: they are kept as one run, so a long tensor stays one record. */
function addPiece(pieces: Piece[], field: Field): void {
  const last = pieces.at(-1);
  if (last && field.wire !== LENGTH && last.number === field.number && last.wire === field.wire && last.end === field.start) {
    last.end = field.end;
    last.count++;
  } else {
    pieces.push({ number: field.number, wire: field.wire, start: field.start, payload: field.payload, end: field.end, count: 1 });
  }
}

function newScope(message: Message, parent?: Scope, isFunction: boolean = false): Scope {
  return { message, parent, isFunction, nodes: [], constants: [], inputs: [], outputs: [], opset: 1, op: "", domain: "" };
}

export function isStandard(domain: string): boolean {
  return domain === "" || domain === "ai.onnx";
}
