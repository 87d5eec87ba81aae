// slq: the command line of rounds on files: init, status, next, probe, finish.
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { createRefit, type Refit } from "../calibrate/refit.ts";
import { WlqError } from "../error.ts";
import type { Format } from "../formats/format.ts";
import type { Sink } from "../io/sink.ts";
import { fileSink, fileSource, folderResolver } from "../node.ts";
import type { Slq } from "../slq/engine.ts";
import { finishState, initState, nextState, probeState, type SlqStatus, statusOf } from "../slq/files.ts";
import { type LayerRule, presets, SLQ_DEFAULTS, type SlqOptions } from "../slq/plan.ts";
import type { RoundReport } from "../slq/report.ts";
import type { GivenLosses } from "../slq/round.ts";
import { runState } from "../slq/run.ts";
import type { Schedule } from "../slq/schedule.ts";
import { integer, pattern, UsageError, word } from "./flags.ts";
import { plain, sqnrText, table } from "./show.ts";

const OPTIONS = {
  help: { type: "boolean", short: "h" },
  debug: { type: "boolean" },
  json: { type: "boolean" },
  quiet: { type: "boolean", short: "q" },
  preset: { type: "string" },
  levels: { type: "string" },
  bits: { type: "string" },
  grid: { type: "string" },
  "no-pin-zero": { type: "boolean" },
  symmetric: { type: "boolean" },
  partition: { type: "string" },
  across: { type: "boolean" },
  schedule: { type: "string" },
  prune: { type: "string" },
  "prune-schedule": { type: "string" },
  include: { type: "string" },
  exclude: { type: "string" },
  layer: { type: "string", multiple: true },
  snap: { type: "boolean" },
  losses: { type: "string" },
  calibration: { type: "string" },
} as const;

const D = SLQ_DEFAULTS;

export const SLQ_HELP: string = `wlq slq quantizes a network round by round, while you re-train it in any framework.

  wlq slq init MODEL STATE            a state of a model: weights, masks, plan
  wlq slq next STATE TRAINED STATE2   a round: cluster, freeze, new masks; TRAINED: the state's tensors after training
  wlq slq run STATE STATE2 --calibration STATS   all rounds at once, without training: least squares in its place
  wlq slq status STATE                how far it is
  wlq slq probe STATE TRAINED PROBE   the clusters of the next round, for measuring losses
  wlq slq finish STATE [TRAINED] OUT  the quantized model, in the model's format; TRAINED: biases trained after the last round

A state is a safetensors file. Train with every update multiplied by <name>.mask (1 free, 0 frozen), after momentum and
weight decay; tensors without a mask train freely. The first round needs no training: give STATE as TRAINED.

init
  --preset NAME            ${Object.keys(presets).join(", ")}
  --levels N               values a codebook, 2 to 256 (default ${D.levels}); or --bits N for 2^(N-1)+1, as in the paper
  --grid WHAT              free, pow2 or inq (default ${D.grid})
  --no-pin-zero            zero need not be a value
  --symmetric              values in pairs around zero
  --partition HOW          magnitude, error or loss: which clusters freeze first (default: loss with --losses, else magnitude)
  --across                 clusters of all layers compared together
  --schedule LIST          5,9,13,15,17 clusters a round, or 50%,75%,87.5%,100% of the weights, or MLQ's
                           loss, depth-first, or layers a round by name, each twice: "fc1.weight;fc1.weight,fc2.weight;fc2.weight"
  --prune SHARE            first freeze this share of each layer at zero, smallest first; --prune-schedule 50%,80%,100%
  --include/--exclude REGEX  layers; --layer REGEX=levels:9,sparsity:0.5 options for some (repeatable)
next
  --losses FILE.json       losses by layer and code, of the clusters that probe gave: {"fc1.weight": [0.31, null, 0.29]}
  --snap                   put frozen weights back that have moved, instead of refusing (exit code 3)
run
  --calibration STATS      what the layers see, from "wlq calibrate" or createObserver: free weights make up for frozen ones
all
  --json                   the report as JSON on standard output
`;

