// Big model: writes a safetensors file of any size, seeded and fast, for memory tests and trials at the keyboard.
import { open } from "node:fs/promises";
import process from "node:process";
import { parseArgs } from "node:util";

const HELP = `node scripts/big-model.mjs OUT [--bytes 2147483648] [--tensors 1] [--largest BYTES] [--columns 8192] [--seed 1]
Writes F32 tensors "layer.0.weight", "layer.1.weight" … [rows, columns], about normal: of equal size, or the first of the
size that --largest says and the others of equal size.
`;

const BLOCK = 1 << 22; // values made once; the file is stretches of them, so that 2 GiB take seconds

/** About normal values with a standard deviation near 0.02: sums of four uniforms of 16 bits, two of them the last value's. */
function makeBlock(seed) {
  const block = new Float32Array(BLOCK);
  let state = seed >>> 0 || 1;
  let before = 0;
  for (let i = 0; i < BLOCK; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const now = (state >>> 16) + (state & 0xffff);
    block[i] = ((now + before) / 65536 - 2) * 0.035;
    before = now;
  }
  return new Uint8Array(block.buffer);
}

/** A safetensors header for tensors of so many rows, padded so that the data begins on a multiple of 8. */
function makeHead(tensors, columns) {
  const entries = {};
  let at = 0;
  for (const [i, rows] of tensors.entries()) {
    const end = at + rows * columns * 4;
    entries[`layer.${i}.weight`] = { dtype: "F32", shape: [rows, columns], data_offsets: [at, end] };
    at = end;
  }
  const json = Buffer.from(JSON.stringify(entries));
  const head = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, " ");
  head.writeBigUInt64LE(BigInt(head.length - 8));
  json.copy(head, 8);
  return head;
}

/** Rows of each tensor. */
function rowsOf(bytes, tensors, columns, largest) {
  const sizes = largest
    ? [largest, ...Array(tensors - 1).fill((bytes - largest) / (tensors - 1))]
    : Array(tensors).fill(bytes / tensors);
  const rows = sizes.map((size) => size / columns / 4);
  if (!rows.every(Number.isInteger))
    throw new RangeError(`${bytes} bytes are not ${tensors} tensors of whole rows of ${columns} float32`);
  return rows;
}

async function writeModel(path, { bytes, tensors, largest, columns, seed }) {
  const head = makeHead(rowsOf(bytes, tensors, columns, largest), columns);
  const block = makeBlock(seed);
  const file = await open(path, "w");
  try {
    await file.write(head);
    // each stretch begins elsewhere in the block: no period that a tile or a sample could meet
    let from = 0;
    for (let left = bytes; left > 0; ) {
      const n = Math.min(left, block.length - from);
      let done = 0;
      while (done < n) done += (await file.write(block, from + done, n - done)).bytesWritten;
      left -= n;
      from = (from + 1_234_568) % block.length;
    }
  } finally {
    await file.close();
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bytes: { type: "string", default: String(2 ** 31) },
    tensors: { type: "string", default: "1" },
    largest: { type: "string", default: "0" },
    columns: { type: "string", default: "8192" },
    seed: { type: "string", default: "1" },
  },
});
if (positionals.length !== 1) {
  process.stderr.write(HELP);
  process.exitCode = 2;
} else {
  const numbers = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));
  await writeModel(positionals[0], numbers);
}
