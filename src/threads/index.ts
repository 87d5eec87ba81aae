// wlq/threads: workers for compress. Its bytes stay what they are.
import { SPAN } from "../assign.ts";
import { WlqError } from "../error.ts";
import { checkAborted } from "../io/sink.ts";
import { countElements, type FloatDtype } from "../tensor.ts";
import type { CodeKind, CodesByThreads, FoundByThreads, Team, ThreadJob, Threads, ThreadWork } from "../threads.ts";
import { Crew, type Meeting, type Read } from "./crew.ts";
import type { Coded, FindTask, Found, TensorData } from "./messages.ts";
import { cores, hasWorkers } from "./spawn.ts";

export type { Threads } from "../threads.ts";

// Fewer weights than this a worker are done before it has started.
const PAYS = 1 << 21;
// A tensor with more than this share of a worker's part is worked on by all of them together.
const SPLIT = 0.25;
// Blocks of so many weights, a byte each at most, are held here from when their sizes are known until they are written.
const HELD = 80_000_000;
// Weights coded as one task: a few megabytes of codes, or of values.
const CODES = 4 * SPAN;
const VALUES = SPAN;

/**
 * Threads for `compress(source, sink, { threads: threads() })`: tensors, and stretches of large ones, go to workers; the
 * bytes are the same for every number of them. Models that are too small to gain, and runtimes without workers (workerd),
 * are done without; where workers do not start a warning of the report says so. Workers read a file of `fileSource`, or a
 * Blob, themselves; they are sent the bytes of other sources.
 *
 * @param count workers at most; default: as many as run at the same time here
 * @throws RangeError where `count` is no whole number from 1 to 64
 * @example
 * await compress(await fileSource("in.safetensors"), fileSink("out"), { threads: threads() });
 */
export function threads(count: number = cores()): Threads {
  if (!Number.isInteger(count) || count < 1 || count > 64) {
    throw new RangeError(`threads must be a whole number from 1 to 64, got ${count}`);
  }
  return {
    async start(job) {
      checkAborted(job.signal);
      const weights = job.work.reduce((sum, { entry }) => sum + countElements(entry.shape), 0);
      const size = Math.min(count, Math.ceil(weights / PAYS));
      if (size < 2) return undefined;
      if (!hasWorkers()) return "threads: this runtime has no workers, one thread does it all";
      const crew = new Crew(size, job.module);
      try {
        await crew.started;
      } catch (error) {
        await crew.end();
        return `threads: no worker starts, one thread does it all: ${(error as Error).message}`;
      }
      return new Workers(crew, job, weights);
    },
  };
}

/** A tensor in hand. */
interface Item extends Found {
  readonly work: ThreadWork;
}

/** A stretch of a tensor that is coded as one task. */
interface Piece {
  readonly item: Item;
  readonly start: number;
  readonly end: number;
}

class Workers implements Team {
  readonly #crew: Crew;
  readonly #signal: AbortSignal | undefined;
  readonly #stop: () => void;
  readonly #work: Map<string, { readonly work: ThreadWork; readonly found: Promise<Found> }> = new Map();
  readonly #items: Item[] = [];
  #pieces: Piece[] | undefined;
  /** Weights whose blocks may still be held. */
  #room = HELD;
  /** Pieces that are coded ahead, by their place. */
  readonly #ahead: Map<number, Promise<Coded>> = new Map();

  constructor(crew: Crew, { work, entropy, signal }: ThreadJob, weights: number) {
    this.#crew = crew;
    this.#signal = signal;
    this.#stop = () => {
      try {
        checkAborted(signal);
      } catch (error) {
        crew.end(error as WlqError);
      }
    };
    signal?.addEventListener("abort", this.#stop);
    const most = (weights / crew.size) * SPLIT;
    const isLarge = ({ entry, plan }: ThreadWork): boolean =>
      countElements(entry.shape) > Math.max(most, 2 * SPAN) && (plan.granularity === "tensor" || plan.scale !== "none");
    // those that all work on first: they wait for each other
    for (const one of [...work.filter(isLarge), ...work.filter((w) => !isLarge(w))]) {
      const found = isLarge(one) ? this.#together(one, entropy) : this.#alone(one, entropy);
      found.catch(() => {});
      this.#work.set(one.entry.name, { work: one, found });
    }
  }

