// The smallest models with something of everything, whose every byte is worth a flip.
import * as onnxFile from "../formats/onnx-fixture.ts";
import { bytesOf, type FixtureTensor, safetensorsFile } from "../formats/safetensors-fixture.ts";
import { Random } from "../kernels/random.ts";

const random = new Random(99);
const {
  attr,
  constant,
  f32: float,
  fn,
  graph,
  i64,
  len,
  model,
  node,
  tensor,
  toHalf,
  TYPE,
  value,
  varint,
  weights,
} = onnxFile;

/** About normal F32 weights. */
export function f32(name: string, shape: readonly number[]): FixtureTensor {
  return { name, dtype: "F32", shape, bytes: bytesOf(random.normals(shape.reduce((a, b) => a * b, 1))) };
}

export const RAW: Uint8Array<ArrayBuffer> = safetensorsFile(
  [
    f32("w", [6, 7]),
    { name: "i", dtype: "I16", shape: [3], bytes: random.bytes(6) },
    { name: "b", dtype: "BOOL", shape: [1], bytes: random.bytes(1) },
  ],
  { format: "pt" },
);

const W = weights(24);
export const ONNX: Uint8Array = model({
  ir: 8,
  graph: graph({
    nodes: [
      constant("k", float("", [3, 2], W.slice(0, 6))),
      node(
        "If",
        ["c"],
        ["z"],
        [
          attr.graph(
            "then_branch",
            graph({
              nodes: [node("Identity", ["w"], ["i"])],
              initializers: [float("s", [2, 2], W.slice(0, 4))],
              outputs: [],
            }),
          ),
        ],
      ),
      node("MatMul", ["x", "w"], ["y"]),
    ],
    initializers: [
      float("w", [4, 6], W),
      tensor("h", [2, 3], TYPE.F16, len(5, ...[...toHalf(W.slice(0, 6))].map(varint))),
      i64("n", [1, 2]),
    ],
    inputs: [value("x", TYPE.F32, ["n", 4])],
    outputs: [value("y", TYPE.F32, ["n", 6])],
  }),
  functions: [fn("local", "F", ["a"], ["b"], [constant("b", float("", [2], W.slice(0, 2)))])],
  domains: ["local"],
});
