// Run: all rounds of a state at once, with something that stands in for training between them.
import type { FileOptions } from "../compress.ts";
import type { Sink } from "../io/sink.ts";
import { writeAll } from "../io/sink.ts";
import { byteSource, type Source } from "../io/source.ts";
import type { Slq } from "./engine.ts";
import { abortOnError, openTrained, refuseDone } from "./files.ts";
import type { RoundReport } from "./report.ts";
import type { GivenLosses } from "./round.ts";
import { STATE_KEY, stateSegments } from "./state.ts";

/** What stands in for training: it rates clusters before a round, and moves free weights after it. */
export interface Between {
  losses(): Promise<GivenLosses>;
  /** Returns what is left of each layer's error. */
  refit(): Promise<Readonly<Record<string, number>>>;
}

/** Runs the rounds that are left and writes the state behind the last. */
export async function runState(
  state: Source,
  sink: Sink,
  begin: (slq: Slq) => Promise<Between>,
  options: FileOptions = {},
): Promise<{ readonly rounds: readonly RoundReport[]; readonly errors: Readonly<Record<string, number>> }> {
  return await abortOnError(sink, async () => {
    const { read, workspace, slq, parts } = await openTrained(byteSource(state), state, { ...options, formats: [] });
    refuseDone(slq);
    const between = await begin(slq);
    const rounds: RoundReport[] = [];
    let errors: Readonly<Record<string, number>> = {};
    while (!slq.done) {
      const wantsLosses = (slq.plan.partition ?? "loss") === "loss";
      rounds.push(await slq.next(wantsLosses ? { losses: await between.losses() } : {}));
      errors = await between.refit();
    }
    const { [STATE_KEY]: _, ...metadata } = read.header.metadata;
    const order = [...read.header.tensors.keys()];
    const rest = { parts, order, metadata };
    await writeAll([{ sink, segments: stateSegments(read.state, slq.fingerprint, workspace, rest) }], options.signal);
    return { rounds, errors };
  });
}
