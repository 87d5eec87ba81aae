// Thread: the code of a worker. It finds codebooks and codes tensors whose bytes it asks for.
import { SPAN } from "../assign.ts";
import { type Clustered, codedSegment, type Stretch } from "../coded.ts";
import { cluster } from "../compress.ts";
import type { Code } from "../entropy.ts";
import { loadEntropyCoder } from "../entropy-coder.ts";
import { WlqError } from "../error.ts";
import type { TensorEntry } from "../formats/format.ts";
import type { Share, Sums } from "../passes.ts";
import { countElements } from "../tensor.ts";
import { type EncodeScope, encodeBinary, encodeScope } from "../wasm/encode.ts";
import { type Binary, load } from "../wasm/kernel.ts";
import type {
  Binaries,
  Coded,
  CodeTask,
  FindTask,
  Found,
  FromThread,
  Question,
  TensorData,
  ToThread,
} from "./messages.ts";

/** Where messages go and come from: a worker's global scope, or Node's port. */
interface Port {
  post(message: FromThread, transfer: ArrayBuffer[]): void;
  listen(hear: (message: ToThread) => void): void;
}

/** Serves tasks, one at a time. */
export function serve(port: Port): void {
  let answered: { resolve(value: unknown): void; reject(reason: Error): void } | undefined;
  const ask = (question: Question, transfer: ArrayBuffer[] = []): Promise<unknown> => {
    port.post({ question }, transfer);
    return new Promise((resolve, reject) => {
      answered = { resolve, reject };
    });
  };
  let ready: Promise<EncodeScope>;
  const work = async (task: Promise<readonly [Found | Coded, ArrayBuffer[]]>): Promise<void> => {
    try {
      const [done, transfer] = await task;
      port.post({ done }, transfer);
    } catch (error) {
      const { message, stack = "" } = error as Error;
      const { code, tensor } = error as WlqError;
      port.post({ failed: { message, stack, ...(code && { code }), ...(tensor !== undefined && { tensor }) } }, []);
    }
  };
  port.listen((message) => {
    if ("answer" in message) answered?.resolve(message.answer);
    else if ("refusal" in message) answered?.reject(new WlqError("aborted", message.refusal));
    else if ("binaries" in message) ready = loadAll(message.binaries);
    else if ("find" in message) work(ready.then((scope) => find(scope, message.find, ask)));
    else work(ready.then((scope) => code(scope, message.code, ask)));
  });
}

/** The one scope of the thread: memory that has grown is used again. */
async function loadAll({ encode, entropy }: Binaries): Promise<EncodeScope> {
  const loaded = (binary: Binary, from: WebAssembly.Module | string): Promise<void> =>
    load(typeof from === "string" ? Object.assign(binary, { embedded: from }) : Object.assign(binary, { ready: from }));
  const { binary } = await loadEntropyCoder();
  await Promise.all([loaded(encodeBinary, encode), loaded(binary, entropy)]);
  return encodeScope();
}

type Ask = (question: Question, transfer?: ArrayBuffer[]) => Promise<unknown>;

/** A tensor whose reads are questions; a stretch of it is read at once. */
function asked(
  { name, dtype, shape, byteLength, importance }: TensorData,
  ask: Ask,
  stretch?: Stretch,
): Omit<Clustered, "coding"> {
  const reader = (read: "weights" | "importance", all: number): TensorEntry["read"] => {
    const question = (start: number, end: number) => ask({ read, start, end }) as Promise<Uint8Array>;
    if (!stretch) return question;
    const width = all / countElements(shape);
    const first = stretch.start * width;
    const last = stretch.end * width;
    let bytes: Promise<Uint8Array> | undefined;
    return async (start, end) => {
      // a small tensor is wanted whole
      if (start < first) return question(start, end);
      bytes ??= question(first, last);
      // what is read ahead may end with the stretch
      return (await bytes).subarray(start - first, Math.min(end, last) - first);
    };
  };
  const entry: TensorEntry = {
    name,
    dtype,
    shape,
    byteLength,
    axis: 0,
    weight: true,
    read: reader("weights", byteLength),
  };
  return {
    entry,
    importance: importance && { ...importance, read: reader("importance", importance.byteLength) },
  };
}

async function find(scope: EncodeScope, task: FindTask, ask: Ask): Promise<readonly [Found, ArrayBuffer[]]> {
  const { plan, entropy, share: part } = task;
  const { entry, importance } = asked(task.tensor, ask);
  const clustered = await cluster(scope, entry, plan, importance, undefined, part && shareOf(part, ask));
  if (!entropy) return [{ coding: clustered.coding, code: undefined }, []];
  const count = countElements(entry.shape);
  const [start, end] = part ? rangeOf(Math.ceil(count / SPAN), part) : [0, count];
  const stretch = part && { start: start * SPAN, end: Math.min(count, end * SPAN) };
  const joined = part && ((own: Float64Array) => askSum(ask, new Map([[part.rank, own]])) as Promise<Float64Array>);
  const { entropyCode } = await loadEntropyCoder();
  const found = await entropyCode(scope, clustered, undefined, undefined, stretch, joined);
  return [{ coding: clustered.coding, code: found && dataOf(found) }, []];
}

type Part = NonNullable<FindTask["share"]>;

function rangeOf(count: number, { rank, of }: Part): [from: number, to: number] {
  return [Math.floor((rank * count) / of), Math.floor(((rank + 1) * count) / of)];
}

function askSum(ask: Ask, sum: ReadonlyMap<number, Sums>): Promise<Sums> {
  return ask({ sum }) as Promise<Sums>;
}

/** One thread's share of a tensor; what threads keep is put together where the tasks come from. */
function shareOf(part: Part, ask: Ask): Share {
  let kept = new Map<number, Sums>();
  return {
    of: (count) => rangeOf(count, part),
    // what each keeps once is kept in the order of the threads
    keep: (place, sums) => kept.set(place, sums),
    *join() {
      let total: Sums = new Float32Array();
      const wait = async (): Promise<void> => {
        total = await askSum(ask, kept);
        kept = new Map();
      };
      yield { first: 0, last: 0, start: 0, end: 0, weights: 0, importance: 0, wait };
      return total;
    },
  };
}

function dataOf({ join, shares, tables, byteLength }: Code): Code {
  return { join, shares, tables, byteLength };
}

async function code(scope: EncodeScope, task: CodeTask, ask: Ask): Promise<readonly [Coded, ArrayBuffer[]]> {
  const { coding, kind, start, end } = task;
  const costs: Float64Array[] = [];
  const stretch: Stretch = { start, end, costs };
  const clustered: Clustered = { ...asked(task.tensor, ask, stretch), coding, entropy: undefined };
  const tell = (): void => {};
  const parts: Uint8Array[] = [];
  if (kind === "blocks") {
    const { entropyBlocks } = await loadEntropyCoder();
    // each is valid until the next
    for await (const block of entropyBlocks(scope, clustered, task.code as Code, undefined, tell, stretch))
      parts.push(block.slice());
  } else {
    for await (const part of codedSegment(scope, clustered, kind, undefined, tell, stretch).chunks()) parts.push(part);
  }
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return [{ bytes, costs }, [bytes.buffer]];
}
