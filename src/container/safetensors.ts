// The safetensors file structure: 8 bytes of header size, a JSON header, then the tensors without holes.
import { malformed, WlqError } from "../error.ts";
import type { ByteSource } from "../io/source.ts";
import { countElements, dtypeBits, isSize } from "../tensor.ts";
import { fieldsOf, isObject, isString, parseObject } from "./json.ts";

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
  /** By name, in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, SafeTensor>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Header bytes as they are in the file, padding included. */
  readonly bytes: Uint8Array;
}

/** Limits on what strangers' files may ask for. */
export const HEADER_LIMIT: number = 16_777_216; // some 100,000 tensors; the published rules allow 100 MB, which takes a gigabyte to parse
const FIRST_READ = 65536; // one request gets most headers whole

/** Whether a file that begins like this may be safetensors. */
export function looksLikeSafetensors(head: Uint8Array, byteLength: number): boolean {
  return head.length > 8 && head[8] === 0x7b && headerSize(head) <= byteLength - 8;
}

function headerSize(head: Uint8Array): number {
  return Number(new DataView(head.buffer, head.byteOffset).getBigUint64(0, true));
}

/**
 * Reads and checks the header. A source of 8 bytes, which no file has, is a stream whose end is not known yet.
 * Throws `truncated`, `malformed` or `limit`.
 */
export async function readSafetensors(source: Pick<ByteSource, "read" | "byteLength">): Promise<SafetensorsHeader> {
  // 8 bytes are read in any case: the source says where a file is shorter
  const fileEnd = source.byteLength;
  const head = await source.read(0, Math.max(8, Math.min(FIRST_READ, fileEnd)));
  const size = headerSize(head);
  if (size > HEADER_LIMIT) throw new WlqError("limit", `a header of ${size} bytes, limit ${HEADER_LIMIT}`);
  const dataStart = 8 + size;
  const bytes = dataStart > head.length ? await source.read(8, dataStart) : head.subarray(8, dataStart);
  const json = parseObject("header", () => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  const { __metadata__: metadata = {}, ...entries } = json;
  if (!isObject(metadata) || !Object.values(metadata).every(isString)) {
    throw malformed(undefined, "__metadata__ is not all strings");
  }
  const list = Object.entries(entries).map(([name, entry]) => parseTensor(name, entry, dataStart));
  const tensors = new Map<string, SafeTensor>();
  let end = dataStart;
  for (const tensor of list.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength)) {
    const { name, offset, byteLength } = tensor;
    if (offset !== end) throw malformed(name, `is at byte ${offset}, not ${end}`);
    end += byteLength;
    tensors.set(name, tensor);
  }
  if (fileEnd !== 8 && end !== fileEnd) {
    const code = end > fileEnd ? "truncated" : "malformed";
    throw new WlqError(code, `the tensors end at byte ${end}, the file at ${fileEnd}`);
  }
  return { tensors, metadata: metadata as Record<string, string>, bytes };
}

function parseTensor(name: string, json: unknown, dataStart: number): SafeTensor {
  const field = fieldsOf(name, json);
  const dtype = field("dtype", isString);
  const shape = field("shape", isSizes);
  const [begin, end] = field("data_offsets", isRange);
  const byteLength = end - begin;
  const count = countElements(shape, name);
  const bits = dtypeBits(dtype);
  if (bits && count * bits !== byteLength * 8) {
    throw malformed(name, `${count} ${dtype} take ${(count * bits) / 8} bytes, not ${byteLength}`);
  }
  return { name, dtype, shape, offset: dataStart + begin, byteLength };
}

export function isSizes(x: unknown): x is number[] {
  return Array.isArray(x) && x.every(isSize);
}

function isRange(x: unknown): x is [begin: number, end: number] {
  return isSizes(x) && x.length === 2 && (x[0] as number) <= (x[1] as number);
}

/** The tensor of that name if it has that dtype and `bytes` bytes, or at most `padding` more. */
export function checkTensor(
  tensors: ReadonlyMap<string, SafeTensor>,
  name: string,
  dtype: string,
  bytes: number,
  padding = 0,
): SafeTensor {
  const tensor = tensors.get(name);
  if (tensor?.dtype !== dtype || tensor.byteLength < bytes || tensor.byteLength > bytes + padding) {
    throw malformed(name, `${tensor?.byteLength} bytes of ${tensor?.dtype}, not ${bytes} of ${dtype}`);
  }
  return tensor;
}

/**
 * Where a tensor belongs so that each begins on a multiple of its element size: sizes that are multiples of 8 first, behind
 * them those of 4, then of 2, then the rest.
 */
export function oddness(byteLength: number): number {
  return byteLength % 8 === 0 ? 0 : byteLength % 4 === 0 ? 1 : byteLength % 2 === 0 ? 2 : 3;
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
