// Thread: the code of a worker. It finds codebooks and codes tensors, whose bytes it reads itself or asks for.
import { SPAN } from "../assign.ts";
import { type Clustered, codedSegment, type Stretch } from "../coded.ts";
import { cluster } from "../compress.ts";
import { entropyCoder } from "../entropy.ts";
import { coderOf } from "../entropy-coder.ts";
import { WlqError } from "../error.ts";
import type { TensorEntry } from "../formats/format.ts";
import { filling, type Place } from "../io/place.ts";
import { addSums, type Share, type Sums } from "../passes.ts";
import { countElements } from "../tensor.ts";
import type { EntropyData } from "../threads.ts";
import type { EncodeKernels, EncodeScope } from "../wasm/encode.ts";
import { instantiate } from "../wasm/kernel.ts";
import { WorkScope } from "../wasm/scope.ts";
import type {
  Coded,
  CodedStretch,
  CodeTask,
  FindTask,
  Found,
  FromThread,
  Question,
  TensorData,
  ToThread,
} from "./messages.ts";

/** Serves tasks, one at a time. */
export function serve(
  post: (message: FromThread, transfer: ArrayBuffer[]) => void,
  listen: (hear: (message: ToThread) => void) => void,
): void {
  let scope: ThreadScope;
  let answered: { resolve(value: unknown): void; reject(reason: Error): void } | undefined;
  const ask = (question: Question, transfer: ArrayBuffer[] = []): Promise<unknown> => {
    post({ question }, transfer);
    return new Promise((resolve, reject) => {
      answered = { resolve, reject };
    });
  };
  const work = async (task: Promise<readonly [Found | Coded, ArrayBuffer[]]>): Promise<void> => {
    try {
      const [done, transfer] = await task;
      post({ done }, transfer);
    } catch (error) {
      const { message, stack = "" } = error as Error;
      const { code, tensor } = error as WlqError;
      post({ failed: { message, stack, ...(code && { code }), ...(tensor !== undefined && { tensor }) } }, []);
    }
  };
  listen((message) => {
    if ("answer" in message) answered?.resolve(message.answer);
    else if ("refusal" in message) answered?.reject(new WlqError("aborted", message.refusal));
    else if ("find" in message) work(find(scope, message.find, ask));
    else if ("code" in message) work(code(scope, message.code, ask));
    else {
      // one scope for all: memory that has grown is used again
      scope = new WorkScope(instantiate({ embedded: "", ready: message.module }) as unknown as EncodeKernels);
      post({ ready: true }, []);
    }
  });
}

type Ask = (question: Question, transfer?: ArrayBuffer[]) => Promise<unknown>;

/** A tensor with its reads. */
function readable({ place, importance, ...tensor }: TensorData, ask: Ask): Omit<Clustered, "coding"> {
  const asked = (read: "weights" | "importance"): TensorEntry["read"] => {
    return (start, end) => ask({ read, start, end }) as Promise<Uint8Array>;
  };
  const entry = { ...tensor, axis: 0, weight: true };
  return {
    entry: { ...entry, read: asked("weights"), ...(place && readerOf(place)) },
    importance: importance && { ...importance, read: asked("importance") },
  };
}

type Builtin = (name: "node:fs") => {
  readSync(fd: number, into: Uint8Array, at: number, count: number, position: number): number;
};

/** Reads a file; nothing where this runtime does not read it so. */
function readerOf({ file, offset }: Place): Partial<Pick<TensorEntry, "read" | "place">> {
  if (file instanceof Blob) {
    return { read: async (start, end) => new Uint8Array(await file.slice(offset + start, offset + end).arrayBuffer()) };
  }
  const files = (globalThis as { process?: { getBuiltinModule?: Builtin } }).process?.getBuiltinModule?.("node:fs");
  if (file === undefined || !files) return {};
  const fill = filling((target, start) => {
    let count = 0;
    for (let n = -1; n !== 0 && count < target.length; count += n) {
      n = files.readSync(file, target, count, target.length - count, start + count);
    }
    return count;
  }, offset);
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(end - start);
    fill(bytes, start);
    return bytes;
  };
  return { read, place: { file, offset, fill } };
}

