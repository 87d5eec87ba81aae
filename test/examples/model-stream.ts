// A safetensors file of any size, made while it is sent.

/** F32 tensors of about normal values: stretches of one seeded block, each beginning elsewhere in it. */
export async function* modelStream(
  shapes: Readonly<Record<string, readonly [number, number]>>,
): AsyncGenerator<Uint8Array> {
  const block = new Float32Array(1 << 22);
  let state = 1;
  let before = 0;
  for (let i = 0; i < block.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const now = (state >>> 16) + (state & 0xffff);
    block[i] = ((now + before) / 65536 - 2) * 0.035;
    before = now;
  }
  const bytes = new Uint8Array(block.buffer);
  const tensors = Object.entries(shapes).map(([name, shape]) => ({ name, shape, size: shape[0] * shape[1] * 4 }));
  let at = 0;
  const entries = tensors.map(({ name, shape, size }) => {
    const entry = [name, { dtype: "F32", shape, data_offsets: [at, at + size] }];
    at += size;
    return entry;
  });
  const json = JSON.stringify(Object.fromEntries(entries));
  const header = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
  yield new Uint8Array(new BigUint64Array([BigInt(header.length)]).buffer);
  yield header;
  for (let from = 0; at > 0; from = (from + 1_234_568) % bytes.length) {
    const part = bytes.subarray(from, Math.min(from + Math.min(at, 1 << 20), bytes.length));
    yield part;
    at -= part.length;
  }
}
