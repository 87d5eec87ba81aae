// Containers for tests of their reader: taken apart, changed, and sealed again with checksums that are right.
import { type FixtureTensor, safetensorsFile } from "./formats/safetensors-fixture.ts";
import { checkSafetensors } from "./formats/safetensors-rules.ts";
import { xxh64 } from "./reference/checksum.ts";

const CHECKSUMS = "__wlq__.checksums";
const TILE = 65536;

/** A container in parts. `map` is `wlq.tensors` as data, or any text to stand there. */
export interface ContainerParts {
  tensors: FixtureTensor[];
  metadata: Record<string, string>;
  // biome-ignore lint/suspicious/noExplicitAny: tests put anything there
  map: Record<string, any> | string;
}

/** Takes a container apart; its checksums are left behind. */
export function openParts(container: Uint8Array): ContainerParts {
  const { tensors, metadata } = checkSafetensors(container);
  const list = [...tensors].map(([name, { dtype, shape, bytes }]) => ({ name, dtype, shape, bytes: bytes.slice() }));
  const { "wlq.tensors": map = "{}", ...rest } = metadata;
  return {
    tensors: list.filter((t) => t.name !== CHECKSUMS),
    metadata: rest,
    map: JSON.parse(map) as Record<string, unknown>,
  };
}

/** Puts a container together, with right checksums. */
export function seal({ tensors, metadata, map }: ContainerParts): Uint8Array<ArrayBuffer> {
  const text = typeof map === "string" ? map : JSON.stringify(map);
  const all = { ...metadata, "wlq.tensors": text };
  const file = (sums: Uint8Array): Uint8Array<ArrayBuffer> =>
    safetensorsFile([...tensors, { name: CHECKSUMS, dtype: "U8", shape: [sums.length], bytes: sums }], all);
  // their number stands in the header, which they cover: once more until it stays the same
  let sums = new Uint8Array(0);
  for (let count = -1; count !== sums.length; ) {
    count = sums.length;
    sums = checksums(file(sums), tensors);
  }
  return file(checksums(file(sums), tensors));
}

function checksums(file: Uint8Array, tensors: readonly FixtureTensor[]): Uint8Array<ArrayBuffer> {
  const size = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const sums: bigint[] = [];
  for (const bytes of [file.subarray(8, 8 + size), ...tensors.map((t) => t.bytes)]) {
    for (let at = 0; at < bytes.length; at += TILE)
      sums.push(xxh64(padded(bytes.subarray(at, at + TILE)), BigInt(sums.length)));
  }
  return new Uint8Array(BigUint64Array.from(sums).buffer);
}

/** Zeros up to a multiple of 32 bytes, as checksums take them. */
function padded(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(bytes.length / 32) * 32);
  out.set(bytes);
  return out;
}
