// Whether a file may be a Caffe net: NetParameter has no signature, and ONNX and others are protobuf too.

/** NetParameter's fields by number, with the wire types they can have; input_dim (4) may be packed. */
const NET_WIRES: Readonly<Record<number, readonly number[]>> = {
  1: [2], 2: [2], 3: [2], 4: [0, 2], 5: [0], 6: [2], 7: [0], 8: [2], 100: [2],
}; // biome-ignore format: a table

/**
 * All fields that begin within the head must be a NetParameter's, and one of them must be no other format's:
 * a `name` (ONNX has the number `ir_version` there), a `layer`, a V1 layer (ONNX has a producer's name there),
 * numbers as `input_dim`.
 */
export function looksLikeCaffe(head: Uint8Array, byteLength: number): boolean {
  let isCaffe = false;
  for (const field of fields(head, 0, head.length)) {
    const { number, wire, payload, end } = field;
    if (!field.whole) break;
    if (!NET_WIRES[number]?.includes(wire)) return false;
    if (end > byteLength) return false;
    if (wire !== 2) isCaffe ||= number === 4;
    else if (number === 2) {
      if (!beginsV1Layer(head, payload, end)) return false;
      isCaffe = true;
    } else if (number === 1 || number === 3) {
      // A text; other formats (TensorFlow, Caffe2) nest messages here, whose tags and lengths are control characters.
      if (hasControl(head.subarray(payload, end))) return false;
      isCaffe ||= number === 1;
    } else if (number === 100) isCaffe = true;
  }
  return isCaffe;
}

/** Fields, not text: a layer begins with the lengths of short names, which are control characters. */
function beginsV1Layer(head: Uint8Array, start: number, end: number): boolean {
  for (const field of fields(head, start, Math.min(end, head.length))) {
    if (!field.whole) break;
    if (
      field.number < 1 ||
      field.wire === 1 ||
      field.wire === 3 ||
      field.wire === 4 ||
      field.wire > 5 ||
      field.end > end
    )
      return false;
  }
  return hasControl(head.subarray(start, end));
}

function hasControl(bytes: Uint8Array): boolean {
  return bytes.some((byte) => byte < 32);
}

interface HeadField {
  readonly number: number;
  readonly wire: number;
  readonly payload: number;
  /** May lie beyond the head. */
  readonly end: number;
  /** The head has the whole tag and value or length. */
  readonly whole: boolean;
}

function* fields(head: Uint8Array, start: number, stop: number): Generator<HeadField> {
  let at = start;
  let whole = true;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= stop) whole = false;
      if (!whole || scale > 2 ** 63) return value;
      const byte = head[at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < stop) {
    const tag = varint();
    const wire = tag % 8;
    const value = wire === 0 || wire === 2 ? varint() : 0;
    const payload = at;
    at += wire === 2 ? value : wire === 1 ? 8 : wire === 5 ? 4 : 0;
    yield { number: Math.floor(tag / 8), wire, payload, end: at, whole };
  }
}
