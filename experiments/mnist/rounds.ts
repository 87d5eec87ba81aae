// Rounds: one method on one network from one seed, through the files of `wlq slq`; what is done is not done again.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { RoundReport } from "../../src/slq/report.ts";
import { FLOAT, FLOAT_LONG, FLOAT_ROUNDS, type Method, type Network, type Retraining } from "./settings.ts";
import type { Measured, Trainer } from "./trainer.ts";

/** A round on the validation set, for the curves. */
export interface RoundResult {
  readonly round: number;
  readonly rounds: number;
  /** Share of the weights that is frozen. */
  readonly frozen: number;
  /** After freezing, before training. */
  readonly before: Measured;
  /** After training; trained ahead: with the weights behind, which the round after rounds. */
  readonly after: Measured;
  /** Epochs since the base network. */
  readonly epochs: number;
  /** How many values each layer has in the last round. */
  readonly values?: Readonly<Record<string, number>>;
}

/** Everything about one run; files are in `folder`. */
export interface Run {
  readonly network: Network;
  readonly seed: number;
  readonly method: Method;
  readonly folder: string;
  /** The network that it starts from. */
  readonly base: string;
  /** The float network that teaches it. */
  readonly teacher?: string;
}

/**
 * Where a run's files are: the name says what it is, the digits stand for every option. One-shot clustering starts from
 * the float network that all are compared with, trained for as many epochs as they are; everything else from the base.
 */
export function runOf(out: string, network: Network, seed: number, method: Method): Run {
  const { name, base, lossImages } = network;
  const trains = {
    ...retrainingOf(network, method),
    lossImages: method.byLoss ? lossImages : null,
    ...(method.ahead && { ahead: true }),
    ...(method.settle && { settle: true }),
  };
  const key = keyOf({ name, base, seed, init: method.init, byLoss: method.byLoss, trains });
  const oneShot = method.family === "one-shot";
  const own = { network, seed, method, folder: join(out, `${name}-seed${seed}-${method.name}-${key}`) };
  if (method.family === "float" && !method.taught) return { ...own, base: basePath(out, network, seed) };
  const float = resultPath(runOf(out, network, seed, method.long ? FLOAT_LONG : FLOAT));
  if (oneShot) return { ...own, base: float };
  return { ...own, base: basePath(out, network, seed), ...(trains.teaching && { teacher: float }) };
}

function retrainingOf(network: Network, method: Method): Retraining {
  const retraining = (method.long && network.longRetrain) || network.retrain;
  const { teaching, ...labels } = retraining;
  if (method.family === "float" && !method.taught) return labels;
  const { teaching: own, decay } = method;
  return { ...retraining, ...(own && { teaching: own }), ...(decay && { decay }) };
}

/** The trained float network that all methods of a seed start from. */
export function basePath(out: string, { name, base }: Network, seed: number): string {
  return join(out, `${name}-seed${seed}-base-${keyOf({ name, base, seed })}.safetensors`);
}

const keyOf = (options: object): string =>
  createHash("sha256").update(JSON.stringify(options)).digest("hex").slice(0, 10);

/** The network that the test set is read with, once the run is complete. */
export function resultPath(run: Run): string {
  return join(run.folder, "result.safetensors");
}

/** Trains what is not there yet; the rounds' results. */
export async function runRounds(run: Run, trainer: Trainer, keep: boolean): Promise<RoundResult[]> {
  const { method, folder, base } = run;
  await mkdir(folder, { recursive: true });
  const done = join(folder, "rounds.json");
  const known = await readJson<RoundResult[]>(done);
  if (known) return known;
  if (!existsSync(base)) {
    const { network, seed } = run;
    await trainer.run({ do: "new", ...network.base, seed, batches: batchSeed(seed, 0), out: base });
  }
  const rounds = method.init ? await initialRounds(run) : FLOAT_ROUNDS;
  const results: RoundResult[] = [];
  for (let round = 1; round <= rounds; round++) {
    const path = join(folder, `round${round}.json`);
    let result = await readJson<RoundResult>(path);
    if (!result) {
      result = await runRound(run, trainer, round, rounds);
      await writeWhole(path, result);
    }
    results.push(result);
    if (!keep && round > 1) await removeRound(folder, round - 1);
  }
  await finish(run, rounds);
  await writeWhole(done, results);
  if (!keep) await removeRound(folder, rounds);
  return results;
}

// `wlq slq init`; the number of rounds.
async function initialRounds({ folder, base, method }: Run): Promise<number> {
  const status = await wlq<{ rounds: number }>("init", base, statePath(folder, 0), ...(method.init ?? []));
  return status.rounds;
}

const statePath = (folder: string, round: number): string => join(folder, `state${round}.safetensors`);
const trainedPath = (folder: string, round: number): string => join(folder, `trained${round}.safetensors`);

