// Protobuf's wire format: a walker that keeps byte ranges, and a splice that rewrites a file without reading what it keeps.
import { WlqError } from "../error.ts";
import type { Segment } from "../io/segment.ts";
import { copySegment, segmentsByteLength } from "../io/segment.ts";
import type { ByteSource } from "../io/source.ts";

/** What a file from a stranger may make us do. */
export const PROTOBUF_LIMITS: Readonly<Record<"depth" | "fields" | "textBytes" | "windowBytes", number>> = {
  /** Nested messages. Protobuf's own parsers stop at 100, so nothing deeper can be run anyway. */
  depth: 100,
  /** Fields looked at in one file: two bytes make a field, so a small file could keep us busy. An unrolled graph of 100 000 nodes has 3 million. */
  fields: 1 << 23,
  /** Bytes of one name; the longest in real exports are some hundred. */
  textBytes: 1 << 16,
  /** Bytes fetched at a time, so that a header costs no read of its own and a payload that is jumped over costs none. */
  windowBytes: 1 << 16,
};

export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH = 2;
export const FIXED32 = 5;

/** The longest tag plus the longest varint, rounded up. */
const HEADER_BYTES = 20;

/** A message's place in the file: `lengthStart` is where its length varint begins, its fields lie in `start` to `end`. */
export interface Message {
  readonly parent?: Message;
  readonly depth: number;
  readonly lengthStart: number;
  readonly start: number;
  readonly end: number;
}

/** One field: the whole of it is `start` to `end`, its value `payload` to `end`. */
export interface Field {
  /** `number * 8 + wire type`, as on the wire; compare it with {@link varintTag} or {@link lengthTag}. */
  readonly tag: number;
  readonly number: number;
  readonly wire: number;
  readonly start: number;
  readonly lengthStart: number;
  readonly payload: number;
  readonly end: number;
  /** The value of a varint field as a signed 64-bit integer (inexact beyond 2^53: check before use). */
  readonly value: number;
}

export function varintTag(number: number): number {
  return number * 8 + VARINT;
}

export function lengthTag(number: number): number {
  return number * 8 + LENGTH;
}

/** A reading position with a window of bytes ahead of it. Synchronous inside the window: call `ready` before. */
export class Cursor {
  readonly source: ByteSource;
  pos = 0;
  /** The last varint's halves, for values that do not fit a number. */
  low = 0;
  high = 0;
  #window: Uint8Array = new Uint8Array(0);
  #windowStart = 0;

  constructor(source: ByteSource) {
    this.source = source;
  }

  /** Undefined when the next `count` bytes (or all to the end of the file) are at hand, else a promise to wait for. */
  ready(count: number): Promise<void> | undefined {
    const wanted = Math.min(this.pos + count, this.source.byteLength);
    if (this.pos >= this.#windowStart && wanted <= this.#windowStart + this.#window.length) return undefined;
    return this.#fill();
  }

  async #fill(): Promise<void> {
    const start = this.pos;
    this.#window = await this.source.read(start, Math.min(start + PROTOBUF_LIMITS.windowBytes, this.source.byteLength));
    this.#windowStart = start;
  }

  /** The byte at the position, which moves on. */
  byte(): number {
    return this.#window[this.pos++ - this.#windowStart]!;
  }

  /** A varint that must end before `end`, as a signed 64-bit integer: exact below 2^53, and `low`, `high` always are. */
  varint(end: number): number {
    const first = this.pos;
    this.low = 0;
    this.high = 0;
    for (let i = 0; i < 10 && this.pos < end; i++) {
      const byte = this.byte();
      const bits = byte & 127;
      if (i < 4) this.low |= bits << (7 * i);
      else if (i === 4) {
        this.low |= bits << 28;
        this.high = bits >>> 4;
      } else this.high |= bits << (7 * i - 32);
      if (byte < 128) return this.high * 0x1_0000_0000 + (this.low >>> 0);
    }
    if (this.pos < end)
      throw new WlqError("malformed", `protobuf: the varint at byte ${first} is longer than 10 bytes`);
    throw new WlqError(
      end === this.source.byteLength ? "truncated" : "malformed",
      `protobuf: the varint at byte ${first} does not end before byte ${end}`,
    );
  }

