// Models of the conformance suite: seeded weights and small safetensors, ONNX and Caffe files, the same bits on every engine.

/** Seeded values of about normal distribution, in -4 to 4; basic arithmetic only, so that engines agree. */
export function weights(count, seed = 1) {
  const out = new Float32Array(count);
  let state = seed >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < count; i++) out[i] = (next() + next() + next() + next() - 2) * 2;
  return out;
}

export const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

export function concat(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const ascii = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** The upper half of float32 bits: bfloat16, rounded towards zero. */
const toBf16 = (values) => new Uint16Array(new Uint32Array(values.buffer).map((bits) => bits >>> 16));

/** F32 in two and in four dimensions, BF16, a bias, integers of an odd size, and metadata. */
export function safetensorsModel() {
  const tensors = [
    ["embed.weight", "F32", [96, 64], weights(96 * 64, 2)],
    ["conv.weight", "F32", [32, 16, 3, 3], weights(32 * 16 * 9, 3)],
    ["head.weight", "BF16", [64, 96], toBf16(weights(64 * 96, 4))],
    ["head.bias", "F32", [64], weights(64, 5)],
    ["steps", "U8", [3], Uint8Array.of(1, 2, 3)],
  ];
  return safetensorsFile(tensors, { __metadata__: { format: "pt" } });
}

/** F32 tensors of these shapes. */
export function safetensorsOf(shapes) {
  const sized = Object.entries(shapes).map(([name, shape], i) => [
    name,
    "F32",
    shape,
    weights(
      shape.reduce((a, b) => a * b),
      100 + i,
    ),
  ]);
  return safetensorsFile(sized, {});
}

function safetensorsFile(tensors, header) {
  let offset = 0;
  for (const [name, dtype, shape, data] of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = JSON.stringify(header);
  const padded = ascii(json + " ".repeat(-json.length & 7));
  const size = new Uint8Array(8);
  new DataView(size.buffer).setUint32(0, padded.length, true);
  return concat([size, padded, ...tensors.map(([, , , data]) => bytesOf(data))]);
}

function varint(value) {
  const out = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  out.push(rest);
  return Uint8Array.from(out);
}

const number = (field, value) => concat([varint(field * 8), varint(value)]);
const message = (field, ...parts) => {
  const body = concat(parts);
  return concat([varint(field * 8 + 2), varint(body.length), body]);
};
const text = (field, value) => message(field, ascii(value));

/** x [1, 64] times w1, ReLU, times w2, plus b, gives y [1, 64]. */
export function onnxModel() {
  const initializer = (name, dims, values) =>
    message(5, ...dims.map((dim) => number(1, dim)), number(2, 1), text(8, name), message(9, bytesOf(values)));
  const node = (op, inputs, output) => message(1, ...inputs.map((name) => text(1, name)), text(2, output), text(4, op));
  const value = (field, name) =>
    message(
      field,
      text(1, name),
      message(2, message(1, number(1, 1), message(2, message(1, number(1, 1)), message(1, number(1, 64))))),
    );
  const graph = message(
    7,
    node("MatMul", ["x", "w1"], "h"),
    node("Relu", ["h"], "r"),
    node("MatMul", ["r", "w2"], "m"),
    node("Add", ["m", "b"], "y"),
    text(2, "g"),
    initializer("w1", [64, 96], weights(64 * 96, 6)),
    initializer("w2", [96, 64], weights(96 * 64, 7)),
    initializer("b", [64], weights(64, 8)),
    value(11, "x"),
    value(12, "y"),
  );
  return concat([number(1, 8), text(2, "conformance"), graph, message(8, text(1, ""), number(2, 13))]);
}

/** A convolution and an inner product, each with a bias. */
export function caffeModel() {
  const blob = (dims, values) => message(7, message(5, bytesOf(values)), message(7, message(1, ...dims.map(varint))));
  const layer = (name, type, ...blobs) =>
    message(100, text(1, name), text(2, type), text(3, "in"), text(4, name), ...blobs);
  return concat([
    text(1, "conformance"),
    layer("conv1", "Convolution", blob([32, 8, 3, 3], weights(32 * 8 * 9, 9)), blob([32], weights(32, 10))),
    layer("fc1", "InnerProduct", blob([64, 96], weights(64 * 96, 11)), blob([64], weights(64, 12))),
  ]);
}
