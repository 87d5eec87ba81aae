// Crew: some workers and what they have to do, first come, first served; an end for all when one is lost.
import { WlqError, type WlqErrorCode } from "../error.ts";
import type { Sums } from "../passes.ts";
import type { Coded, CodeTask, FindTask, Found, FromThread, Question, ToThread } from "./messages.ts";
import { type Spawned, spawn } from "./spawn.ts";

/** Reads bytes of the tensor that a task is about. */
export type Read = (of: "weights" | "importance", start: number, end: number) => Promise<Uint8Array>;

/** Threads that find a codebook together: each adds its sums to those of the threads before it, all get the last. */
export interface Meeting {
  readonly size: number;
  failed: boolean;
  /** By rank: what a thread and those before it have. */
  readonly sums: (Sums | undefined)[];
  /** By rank: who wants what those before it have. */
  readonly after: (Thread | undefined)[];
  /** Who wants the last. */
  readonly done: Thread[];
}

interface Task {
  readonly message: { readonly find: FindTask } | { readonly code: CodeTask };
  readonly read: Read;
  readonly meeting: Meeting | undefined;
  resolve(done: Found | Coded): void;
  reject(error: unknown): void;
}

interface Thread {
  readonly worker: Spawned;
  task: Task | undefined;
}

interface Settle {
  resolve(): void;
  reject(why: WlqError): void;
}

export class Crew {
  readonly #threads: Thread[] = [];
  readonly #queue: Task[] = [];
  readonly #started: Settle;
  #ready = 0;
  #over: WlqError | undefined;
  #ended: Promise<unknown> = Promise.resolve();
  /** Done when all workers are there; fails where one does not start. */
  readonly started: Promise<void>;

  constructor(size: number, module: WebAssembly.Module) {
    let settle: Settle | undefined;
    this.started = new Promise<void>((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.started.catch(() => {});
    this.#started = settle as unknown as Settle;
    try {
      for (let i = 0; i < size; i++) this.#spawn(i).post({ module }, []);
    } catch (cause) {
      this.#lost(`${cause}`);
    }
  }

  get size(): number {
    return this.#threads.length;
  }

  #spawn(number: number): Spawned {
    const thread: Thread = {
      task: undefined,
      worker: spawn(
        (message) => this.#hear(thread, message),
        (why) => this.#lost(`worker ${number + 1}: ${why}`),
      ),
    };
    this.#threads.push(thread);
    return thread.worker;
  }

  #lost(why: string): void {
    const error = new WlqError("resources", `a thread is lost: ${why}`);
    this.#started.reject(error);
    this.end(error);
  }

  /** Has a task done. */
  do(message: { readonly code: CodeTask }, read: Read): Promise<Coded>;
  do(message: { readonly find: FindTask }, read: Read, meeting?: Meeting): Promise<Found>;
  do(message: Task["message"], read: Read, meeting?: Meeting): Promise<Found | Coded> {
    const done = new Promise<Found | Coded>((resolve, reject) => {
      this.#queue.push({ message, read, meeting, resolve, reject });
    });
    // whoever waits for it hears of it
    done.catch(() => {});
    this.#deal();
    return done;
  }

  /** Ends all workers; what was not done fails with `reason`. */
  end(reason: WlqError = new WlqError("aborted", "the operation is over")): Promise<unknown> {
    if (this.#over) return this.#ended;
    this.#over = reason;
    this.#started.reject(reason);
    this.#ended = Promise.all(this.#threads.map(({ worker }) => worker.end()));
    this.#deal();
    return this.#ended;
  }

  #deal(): void {
    if (this.#over) {
      for (const { task } of this.#threads) task?.reject(this.#over);
      for (const task of this.#queue.splice(0)) task.reject(this.#over);
      return;
    }
    for (const thread of this.#threads) {
      if (thread.task) continue;
      thread.task = this.#queue.shift();
      if (thread.task) thread.worker.post(thread.task.message, []);
    }
  }

  #hear(thread: Thread, message: FromThread): void {
    const { task } = thread;
    if ("ready" in message && ++this.#ready === this.size) this.#started.resolve();
    if (!task || this.#over || "ready" in message) return;
    if ("question" in message) {
      this.#answer(thread, task, message.question).catch((error: unknown) => this.#fail(thread, error));
      return;
    }
    thread.task = undefined;
    if ("done" in message) task.resolve(message.done);
    else {
      const { message: text, code, tensor, stack } = message.failed;
      const error = code
        ? new WlqError(code as WlqErrorCode, text, { tensor })
        : Object.assign(new Error(text), { cause: stack });
      this.#refuse(task.meeting);
      task.reject(error);
    }
    this.#deal();
  }

  async #answer(thread: Thread, { message, read, meeting }: Task, question: Question): Promise<void> {
    if ("read" in question) {
      const bytes = await read(question.read, question.start, question.end);
      const own = isOwn(bytes, message) ? bytes : bytes.slice();
      this.#tell(thread, { answer: own }, [own.buffer as ArrayBuffer]);
      return;
    }
    this.#meet(thread, ("find" in message && message.find.share?.rank) || 0, meeting as Meeting, question);
  }

  #meet(thread: Thread, rank: number, meeting: Meeting, question: Exclude<Question, { read: unknown }>): void {
    const { size, sums, after, done, failed } = meeting;
    if ("before" in question) after[rank] = thread;
    else {
      sums[rank] = question.sum;
      done.push(thread);
    }
    if (failed) this.#refuse(meeting);
    for (const [at, next] of after.entries()) {
      const sum = sums[at - 1];
      if (!next || !sum) continue;
      after[at] = sums[at - 1] = undefined;
      this.#tell(next, { answer: sum }, [sum.buffer as ArrayBuffer]);
    }
    const answer = sums[size - 1];
    if (!answer) return;
    sums.length = 0;
    for (const one of done.splice(0)) this.#tell(one, { answer }, []);
  }

  #tell(thread: Thread, message: ToThread, transfer: ArrayBuffer[]): void {
    if (!this.#over) thread.worker.post(message, transfer);
  }

  /** One who waits in vain stops. */
  #refuse(meeting: Meeting | undefined): void {
    if (!meeting) return;
    meeting.failed = true;
    const waiting = [...meeting.after.splice(0), ...meeting.done.splice(0)];
    for (const thread of waiting) if (thread) this.#tell(thread, { refusal: "another thread failed" }, []);
  }

  /** A source that fails: the thread is told, the caller gets the error itself. */
  #fail(thread: Thread, error: unknown): void {
    this.#refuse(thread.task?.meeting);
    thread.task?.reject(error);
    this.#tell(thread, { refusal: String(error) }, []);
  }
}

/**
 * Whether bytes can be given away: a buffer that holds them and nothing else, and not a whole tensor, is neither the
 * caller's nor a source's own.
 */
function isOwn(bytes: Uint8Array, message: Task["message"]): boolean {
  const { byteLength, importance } = ("find" in message ? message.find : message.code).tensor;
  const least = Math.min(byteLength, importance?.byteLength ?? byteLength);
  return bytes.length === bytes.buffer.byteLength && bytes.length < least;
}