  /** The bytes `start` to `end`, out of the window if it has them. Use them at once or copy them. */
  async bytes(start: number, end: number): Promise<Uint8Array> {
    if (end - start > PROTOBUF_LIMITS.windowBytes) return this.source.read(start, end);
    this.pos = start;
    await this.ready(end - start);
    return this.#window.subarray(start - this.#windowStart, end - this.#windowStart);
  }
}

/** Walks the fields of a protobuf file. What nobody asks for is jumped over, never read. */
export class WireReader {
  readonly root: Message;
  readonly #cursor: Cursor;
  #fields = 0;

  constructor(source: ByteSource) {
    this.#cursor = new Cursor(source);
    this.root = { depth: 0, lengthStart: 0, start: 0, end: source.byteLength };
  }

  /** Calls `visit` for each field, in file order; a promise it returns is waited for. */
  async walk(message: Message, visit: (field: Field) => Promise<void> | void): Promise<void> {
    let pos = message.start;
    while (pos < message.end) {
      this.#cursor.pos = pos;
      const pending = this.#cursor.ready(HEADER_BYTES);
      if (pending) await pending;
      const field = this.#field(message);
      pos = field.end;
      const visited = visit(field);
      if (visited) await visited;
    }
  }

  #field(message: Message): Field {
    if (++this.#fields > PROTOBUF_LIMITS.fields) {
      throw new WlqError("limit", `protobuf: more than ${PROTOBUF_LIMITS.fields} fields in one file`);
    }
    const cursor = this.#cursor;
    const start = cursor.pos;
    const tag = cursor.varint(message.end);
    const wire = tag & 7;
    const number = Math.floor(tag / 8);
    if (number < 1 || number >= 1 << 29) {
      throw new WlqError(
        "malformed",
        `protobuf: field number ${number} at byte ${start}, 1 to ${(1 << 29) - 1} are possible`,
      );
    }
    const lengthStart = cursor.pos;
    let value = 0;
    let size: number;
    if (wire === VARINT) {
      value = cursor.varint(message.end);
      size = 0;
    } else if (wire === LENGTH) size = cursor.varint(message.end);
    else if (wire === FIXED64) size = 8;
    else if (wire === FIXED32) size = 4;
    else {
      const group = wire === 3 || wire === 4;
      throw new WlqError(
        group ? "unsupported" : "malformed",
        `protobuf: field ${number} at byte ${start} ${group ? "is a group, which is not read" : `has wire type ${wire}, which does not exist`}`,
      );
    }
    const payload = wire === VARINT ? lengthStart : cursor.pos;
    const left = message.end - cursor.pos;
    if (size < 0 || size > left) {
      throw new WlqError(
        message.depth === 0 && size > 0 ? "truncated" : "malformed",
        `protobuf: field ${number} at byte ${start} says ${size} bytes, its ${message.depth === 0 ? "file" : "message"} has ${left} left`,
      );
    }
    return { tag, number, wire, start, lengthStart, payload, end: cursor.pos + size, value };
  }

  /** A length-delimited field of `parent` seen as a message. */
  child(parent: Message, field: Field): Message {
    const depth = parent.depth + 1;
    if (depth > PROTOBUF_LIMITS.depth) {
      throw new WlqError(
        "limit",
        `protobuf: messages nested deeper than ${PROTOBUF_LIMITS.depth}, at byte ${field.start}`,
      );
    }
    return { parent, depth, lengthStart: field.lengthStart, start: field.payload, end: field.end };
  }

  /** A length-delimited field seen as text; must be UTF-8, because a changed name would come out as another name. */
  async text(field: Field): Promise<string> {
    const size = field.end - field.payload;
    if (size > PROTOBUF_LIMITS.textBytes) {
      throw new WlqError(
        "limit",
        `protobuf: a name of ${size} bytes at byte ${field.start}, ${PROTOBUF_LIMITS.textBytes} are possible`,
      );
    }
    const bytes = await this.#cursor.bytes(field.payload, field.end);
    try {
      return decoder.decode(bytes);
    } catch (cause) {
      throw new WlqError("malformed", `protobuf: the name at byte ${field.start} is not UTF-8`, { cause });
    }
  }

  /** Adds the integers of a repeated varint field to `into`: one when unpacked, many when packed; at most `most` in all. */
  async integers(field: Field, into: number[], most: number): Promise<void> {
    if (field.wire === VARINT) into.push(field.value);
    else {
      this.#cursor.pos = field.payload;
      while (this.#cursor.pos < field.end && into.length <= most) {
        await this.#cursor.ready(HEADER_BYTES);
        into.push(this.#cursor.varint(field.end));
      }
    }
    if (into.length > most) {
      throw new WlqError(
        "limit",
        `protobuf: more than ${most} integers in field ${field.number} at byte ${field.start}`,
      );
    }
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** A non-negative integer below 2^53 as a varint. */
export function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  while (value > 127) {
    bytes.push((value % 128) + 128);
    value = Math.floor(value / 128);
  }
  bytes.push(value);
  return Uint8Array.from(bytes);
}

export function varintField(number: number, value: number): Segment[] {
  return [joined([varint(varintTag(number)), varint(value)])];
}

/** A length-delimited field around `body`, which may be lazy. */
export function lengthField(number: number, body: readonly Segment[]): Segment[] {
  return [varint(lengthTag(number)), varint(segmentsByteLength(body)), ...body];
}

export function textField(number: number, text: string): Segment[] {
  return lengthField(number, [encoder.encode(text)]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(segmentsByteLength(parts));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Neighbouring literals become one: a rewritten graph is thousands of tags and lengths. */
function merged(segments: Iterable<Segment>): Segment[] {
  const out: Segment[] = [];
  let run: Uint8Array[] = [];
  const flush = (): void => {
    if (run.length > 0) out.push(run.length === 1 ? run[0]! : joined(run));
    run = [];
  };
  for (const segment of segments) {
    if (segment.byteLength === 0) continue;
    if (segment instanceof Uint8Array) run.push(segment);
    else {
      flush();
      out.push(segment);
    }
  }
  flush();
  return out;
}

/** Puts `bytes` in the place of `start` to `end`, a range inside of `within` made of whole fields (or empty: an insertion). */
export interface Edit {
  readonly within: Message;
  readonly start: number;
  readonly end: number;
  readonly bytes: readonly Segment[];
}

/** The file with the edits made and the lengths of all messages around them put right; everything else is copied as bytes. */
export function splice(source: ByteSource, edits: readonly Edit[]): Segment[] {
  const growth = new Map<Message, number>();
  for (const edit of edits) {
    for (let m: Message | undefined = edit.within; m && !growth.has(m); m = m.parent) growth.set(m, 0);
    growth.set(edit.within, growth.get(edit.within)! + segmentsByteLength(edit.bytes) - (edit.end - edit.start));
  }
  const all = [...edits];
  for (const message of [...growth.keys()].sort((a, b) => b.depth - a.depth)) {
    const grown = growth.get(message)!;
    if (!message.parent || grown === 0) continue;
    const length = varint(message.end - message.start + grown);
    all.push({ within: message.parent, start: message.lengthStart, end: message.start, bytes: [length] });
    const around = grown + length.length - (message.start - message.lengthStart);
    growth.set(message.parent, growth.get(message.parent)! + around);
  }
  // Two insertions may share a position (the end of a message is where its next sibling begins): the inner one comes first.
  all.sort((a, b) => a.start - b.start || b.within.depth - a.within.depth || a.end - b.end);
  const out: Segment[] = [];
  let at = 0;
  for (const edit of all) {
    if (edit.start < at) throw new Error(`two edits overlap at byte ${edit.start}`);
    out.push(copySegment(source, at, edit.start), ...edit.bytes);
    at = edit.end;
  }
  out.push(copySegment(source, at, source.byteLength));
  return merged(out);
}
