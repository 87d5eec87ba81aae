// .npz files: numpy arrays in a ZIP archive, read one at a time; stored and deflated members, the two that numpy writes.
import { malformed, WlqError } from "../error.ts";
import type { ByteSource } from "../io/source.ts";
import { countElements } from "../tensor.ts";

/** An array of the file: its payload is read when it is wanted. */
export interface NpzArray {
  readonly name: string;
  load(): Promise<NumpyArray>;
}

/** Little-endian elements in row-major order. */
export interface NumpyArray {
  /** numpy's name of the element type: `f4`, `i8`, `b1` … */
  readonly type: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

// A comment behind the directory may have 64 kB.
const TAIL = 22 + 65535;
// What a deflated array may swell to; sample inputs are some megabytes.
const ARRAY_LIMIT = 1 << 30;

/** Lists the arrays of an .npz file. Throws `malformed`, `truncated`, `unsupported`, `limit`. */
export async function openNpz(source: ByteSource): Promise<NpzArray[]> {
  const from = Math.max(0, source.byteLength - TAIL);
  const tail = viewOf(await source.read(from, source.byteLength));
  let end = tail.byteLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw malformed(undefined, "npz: no ZIP directory at the end of the file");
  const [entries, size, offset] = [
    tail.getUint16(end + 10, true),
    tail.getUint32(end + 12, true),
    tail.getUint32(end + 16, true),
  ];
  if (offset === 0xffffffff || entries === 0xffff)
    throw new WlqError("unsupported", "npz: larger than 4 GiB: split it");
  const directory = viewOf(await source.read(offset, offset + size));
  const arrays: NpzArray[] = [];
  let at = 0;
  for (let i = 0; i < entries; i++) {
    if (at + 46 > size || directory.getUint32(at, true) !== 0x02014b50) {
      throw malformed(undefined, `npz: entry ${i} of the ZIP directory is damaged`);
    }
    const u16 = (p: number): number => directory.getUint16(at + p, true);
    const u32 = (p: number): number => directory.getUint32(at + p, true);
    const member = { method: u16(10), packed: u32(20), size: u32(24), offset: u32(42) };
    if (at + 46 + u16(28) > size) throw malformed(undefined, `npz: entry ${i} of the ZIP directory is damaged`);
    const name = new TextDecoder().decode(new Uint8Array(directory.buffer, directory.byteOffset + at + 46, u16(28)));
    at += 46 + u16(28) + u16(30) + u16(32);
    if (!name.endsWith(".npy")) continue;
    arrays.push({ name: name.slice(0, -4), load: async () => parseNpy(name, await unpack(source, name, member)) });
  }
  return arrays;
}

interface Member {
  readonly method: number;
  readonly packed: number;
  readonly size: number;
  readonly offset: number;
}

async function unpack(source: ByteSource, name: string, { method, packed, size, offset }: Member): Promise<Uint8Array> {
  if (method !== 0 && method !== 8) throw new WlqError("unsupported", `npz: "${name}" is packed with method ${method}`);
  if (size > ARRAY_LIMIT)
    throw new WlqError("limit", `npz: "${name}" has ${size} bytes, at most ${ARRAY_LIMIT} are read`);
  const head = viewOf(await source.read(offset, offset + 30));
  if (head.getUint32(0, true) !== 0x04034b50)
    throw malformed(undefined, `npz: "${name}" is not where the directory says`);
  const start = offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const bytes = await source.read(start, start + packed);
  const out = method === 0 ? bytes : await inflate(name, bytes, size);
  if (out.length !== size)
    throw malformed(undefined, `npz: "${name}" has ${out.length} bytes, the directory says ${size}`);
  return out;
}

async function inflate(name: string, bytes: Uint8Array, size: number): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  let filled = 0;
  try {
    const stream = new Blob([bytes as Uint8Array<ArrayBuffer>])
      .stream()
      .pipeThrough(new DecompressionStream("deflate-raw"));
    for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
      // more than announced: stops here, whatever it would swell to
      out.set(chunk, filled);
      filled += chunk.length;
    }
  } catch (cause) {
    throw new WlqError("malformed", `npz: "${name}" cannot be unpacked to ${size} bytes`, { cause });
  }
  return out.subarray(0, filled);
}

/** numpy's format: magic, version, a header that is a Python dictionary, then the elements. */
function parseNpy(name: string, bytes: Uint8Array): NumpyArray {
  const view = viewOf(bytes);
  const wrong = (what: string): WlqError => malformed(undefined, `npz: "${name}" ${what}`);
  if (bytes.length < 12 || view.getUint32(0) !== 0x934e554d) throw wrong("is no numpy array");
  const wide = bytes[6]! > 1;
  const start = wide ? 12 : 10;
  const end = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, end));
  const descr = /'descr':\s*'([<|=>])([a-z])(\d+)'/.exec(header);
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1]?.match(/\d+/g)?.map(Number) ?? [];
  if (!descr || end > bytes.length) throw wrong("has an element type or header that is not known");
  if (descr[1] === ">") throw wrong("is big-endian");
  if (/'fortran_order':\s*True/.test(header)) throw wrong("is in Fortran order: np.ascontiguousarray(a) first");
  const payload = bytes.slice(end);
  const wanted = countElements(shape) * Number(descr[3]);
  if (payload.length !== wanted) throw wrong(`has ${payload.length} bytes of elements, its shape takes ${wanted}`);
  return { type: `${descr[2]}${descr[3]}`, shape, bytes: payload };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