async function find(scope: ThreadScope, task: FindTask, ask: Ask): Promise<readonly [Found, ArrayBuffer[]]> {
  const { plan, entropy, blocks, share: part } = task;
  const { entry, importance } = readable(task.tensor, ask);
  scope.share = part && shareOf(part, ask);
  const clustered = await cluster(scope, entry, plan, importance, undefined);
  if (!entropy) return [{ coding: clustered.coding, code: undefined, coded: [] }, []];
  const count = countElements(entry.shape);
  const [start, end] = rangeOf(Math.ceil(count / SPAN), part ?? { rank: 0, of: 1 });
  const costs: Float64Array[] = [];
  const stretch = { start: start * SPAN, end: Math.min(count, end * SPAN), ...(blocks && { costs }) };
  const joined = part && ((own: Float64Array) => total(part, ask, [own]) as Promise<Float64Array>);
  const found = await coderOf(entropyCoder).entropyCode(scope, clustered, undefined, undefined, stretch, joined);
  const coded: CodedStretch[] = [];
  if (found?.kept) coded.push({ bytes: joinedBytes(found.kept), costs, count: stretch.end - stretch.start });
  return [{ coding: clustered.coding, code: found && dataOf(found), coded }, coded.map(({ bytes }) => bytes.buffer)];
}

/** The one scope of a thread. */
type ThreadScope = EncodeScope & { share?: Share | undefined };

type Part = NonNullable<FindTask["share"]>;

function rangeOf(count: number, { rank, of }: Part): [from: number, to: number] {
  return [Math.floor((rank * count) / of), Math.floor(((rank + 1) * count) / of)];
}

/** The sum of what all threads have, whose parts come in order of their ranks. */
async function total(part: Part, ask: Ask, parts: readonly Sums[]): Promise<Sums> {
  // a thread without a part of its own hands on what it gets, perhaps nothing
  const before = part.rank > 0 ? ((await ask({ before: true })) as Sums) : new Float64Array();
  const [sum = before, ...rest] = before.length > 0 ? [before, ...parts] : parts;
  for (const own of rest) addSums(sum, own);
  return ask({ sum }, [sum.buffer as ArrayBuffer]) as Promise<Sums>;
}

/** One thread's share of a tensor; what threads have is put together in the end. */
function shareOf(part: Part, ask: Ask): Share {
  return function* (run, tile, step, sums, visit) {
    const parts: Sums[] = [];
    const [first, last] = rangeOf(Math.ceil(run.count / step), part);
    for (let section = first; section < last; section++) {
      const own = sums();
      own.fill(0);
      const stop = Math.min(run.count, (section + 1) * step);
      for (let start = section * step; start < stop; start += tile) {
        const end = Math.min(stop, start + tile);
        yield* run.fetch(start, end, run.importance > 0);
        visit(start, end);
      }
      // the first thread's are known to be first
      if (part.rank === 0 && parts[0]) addSums(parts[0], sums());
      else parts.push(sums().slice());
    }
    let all: Sums = new Float32Array();
    const wait = async (): Promise<void> => {
      all = await total(part, ask, parts);
    };
    yield { first: 0, last: 0, start: 0, end: 0, weights: 0, importance: 0, wait };
    sums().set(all);
  };
}

function dataOf({ join, shares, tables, byteLength }: EntropyData): EntropyData {
  return { join, shares, tables, byteLength };
}

async function code(scope: EncodeScope, task: CodeTask, ask: Ask): Promise<readonly [Coded, ArrayBuffer[]]> {
  const { coding, kind, start, end } = task;
  const costs: Float64Array[] = [];
  const stretch: Stretch = { start, end, costs };
  const clustered: Clustered = { ...readable(task.tensor, ask), coding, entropy: undefined };
  const tell = (): void => {};
  const parts: Uint8Array[] = [];
  if (kind === "blocks") {
    const { entropyBlocks } = coderOf(entropyCoder);
    // each is valid until the next
    for await (const block of entropyBlocks(scope, clustered, task.code as EntropyData, undefined, tell, stretch))
      parts.push(block.slice());
  } else {
    for await (const part of codedSegment(scope, clustered, kind, undefined, tell, stretch).chunks()) parts.push(part);
  }
  const bytes = joinedBytes(parts);
  return [{ bytes, costs }, [bytes.buffer]];
}

function joinedBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
