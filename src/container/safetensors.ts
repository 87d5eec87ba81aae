// The safetensors file structure: 8 bytes of header size, a JSON header, then the tensors without holes.
import { WlqError } from "../error.ts";
import type { ByteSource } from "../io/source.ts";
import { countElements, DTYPE_BITS, type Dtype, payloadBytes } from "../tensor.ts";

/** One tensor of a safetensors file. */
export interface SafeTensor {
  readonly name: string;
  /** As in the file; dtypes that wlq does not know are carried by their offsets. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface SafetensorsHeader {
  /** In the order of their bytes. */
  readonly tensors: readonly SafeTensor[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Header bytes as they are in the file, padding included. */
  readonly bytes: Uint8Array;
}

/** Limits on what strangers' files may ask for. */
export const HEADER_LIMIT: number = 32 << 20; // the published rules allow 100 MB; parsing that takes a gigabyte
const FIRST_READ = 65536; // one request gets most headers whole

/** Whether a file that begins like this may be safetensors. */
export function looksLikeSafetensors(head: Uint8Array, byteLength: number): boolean {
  if (head.length < 9 || head[8] !== 0x7b) return false;
  const size = headerSize(head);
  return size !== undefined && size <= byteLength - 8;
}

function headerSize(head: Uint8Array): number | undefined {
  const view = new DataView(head.buffer, head.byteOffset, 8);
  const high = view.getUint32(4, true);
  return high > 0x1fffff ? undefined : high * 2 ** 32 + view.getUint32(0, true);
}

/** Reads and checks the header. Throws `truncated`, `malformed` or `limit`. */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsHeader> {
  const { byteLength } = source;
  if (byteLength < 8) throw new WlqError("truncated", `a safetensors file has 8 bytes at least, this one has ${byteLength}`);
  const head = await source.read(0, Math.min(FIRST_READ, byteLength));
  const size = headerSize(head) ?? Number.POSITIVE_INFINITY;
  if (size > byteLength - 8) {
    throw new WlqError("truncated", `the header says ${size} bytes, the file has ${byteLength - 8} after the size`);
  }
  if (size > HEADER_LIMIT) throw new WlqError("limit", `the header says ${size} bytes, more than the limit of ${HEADER_LIMIT}`);
  const bytes = size + 8 <= head.length ? head.subarray(8, 8 + size) : await source.read(8, 8 + size);
  return { ...parseHeader(bytes, 8 + size, byteLength), bytes };
}

function parseHeader(bytes: Uint8Array, dataStart: number, byteLength: number): Omit<SafetensorsHeader, "bytes"> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw new WlqError("malformed", `the header is not JSON: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  if (!isRecord(json)) throw new WlqError("malformed", "the header is not a JSON object");
  const tensors: SafeTensor[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") metadata = parseMetadata(value);
    else tensors.push(parseTensor(name, value, dataStart));
  }
  tensors.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let end = dataStart;
  for (const t of tensors) {
    if (t.offset !== end) {
      const problem = t.offset < end ? "overlaps the tensor before it" : "leaves a hole before it";
      throw new WlqError("malformed", `tensor "${t.name}" begins at byte ${t.offset} and ${problem}, which ends at ${end}`, {
        tensor: t.name,
      });
    }
    end += t.byteLength;
  }
  if (end !== byteLength) {
    const code = end > byteLength ? "truncated" : "malformed";
    throw new WlqError(code, `the tensors end at byte ${end}, the file has ${byteLength} bytes`);
  }
  return { tensors, metadata };
}

function parseMetadata(value: unknown): Record<string, string> {
  if (!isRecord(value)) throw new WlqError("malformed", "__metadata__ is not an object of strings");
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") throw new WlqError("malformed", `__metadata__ entry "${key}" is not a string`);
  }
  return value as Record<string, string>;
}

function parseTensor(name: string, value: unknown, dataStart: number): SafeTensor {
  const bad = (message: string) => new WlqError("malformed", `tensor "${name}" ${message}`, { tensor: name });
  if (!isRecord(value)) throw bad("is not described by an object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string") throw bad("has no dtype");
  if (!Array.isArray(shape) || !shape.every((d) => typeof d === "number")) throw bad("has no shape");
  if (!Array.isArray(offsets) || offsets.length !== 2) throw bad("has no data_offsets");
  const [begin, end] = offsets as unknown[];
  if (!isSize(begin) || !isSize(end) || end < begin) throw bad(`has the data_offsets [${offsets.join(", ")}]`);
  const count = countElements(shape, name);
  if (Object.hasOwn(DTYPE_BITS, dtype)) {
    const wanted = payloadBytes(dtype as Dtype, count, name);
    if (wanted !== end - begin) {
      throw bad(`of ${dtype} [${shape.join(", ")}] needs ${wanted} bytes, its data_offsets give ${end - begin}`);
    }
  }
  return { name, dtype, shape, offset: dataStart + begin, byteLength: end - begin };
}

function isSize(x: unknown): x is number {
  return Number.isSafeInteger(x) && (x as number) >= 0;
}

export function isRecord(x: unknown): x is Record<string, unknown> {
  return typeof x === "object" && x !== null && !Array.isArray(x);
}

/** A tensor to write: its place follows from its position in the list. */
export type NewTensor = Pick<SafeTensor, "name" | "dtype" | "shape" | "byteLength">;

/** The first bytes of a file: size and header, padded with spaces so that the data begins on a multiple of 8. */
export function safetensorsHead(tensors: readonly NewTensor[], metadata: Readonly<Record<string, string>>): Uint8Array {
  // built entry by entry: a tensor may be called "__proto__" or like a number, which an object would reorder
  const parts: string[] = [];
  if (Object.keys(metadata).length > 0) parts.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let offset = 0;
  for (const { name, dtype, shape, byteLength } of tensors) {
    const entry = { dtype, shape, data_offsets: [offset, offset + byteLength] };
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    offset += byteLength;
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const size = (json.length + 7) & ~7;
  const head = new Uint8Array(8 + size).fill(0x20, 8);
  new DataView(head.buffer).setUint32(0, size, true);
  new DataView(head.buffer).setUint32(4, 0, true);
  head.set(json, 8);
  return head;
}

/** The name itself, or with `~1`, `~2` … where it is taken; takes it. */
export function freeName(name: string, taken: Set<string>): string {
  let free = name;
  for (let i = 1; taken.has(free); i++) free = `${name}~${i}`;
  taken.add(free);
  return free;
}
