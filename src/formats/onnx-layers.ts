// The layers of an ONNX graph that calibration can observe, and the model with their inputs as its outputs.
import type { Segment } from "../io/segment.ts";
import { type Layer, planLayer } from "./layer.ts";
import type { Node, Scope } from "./onnx-graph.ts";
import { isStandard } from "./onnx-graph.ts";
import type { OnnxState, Stored } from "./onnx-model.ts";
import { type Edit, lengthField, splice, textField } from "./protobuf.ts";

/** A layer of the main graph. */
export interface OnnxLayer extends Layer {
  /** The value that it reads. */
  readonly input: string;
  readonly node: Node;
}

/** GraphProto.output, a list of ValueInfoProto. */
const OUTPUT = 12;

/** Layers whose weight is a constant that one node alone reads. */
export function layersOf(state: OnnxState): OnnxLayer[] {
  const { main } = state.file;
  const weights = new Map<string, Stored>();
  for (const item of state.stored) {
    if (item.constant?.scope === main && item.entry) weights.set(item.constant.name, item);
  }
  const uses = countUses(state.file.scopes);
  const isLogits = logitsOf(main);
  return main.nodes.flatMap((node) => {
    const place = node.op === "Gather" ? 0 : 1;
    const weight = node.inputs[place] ?? "";
    const input = node.inputs[1 - place];
    const item = weights.get(weight);
    if (!input || !item || uses.get(weight) !== 1 || weights.has(input) || !isStandard(node.domain)) return [];
    const layer = layerOf(node, item);
    const logits = isLogits(node.outputs[0]);
    return layer ? [{ ...layer, input, node, ...(logits ? { logits } : {}) }] : [];
  });
}

// Operators that leave each value what it is, but for a constant; and those that make probabilities of them.
const KEEPS = new Set(["Add", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"]);
const PROBABILITIES = new Set(["Softmax", "LogSoftmax", "Sigmoid"]);
const HOPS = 8;

/** Whether a value becomes probabilities that the graph puts out, with nothing that calculates in between. */
function logitsOf({ nodes, outputs }: Scope): (value: string | undefined) => boolean {
  const readers = new Map<string, Node[]>();
  for (const node of nodes) for (const name of node.inputs) readers.set(name, [...(readers.get(name) ?? []), node]);
  return (value) => {
    let made = false;
    for (let hops = 0, name = value; name !== undefined && hops < HOPS; hops++) {
      if (outputs.has(name)) return made;
      const [next, another] = readers.get(name) ?? [];
      if (!next || another || !(KEEPS.has(next.op) || (!made && PROBABILITIES.has(next.op)))) return false;
      made ||= PROBABILITIES.has(next.op);
      name = next.outputs[0];
    }
    return false;
  };
}

/** How often each value is read, in all scopes. */
export function countUses(scopes: readonly Scope[]): Map<string, number> {
  const uses = new Map<string, number>();
  for (const { nodes } of scopes) {
    for (const { inputs } of nodes) for (const name of inputs) uses.set(name, (uses.get(name) ?? 0) + 1);
  }
  return uses;
}

function layerOf({ op, ints }: Node, { entry }: Stored): Layer | undefined {
  const { name, shape } = entry!;
  const attribute = (key: string): number => ints?.get(key)?.[0] ?? 0;
  try {
    if (op === "Conv" && shape.length > 2 && !ints?.has("auto_pad")) {
      const { group: [groups] = [1], strides, pads, dilations } = Object.fromEntries(ints ?? []);
      return planLayer(name, { shape, groups, strides, pads, dilations });
    }
    if (shape.length !== 2) return undefined;
    if (op === "Gather") return attribute("axis") === 0 ? planLayer(name, { shape, lookup: true }) : undefined;
    if (op !== "MatMul" && op !== "Gemm") return undefined;
    if (attribute("transA") === 1) return undefined;
    return planLayer(name, { shape, layout: attribute("transB") === 1 ? "outer" : "inner" });
  } catch (error) {
    // a geometry that is none: left alone
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The model with these values of the main graph as its outputs: a runtime leaves out what they do not need. */
export function exposing({ source, file }: OnnxState, names: Iterable<string>): Segment[] {
  const { message, outputs } = file.main;
  const wanted = new Set(names);
  const edits: Edit[] = [];
  for (const [name, { start, end }] of outputs) {
    if (!wanted.delete(name)) edits.push({ within: message, start, end, bytes: [] });
  }
  const bytes = [...wanted].flatMap((name) => lengthField(OUTPUT, textField(1, name)));
  return splice(source, [...edits, { within: message, start: message.end, end: message.end, bytes }]);
}