  #alone(work: ThreadWork, entropy: boolean): Promise<Found> {
    return this.#crew.do({ find: { ...this.#taskOf(work, entropy), share: undefined } }, readOf(work));
  }

  #taskOf(work: ThreadWork, entropy: boolean): Omit<FindTask, "share"> {
    const count = countElements(work.entry.shape);
    const blocks = entropy && count <= this.#room;
    if (blocks) this.#room -= count;
    return { tensor: tensorOf(work), plan: work.plan, entropy, blocks };
  }

  async #together(work: ThreadWork, entropy: boolean): Promise<Found> {
    const of = this.#crew.size;
    const meeting: Meeting = { size: of, failed: false, sums: [], after: [], done: [] };
    const task = this.#taskOf(work, entropy);
    const all = Array.from({ length: of }, (_, rank) =>
      this.#crew.do({ find: { ...task, share: { rank, of } } }, readOf(work), meeting),
    );
    const parts = (await Promise.allSettled(all)).flatMap((one) => (one.status === "fulfilled" ? one.value : []));
    const [first] = parts;
    if (first && parts.length === of && !meeting.failed)
      return { ...first, coded: parts.flatMap(({ coded }) => coded) };
    // one alone comes to the first fault, whoever met one now
    return this.#alone(work, entropy);
  }

  async find(tensor: string): Promise<FoundByThreads> {
    const known = this.#work.get(tensor);
    if (!known) throw new Error(`threads do not know "${tensor}"`);
    const item: Item = { work: known.work, ...(await known.found) };
    this.#items.push(item);
    const { coding, code } = item;
    return { coding, code, codes: (kind) => this.#codes(item, kind) };
  }

  async end(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#stop);
    await this.#crew.end();
  }

  async *#codes(item: Item, kind: CodeKind): AsyncGenerator<CodesByThreads, void, void> {
    const step = kind === "dense" ? VALUES : CODES;
    if (item.coded.length > 0) {
      yield* item.coded;
      return;
    }
    // in the order in which tensors came, which is the output's
    this.#pieces ??= this.#items.flatMap((one) => (one.coded.length > 0 ? [] : piecesOf(one, step)));
    const pieces = this.#pieces;
    for (let at = pieces.findIndex((piece) => piece.item === item); pieces[at]?.item === item; at++) {
      for (const place of this.#ahead.keys()) if (place < at) this.#ahead.delete(place);
      for (let next = at; next < pieces.length && (next === at || this.#ahead.size < 2 * this.#crew.size); next++) {
        const piece = pieces[next] as Piece;
        if (!this.#ahead.has(next)) this.#ahead.set(next, this.#code(piece, kind));
      }
      const { bytes, costs } = await (this.#ahead.get(at) as Promise<Coded>);
      this.#ahead.delete(at);
      const { start, end } = pieces[at] as Piece;
      yield { bytes, costs, count: end - start };
    }
  }

  #code({ item, start, end }: Piece, wanted: CodeKind): Promise<Coded> {
    const { work, coding, code } = item;
    // a container's tensors are entropy-coded or not, one by one
    const kind = code ? "blocks" : wanted === "blocks" ? "packed" : wanted;
    return this.#crew.do({ code: { tensor: tensorOf(work), coding, code, kind, start, end } }, readOf(work));
  }
}

function piecesOf(item: Item, step: number): Piece[] {
  const count = countElements(item.work.entry.shape);
  const pieces: Piece[] = [];
  for (let start = 0; start < count; start += step) pieces.push({ item, start, end: Math.min(count, start + step) });
  return pieces;
}

function tensorOf({ entry, importance }: ThreadWork): TensorData {
  const { name, shape, byteLength, place } = entry;
  const of = importance && { dtype: importance.dtype, byteLength: importance.byteLength };
  // what fills stays here
  const file = place?.file === undefined ? undefined : { file: place.file, offset: place.offset };
  return { name, dtype: entry.dtype as FloatDtype, shape, byteLength, place: file, importance: of };
}

function readOf({ entry, importance }: ThreadWork): Read {
  return (of, start, end) => {
    const from = of === "weights" ? entry : importance;
    if (!from) throw new WlqError("io", `tensor "${entry.name}" has no importance`);
    return from.read(start, end);
  };
}