async function runRound(run: Run, trainer: Trainer, round: number, rounds: number): Promise<RoundResult> {
  const { folder, base, method, network } = run;
  const { biasEpochs, epochs: all } = retrainingOf(network, method);
  // trained ahead, there is a training before the first round, too
  const each = method.init ? (all - biasEpochs) / (method.ahead ? rounds : rounds - 1) : all / rounds;
  const trained = round === 1 && !method.ahead ? base : trainedPath(folder, round - 1);
  if (round === 1 && method.ahead) await train(run, trainer, 0, each, statePath(folder, 0));
  let state = trained;
  let frozen = 0;
  let values: Record<string, number> | undefined;
  if (method.init) {
    state = statePath(folder, round);
    const report = await nextState(run, trainer, round, trained);
    frozen = report.frozen / report.weights;
    if (report.done) values = Object.fromEntries(report.layers.map(({ name, clusters }) => [name, clusters.length]));
  }
  const before = await trainer.measure(state, "validation");
  if (method.family === "one-shot")
    return { round, rounds, frozen, before, after: before, epochs: 0, ...(values && { values }) };

  const last = method.init !== null && round === rounds;
  await train(run, trainer, round, last ? biasEpochs : each, state, last);
  const after = await trainer.measure(trainedPath(folder, round), "validation");
  const total = round < rounds ? (method.ahead ? round + 1 : round) * each : all;
  return { round, rounds, frozen, before, after, epochs: total, ...(values && { values }) };
}

// Under the state's masks; `last`: no round follows.
async function train(
  run: Run,
  trainer: Trainer,
  round: number,
  epochs: number,
  state: string,
  last = false,
): Promise<void> {
  const { folder, method, network, seed, teacher } = run;
  const { biasEpochs: _, epochs: __, teaching, ...training } = retrainingOf(network, method);
  const taught = teacher ? { teacher, ...teaching } : {};
  const probe = join(folder, "probe.safetensors");
  const zeros = method.zeros?.[round];
  const ahead = method.ahead && !last ? (zeros ? { zeros } : { ahead: probe, settle: method.settle ?? false }) : {};
  if ("ahead" in ahead) await wlq("probe", state, state, probe);
  const batches = batchSeed(seed, round);
  const out = trainedPath(folder, round);
  await trainer.run({ do: "train", ...training, ...taught, ...ahead, epochs, batches, state, out });
  await rm(probe, { force: true });
}

async function nextState(run: Run, trainer: Trainer, round: number, trained: string): Promise<RoundReport> {
  const { folder, method, network } = run;
  const before = statePath(folder, round - 1);
  const losses = join(folder, "losses.json");
  if (method.byLoss) {
    const probe = join(folder, "probe.safetensors");
    await wlq("probe", before, trained, probe);
    await trainer.run({ do: "losses", state: before, trained, probe, out: losses, images: network.lossImages });
    await rm(probe);
  }
  const given = method.byLoss ? ["--losses", losses] : [];
  return await wlq<RoundReport>("next", before, trained, statePath(folder, round), ...given);
}

// All methods see the same batches in the same round: differences are paired.
const batchSeed = (seed: number, round: number): number => 1000 * seed + round;

// `wlq slq finish` refuses if a frozen weight has moved in the last training, that of the biases.
async function finish(run: Run, rounds: number): Promise<void> {
  const { folder, method } = run;
  const part = join(folder, "result.part");
  if (!method.init) await rename(trainedPath(folder, rounds), part);
  else if (method.family === "one-shot") await wlq("finish", statePath(folder, rounds), part);
  else await wlq("finish", statePath(folder, rounds), trainedPath(folder, rounds), part);
  await rename(part, resultPath(run));
}

async function removeRound(folder: string, round: number): Promise<void> {
  const files = [statePath(folder, round - 1), trainedPath(folder, round - 1), join(folder, "losses.json")];
  for (const file of files) await rm(file, { force: true });
}

/** Runs `wlq slq …` of the built package; its report. */
async function wlq<T>(...args: string[]): Promise<T> {
  const { stdout } = await promisify(execFile)(process.execPath, ["dist/cli.js", "slq", ...args, "--json", "--quiet"], {
    maxBuffer: 1 << 26,
  });
  return JSON.parse(stdout) as T;
}

/** A file that an interrupted run left is whole or not there. */
export async function writeWhole(path: string, data: unknown): Promise<void> {
  await writeFile(`${path}.part`, JSON.stringify(data));
  await rename(`${path}.part`, path);
}

/** `undefined` where there is no such file. */
export async function readJson<T>(path: string): Promise<T | undefined> {
  return existsSync(path) ? (JSON.parse(await readFile(path, "utf8")) as T) : undefined;
}