/** What the command line's other commands have, too. */
export interface Tools {
  readonly formats: readonly Format[];
  readonly signal: AbortSignal;
  say(text: string): number;
  sayJson(data: unknown): number;
  checkOutput(input: string, output: string, dryRun: boolean): Promise<void>;
  companionSink(input: string, output: string, name: string, used: ReadonlySet<string>): Sink;
}

/** Runs `wlq slq …`; returns the exit code. */
export async function slqCommand(args: readonly string[], tools: Tools): Promise<number> {
  const { values, positionals } = parse(args);
  const [command, ...files] = positionals;
  if (values.help || command === undefined) {
    tools.say(SLQ_HELP.trimEnd());
    return values.help ? 0 : 2;
  }
  const json = values.json ?? false;
  const show = (data: unknown, text: () => string): number => (json ? tools.sayJson(data) : tools.say(text()));
  switch (command) {
    case "init": {
      const [model, state] = names(files, "init", "MODEL STATE");
      const options = initOptions(values);
      return await between([model], state, tools, async ([source], folder) => {
        const status = await initState(source, fileSink(state), { ...options, ...folder });
        return show(status, () => `${statusText(status)}\n${state}: ${progress(status)}; ${nextStep(status, state)}`);
      });
    }
    case "status": {
      const [state] = names(files, "status", "STATE");
      const source = await fileSource(state);
      try {
        const status = await statusOf(source);
        return show(status, () => `${statusText(status)}\n${state}: ${progress(status)}; ${nextStep(status, state)}`);
      } finally {
        await source.close();
      }
    }
    case "next": {
      const [state, trained, state2] = names(files, "next", "STATE TRAINED STATE2");
      const losses = values.losses === undefined ? undefined : await readLosses(values.losses);
      return await between([state, trained], state2, tools, async ([source, weights], folder) => {
        const report = await nextState(source, weights, fileSink(state2), { ...folder, losses, snap: values.snap });
        return show(report, () => `${roundText(report)}\n${roundLine(state2, report)}\n${nextStep(report, state2)}`);
      });
    }
    case "run": {
      const [state, state2] = names(files, "run", "STATE STATE2");
      const { calibration } = values;
      if (calibration === undefined) throw new UsageError("wlq slq run takes --calibration STATS");
      const statistics = await fileSource(calibration);
      try {
        return await between([state], state2, tools, async ([source], folder) => {
          const begin = (slq: Slq): Promise<Refit> => createRefit(statistics, slq);
          const { rounds, errors } = await runState(source, fileSink(state2), begin, folder);
          return show({ rounds, errors }, () => runText(state2, rounds, errors));
        });
      } finally {
        await statistics.close();
      }
    }
    case "probe": {
      const [state, trained, probe] = names(files, "probe", "STATE TRAINED PROBE");
      return await between([state, trained], probe, tools, async ([source, weights], folder) => {
        const probes = await probeState(source, weights, fileSink(probe), folder);
        const clusters = probes.reduce((sum, { frozen }) => sum + frozen.filter((f) => f === 0).length, 0);
        return show(
          probes.map(({ codes: _, ...rest }) => rest),
          () => `${probe}: ${clusters} clusters of ${probes.length} layers to measure`,
        );
      });
    }
    case "finish": {
      const [state, trained, out] =
        files.length === 3
          ? names(files, "finish", "STATE TRAINED OUT")
          : [files[0] ?? "", undefined, names(files, "finish", "STATE OUT")[1]];
      const inputs = trained === undefined ? [state] : [state, trained];
      return await between(inputs, out, tools, async ([source, weights], folder) => {
        const companion = (name: string): Sink => tools.companionSink(state, out, name, new Set());
        const status = await finishState(source, fileSink(out), { ...folder, companion, trained: weights });
        const levels = Math.max(...status.layers.map((layer) => layer.codebook.length));
        const how = `wlq compress ${out} ${out}.wlq --levels ${levels} --scale none --min-size 0`;
        return show(
          status,
          () => `${statusText(status)}\n${out}: every layer has its codebook's values; "${how}" is lossless`,
        );
      });
    }
    default:
      throw new UsageError(
        `"wlq slq ${command}" is not a command; commands are init, next, run, status, probe, finish`,
      );
  }
}

