// What an ONNX constant is for: a weight and its output-channel axis, part of an already quantized model, or neither.
import type { Constant, Node, OnnxFile, Scope } from "./onnx-graph.ts";

/** What the nodes that use a constant make of it. */
export interface Role {
  /** Feeds a weight-like input. */
  readonly weight: boolean;
  /** Axis of the output channels. */
  readonly axis: number;
  /** The operator of an already quantized model that it feeds. */
  readonly quantizedBy?: string;
}

interface Use {
  readonly node: Node;
  readonly index: number;
}

/** Operators that pass their first input on, perhaps bent; how far a constant is followed through them. */
const PASSES = new Set([
  "Identity",
  "Transpose",
  "Reshape",
  "Cast",
  "Unsqueeze",
  "Squeeze",
  "Slice",
  "Split",
  "Concat",
]);
const FOLLOW = 8;

/** How many uses are looked at behind those operators, for one constant: many constants may share a long chain. */
const FOLLOWED_USES = 256;

/** Operators of quantized models, the standard ones and onnxruntime's. */
const QUANTIZED = /[Qq]uantize|Integer|NBits|Bnb4|^Q(Linear|Ordered|Attention|Embed|Gemm|MoE)/;

/** Finds the uses of every value once, then answers for each constant. */
export class Roles {
  /** How many nodes of each quantized operator there are. */
  readonly quantized: Map<string, number> = new Map();
  readonly #uses: Map<Scope, Map<string, Use[]>> = new Map();
  readonly #functions: Map<string, { readonly body: Scope; readonly parameters: readonly string[] }> = new Map();
  #budget = 0;

  constructor(file: OnnxFile) {
    for (const scope of file.scopes) {
      const uses = new Map<string, Use[]>();
      this.#uses.set(scope, uses);
      const parameters = [...scope.inputs.keys()];
      if (scope.isFunction) this.#functions.set(`${scope.domain}:${scope.op}`, { body: scope, parameters });
      for (const name of parameters) uses.set(name, []);
      for (const { name } of scope.constants) uses.set(name, []);
      for (const { op, outputs } of scope.nodes) {
        for (const name of outputs) uses.set(name, []);
        if (QUANTIZED.test(op)) this.quantized.set(op, (this.quantized.get(op) ?? 0) + 1);
      }
    }
    for (const scope of file.scopes) {
      for (const node of scope.nodes) {
        for (let index = 0; index < node.inputs.length; index++)
          this.#find(scope, node.inputs[index]!)?.push({ node, index });
      }
    }
  }

  #find(scope: Scope | undefined, name: string): Use[] | undefined {
    for (; scope; scope = scope.parent) {
      const uses = this.#uses.get(scope)!.get(name);
      if (uses) return uses;
    }
    return undefined;
  }

  of({ scope, name, tensor }: Constant): Role {
    const rank = tensor.dims.length;
    this.#budget = FOLLOWED_USES;
    const role = this.#follow(scope, name, rank, FOLLOW, new Set()) ?? { weight: false, axis: 0 };
    return { ...role, axis: Math.min(Math.max(role.axis, 0), Math.max(rank - 1, 0)) };
  }

  /** The most telling role among the uses: quantized, then weight; undefined when there is neither. */
  #follow(scope: Scope, name: string, rank: number, hops: number, seen: Set<Use[]>): Role | undefined {
    const uses = this.#find(scope, name);
    if (!uses || hops === 0 || seen.has(uses)) return undefined;
    seen.add(uses);
    let best: Role | undefined;
    for (const { node, index } of uses) {
      if (hops < FOLLOW && this.#budget-- <= 0) break;
      const role = this.#use(node, index, rank, hops, seen);
      if (role?.quantizedBy) return role;
      best ??= role;
    }
    return best;
  }

  #use(node: Node, index: number, rank: number, hops: number, seen: Set<Use[]>): Role | undefined {
    if (QUANTIZED.test(node.op)) return { weight: false, axis: 0, quantizedBy: node.op };
    const called = this.#functions.get(`${node.domain}:${node.op}`);
    if (called) return this.#follow(called.body, called.parameters[index] ?? "", rank, hops - 1, seen);
    if (PASSES.has(node.op) && (index === 0 || node.op === "Concat")) {
      for (const output of node.outputs) {
        const role = this.#follow(node.scope, output, rank, hops - 1, seen);
        if (role && node.op === "Transpose") {
          const perm = node.ints?.get("perm");
          return { ...role, axis: (perm?.length === rank ? perm[role.axis] : rank - 1 - role.axis) ?? 0 };
        }
        if (role) return role;
      }
      return undefined;
    }
    const axis = weightAxis(node, index, rank);
    return axis === undefined || rank < 2 ? undefined : { weight: true, axis };
  }
}

/** The output-channel axis when input `index` of the operator is a weight, else undefined. */
function weightAxis({ op, ints }: Node, index: number, rank: number): number | undefined {
  switch (op) {
    case "Conv":
    case "FusedConv":
    case "DeformConv":
      return index === 1 ? 0 : undefined;
    case "ConvTranspose":
      return index === 1 ? 1 : undefined;
    case "MatMul":
    case "FusedMatMul": // its transposes: transA and transB as in Gemm
    case "Gemm":
    case "FusedGemm": {
      if (index > 1) return undefined;
      const transposed = ints?.get(index === 0 ? "transA" : "transB")?.[0] === 1;
      return (index === 0) === transposed ? rank - 1 : rank - 2;
    }
    case "Gather":
      return index === 0 ? 0 : undefined;
    case "LSTM":
    case "GRU":
    case "RNN":
      // [directions, gates * hidden, in]; often a matrix that gets its first axis on the way.
      return index === 1 || index === 2 ? rank - 2 : undefined;
    case "Attention":
    case "PackedAttention":
    case "LongformerAttention":
      return index === 1 ? rank - 1 : undefined;
    case "EmbedLayerNormalization":
      return index >= 2 && index <= 4 ? 0 : undefined;
    case "Einsum":
      return 0;
    default:
      return undefined;
  }
}
