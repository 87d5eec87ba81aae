// Branch: the part of Silero VAD that hears 16 kHz, as a model of its own, and what its layers read.
import { type Layer, planLayer } from "../../src/formats/layer.ts";
import { onnx } from "../../src/formats/onnx.ts";
import { byteSource } from "../../src/io/source.ts";

/** Fields of a protobuf message, each with the bytes that it was written in. */
function* fields(bytes: Uint8Array): Generator<{ number: number; all: Uint8Array; body: Uint8Array }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const start = at;
    const tag = varint();
    const wire = tag % 8;
    const length = wire === 0 ? varint() && 0 : wire === 2 ? varint() : wire === 1 ? 8 : 4;
    const body = bytes.subarray(at, at + length);
    at += length;
    yield { number: Math.floor(tag / 8), all: bytes.subarray(start, at), body };
  }
}

function body(bytes: Uint8Array, number: number): Uint8Array {
  for (const field of fields(bytes)) if (field.number === number) return field.body;
  return new Uint8Array();
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

// ModelProto.graph, GraphProto.node and .input, NodeProto.op_type and .attribute, AttributeProto.name and .g, names
const [GRAPH, NODE, INPUT, OP_TYPE, ATTRIBUTE, NAME, BODY] = [7, 1, 11, 4, 5, 1, 6];

/** The model whose graph is the branch that the first `If` takes where the rate is 16 kHz. */
export function branchModel(model: Uint8Array): Uint8Array<ArrayBuffer> {
  const main = body(model, GRAPH);
  const choice = [...fields(main)].find((f) => f.number === NODE && textOf(body(f.body, OP_TYPE)) === "If");
  if (!choice) throw new Error("the graph has no If node");
  const taken = [...fields(choice.body)].find(
    (f) => f.number === ATTRIBUTE && textOf(body(f.body, NAME)) === "then_branch",
  );
  if (!taken) throw new Error("the If node has no then_branch");
  const inputs = [...fields(main)].filter((f) => f.number === INPUT && textOf(body(f.body, NAME)) !== "sr");
  const graph = Buffer.concat([body(taken.body, BODY), ...inputs.map(({ all }) => all)]);
  const head: number[] = [GRAPH * 8 + 2];
  let rest = graph.length;
  for (; rest > 127; rest = Math.floor(rest / 128)) head.push((rest % 128) + 128);
  const others = [...fields(model)].filter(({ number }) => number !== GRAPH).map(({ all }) => all);
  return new Uint8Array(Buffer.concat([...others, Uint8Array.from([...head, rest]), graph]));
}

/** A layer and the value that it reads. */
export type Observed = Layer & { readonly input: string };

/** The layers to observe: convolutions, and the two products of the LSTM, of which one reads the state. */
export async function layersOf(branch: Uint8Array<ArrayBuffer>): Promise<Observed[]> {
  const model = await onnx().open(byteSource(branch), {});
  const recurrent = model.tensors.flatMap(({ name, shape }): Observed[] => {
    const prefix = /^(.*)decoder\.rnn\.weight_(ih|hh)$/.exec(name);
    if (!prefix) return [];
    const input = prefix[2] === "hh" ? "state" : `${prefix[1]}/decoder/If_output_0`;
    return [{ ...planLayer(name, { shape }), input }];
  });
  if (recurrent.length !== 2) throw new Error("the graph has no LSTM of the known form");
  return [...model.layers(), ...recurrent];
}
