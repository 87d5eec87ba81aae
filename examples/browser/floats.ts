// Elements of a tensor's stream as numbers, whatever float type they have.
import type { TensorStream } from "wlq";

/** Float16 bits to a number. */
export function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -size : size;
}

/** The elements, piece by piece; a piece of the stream may end in the middle of one. */
export async function* floats({ dtype, body }: TensorStream): AsyncGenerator<ArrayLike<number> & Iterable<number>> {
  const width = dtype === "F64" ? 8 : dtype === "F32" ? 4 : 2;
  let rest = new Uint8Array(0);
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const bytes = new Uint8Array(rest.length + value.length);
    bytes.set(rest);
    bytes.set(value, rest.length);
    const count = Math.floor(bytes.length / width);
    rest = bytes.slice(count * width);
    if (dtype === "F64") yield new Float64Array(bytes.buffer, 0, count);
    else if (dtype === "F32") yield new Float32Array(bytes.buffer, 0, count);
    else if (dtype === "F16") yield Array.from(new Uint16Array(bytes.buffer, 0, count), fromHalf);
    // bfloat16 is the upper half of a float32
    else yield new Float32Array(Uint32Array.from(new Uint16Array(bytes.buffer, 0, count), (bits) => bits << 16).buffer);
  }
}
