// A safetensors writer for fixtures, which also writes what the rules forbid.

/** One tensor with its bytes. */
export interface FixtureTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A file of these tensors in this order, the header padded so that the data begins on a multiple of 8. */
export function safetensorsFile(
  tensors: readonly FixtureTensor[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  // entry by entry: an object would reorder numbers and swallow "__proto__"
  const entries = metadata ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    const value = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
    offset += bytes.length;
  }
  const json = `{${entries.join(",")}}`;
  const padding = -new TextEncoder().encode(json).length & 7;
  return fileOf(
    json + " ".repeat(padding),
    tensors.map((t) => t.bytes),
  );
}

/** Any header text before any data; `size`: what the first 8 bytes say, else the truth. */
export function fileOf(header: string, data: readonly Uint8Array[], size?: bigint): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + json.length + data.reduce((sum, part) => sum + part.length, 0));
  new DataView(out.buffer).setBigUint64(0, size ?? BigInt(json.length), true);
  out.set(json, 8);
  let at = 8 + json.length;
  for (const part of data) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Values as bytes of a float dtype. F16 and BF16 are taken as their bits. */
export function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
}