function parse(
  args: readonly string[],
): ReturnType<typeof parseArgs<{ args: string[]; options: typeof OPTIONS; allowPositionals: true; strict: true }>> {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

type Values = ReturnType<typeof parse>["values"];
type Opened = Awaited<ReturnType<typeof fileSource>>;
type Folder = {
  formats: readonly Format[];
  resolve: ReturnType<typeof folderResolver>["resolve"];
  signal: AbortSignal;
};

function names<N extends number>(
  files: readonly string[],
  command: string,
  wanted: string,
): string[] & { length: N; 0: string; 1: string; 2: string } {
  const count = wanted.split(" ").length;
  if (files.length !== count)
    throw new UsageError(`wlq slq ${command} takes ${wanted}, got ${files.length} file names`);
  return files as never;
}

// Opens the inputs, refuses an output that is one of them, closes all.
async function between(
  inputs: readonly string[],
  output: string,
  tools: Tools,
  work: (sources: [Opened, Opened], folder: Folder) => Promise<number>,
): Promise<number> {
  const opened: Opened[] = [];
  const folder = folderResolver(inputs.at(-1) as string);
  try {
    for (const input of inputs) {
      opened.push(await fileSource(input));
      await tools.checkOutput(input, output, false);
    }
    return await work(opened as [Opened, Opened], {
      formats: tools.formats,
      resolve: folder.resolve,
      signal: tools.signal,
    });
  } finally {
    for (const source of opened) await source.close();
    await folder.closeAll();
  }
}

function initOptions(values: Values): SlqOptions {
  const options: Record<string, unknown> = { ...preset(values.preset) };
  const set = (key: keyof SlqOptions, value: unknown): void => {
    if (value !== undefined) options[key] = value;
  };
  const bits = integer("bits", values.bits);
  if (bits !== undefined && values.levels === undefined) delete options.levels;
  set("levels", integer("levels", values.levels));
  set("bits", bits);
  set("grid", word("grid", values.grid, ["free", "pow2", "inq"]));
  set("pinZero", values["no-pin-zero"] ? false : undefined);
  set("symmetric", values.symmetric);
  set("partition", word("partition", values.partition, ["loss", "magnitude", "error"]));
  set("across", values.across);
  set("schedule", schedule(values.schedule));
  set("include", pattern("include", values.include));
  set("exclude", pattern("exclude", values.exclude));
  const parts = values["prune-schedule"];
  if (values.prune !== undefined) {
    set("prune", {
      sparsity: share("prune", values.prune),
      ...(parts ? { schedule: shares("prune-schedule", parts) } : {}),
    });
  } else if (parts !== undefined) throw new UsageError("--prune-schedule needs --prune");
  if (values.layer) set("layers", values.layer.map(layerRule));
  return options;
}

function preset(name: string | undefined): SlqOptions {
  if (name === undefined) return {};
  if (!Object.hasOwn(presets, name))
    throw new UsageError(`--preset is one of ${Object.keys(presets).join(", ")}, got "${name}"`);
  return presets[name as keyof typeof presets];
}

function schedule(text: string | undefined): Schedule | undefined {
  if (text === undefined) return undefined;
  if (text === "loss" || text === "depth-first") return { states: text };
  if (text.includes(";"))
    return { states: text.split(";").map((round) => round.split(",").map((name) => name.trim())) };
  if (text.includes("%")) return { fractions: shares("schedule", text) };
  return { clusters: text.split(",").map((part) => integer("schedule", part) as number) };
}

function shares(flag: string, text: string): number[] {
  return text.split(",").map((part) => share(flag, part));
}

// 90% or 0.9
function share(flag: string, text: string): number {
  const value = text.endsWith("%") ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (text === "" || !(value >= 0 && value <= 1))
    throw new UsageError(`--${flag} takes shares like 0.9 or 90%, got "${text}"`);
  return value;
}

// REGEX=key:value,key:value — the last "=" divides, since a pattern may hold one
function layerRule(text: string): LayerRule {
  const at = text.lastIndexOf("=");
  if (at <= 0) throw new UsageError(`--layer takes REGEX=option:value,…, got "${text}"`);
  const rule: Record<string, unknown> = { match: pattern("layer", text.slice(0, at)) };
  for (const pair of text.slice(at + 1).split(",")) {
    const [key = "", value = ""] = pair.split(":");
    if (key === "levels" || key === "bits") rule[key] = integer(key, value);
    else if (key === "sparsity") rule.sparsity = share(key, value);
    else throw new UsageError(`--layer knows levels, bits and sparsity, got "${pair}"`);
  }
  return rule as unknown as LayerRule;
}

async function readLosses(path: string): Promise<GivenLosses> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new WlqError("malformed", `the losses in ${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  const isList = (x: unknown): boolean =>
    Array.isArray(x) && x.every((loss) => loss === null || typeof loss === "number");
  if (typeof json !== "object" || json === null || Array.isArray(json) || !Object.values(json).every(isList)) {
    throw new WlqError("malformed", `the losses in ${path} are not an object of lists of numbers, one a code`);
  }
  return json as GivenLosses;
}

const percent = (part: number, all: number): string => `${all > 0 ? ((100 * part) / all).toFixed(1) : "100.0"} %`;

function statusText({ layers, others }: SlqStatus): string {
  const rows = layers.map(({ name, dtype, shape, levels, weights, frozen, codebook, frozenCodes }) => [
    plain(name),
    `${dtype} ${shape.join("x")}`,
    String(levels),
    codebook.length > 0 ? `${frozenCodes.length} of ${codebook.length}` : "-",
    percent(frozen, weights),
  ]);
  const rest =
    others.length > 0
      ? [
          `${others.length} tensors without a mask, which train freely: ${others.slice(0, 6).map(plain).join(", ")}${others.length > 6 ? " …" : ""}`,
        ]
      : [];
  return [table(["layer", "type", "levels", "clusters frozen", "weights frozen"], rows, 2), ...rest].join("\n");
}

type Progress = Pick<SlqStatus, "round" | "rounds" | "done">;

function progress({ round, rounds, done }: Progress): string {
  if (done) return `all ${rounds} rounds are done`;
  return round === 0 ? `${rounds} rounds to go` : `round ${round} of ${rounds} is done`;
}

function nextStep({ round, done }: Progress, state: string): string {
  if (done) return `now: wlq slq finish ${state} OUT`;
  return round === 0
    ? `now: wlq slq next ${state} ${state} STATE2`
    : `now train under the masks, then: wlq slq next ${state} TRAINED STATE2`;
}

function roundText(report: RoundReport): string {
  const rows = report.layers.map(({ name, did, clusters, weights, frozen, sqnrDb, state }) => [
    plain(name),
    state === undefined ? did : `${did}, state ${state}`,
    `${clusters.filter((c) => c.frozen !== "free").length} of ${clusters.length}`,
    percent(frozen, weights),
    sqnrDb === undefined ? "" : sqnrText(sqnrDb),
  ]);
  return [
    table(["layer", "did", "clusters frozen", "weights frozen", "SQNR"], rows, 2),
    ...report.warnings.map(plain),
  ].join("\n");
}

function runText(path: string, rounds: readonly RoundReport[], errors: Readonly<Record<string, number>>): string {
  const rows = Object.entries(errors).map(([name, error]) => [
    plain(name),
    sqnrText(error > 0 ? -10 * Math.log10(error) : null),
  ]);
  return [table(["layer", "output SQNR"], rows, 1), ...rounds.map((report) => roundLine(path, report))].join("\n");
}

function roundLine(path: string, { round, rounds, frozen, weights, snapped, done }: RoundReport): string {
  const put = snapped > 0 ? `, ${snapped} weights put back` : "";
  return `${path}: round ${round} of ${rounds}, ${percent(frozen, weights)} of ${weights} weights frozen${put}${done ? "; all is quantized" : ""}`;
}
