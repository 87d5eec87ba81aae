// Flags: the command line's words to library options; their defaults are the library's.
import { parseArgs } from "node:util";
import type { CompressOptions } from "../compress.ts";
import { QUANTIZE_DEFAULTS } from "../options.ts";
import { COMPRESS_DEFAULTS, type TensorOptions, type TensorRule } from "../select.ts";

/** A mistake of the person at the keyboard: exit code 2, the message and where to read on. */
export class UsageError extends Error {}

const COMMANDS = ["compress", "decompress", "inspect", "verify", "plan", "calibrate", "compare"] as const;
export type Command = (typeof COMMANDS)[number];
// Named in the documentation, not there yet: better said than ignored.
const LATER_FLAGS = ["grid", "seed", "report"] as const;

const OPTIONS = {
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
  debug: { type: "boolean" },
  json: { type: "boolean" },
  quiet: { type: "boolean", short: "q" },
  "dry-run": { type: "boolean" },
  levels: { type: "string" },
  bits: { type: "string" },
  granularity: { type: "string" },
  "group-size": { type: "string" },
  axis: { type: "string" },
  scale: { type: "string" },
  method: { type: "string" },
  start: { type: "string" },
  steps: { type: "string" },
  "target-bits": { type: "string" },
  "target-sqnr": { type: "string" },
  lambda: { type: "string" },
  "target-size": { type: "string" },
  weighting: { type: "string" },
  plan: { type: "string" },
  output: { type: "string", short: "o" },
  "pin-zero": { type: "boolean" },
  importance: { type: "string" },
  calibration: { type: "string" },
  "held-out": { type: "string" },
  noise: { type: "string" },
  rate: { type: "string" },
  logits: { type: "boolean" },
  include: { type: "string" },
  exclude: { type: "string" },
  tensor: { type: "string", multiple: true },
  "min-size": { type: "string" },
  outliers: { type: "string" },
  to: { type: "string" },
  "non-finite": { type: "string" },
  entropy: { type: "string" },
  threads: { type: "string" },
} as const;

export interface CommandLine {
  readonly command: Command | undefined;
  readonly files: readonly string[];
  readonly help: boolean;
  readonly version: boolean;
  readonly debug: boolean;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly dryRun: boolean;
  /** A file of importances. */
  readonly importance: string | undefined;
  /** A statistics file. */
  readonly calibration: string | undefined;
  /** Share of sample inputs that choose no codes. */
  readonly heldOut: number | undefined;
  /** Share of the inputs' standard deviation. */
  readonly noise: number | undefined;
  /** What a bit counts when calibration chooses codes. */
  readonly rate: number | undefined;
  /** Whether outputs are logits. */
  readonly logits: boolean;
  /** A size, as it was written. */
  readonly targetSize: string | undefined;
  /** How errors of tensors compare in a plan. */
  readonly weighting: "absolute" | "relative" | undefined;
  /** A file with a plan to follow. */
  readonly planFile: string | undefined;
  /** Where a plan is written. */
  readonly output: string | undefined;
  /** Workers for `compress`. */
  readonly threads: number;
  readonly compress: CompressOptions;
}

/** Parses the arguments. Throws {@link UsageError}. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  for (const arg of args) {
    const flag = /^--([a-z-]+)/.exec(arg)?.[1];
    if (flag === "dim") {
      throw new UsageError(
        "--dim, codebooks of vectors, is not offered: --method ecsq has less error at the same size, see docs/results/vector.md",
      );
    }
    if (flag && (LATER_FLAGS as readonly string[]).includes(flag)) {
      throw new UsageError(`--${flag} is not there yet in this version`);
    }
  }
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  const [command, ...files] = positionals;
  if (command !== undefined && !(COMMANDS as readonly string[]).includes(command)) {
    throw new UsageError(`"${command}" is not a command; commands are ${COMMANDS.join(", ")}`);
  }
  return {
    command: command as Command | undefined,
    files,
    help: values.help ?? false,
    version: values.version ?? false,
    debug: values.debug ?? false,
    json: values.json ?? false,
    quiet: values.quiet ?? false,
    dryRun: values["dry-run"] ?? false,
    importance: values.importance,
    calibration: values.calibration,
    heldOut: decimal("held-out", values["held-out"]),
    noise: decimal("noise", values.noise),
    rate: decimal("rate", values.rate),
    logits: values.logits ?? false,
    targetSize: values["target-size"],
    weighting: word("weighting", values.weighting, ["absolute", "relative"]) as CommandLine["weighting"],
    planFile: values.plan,
    output: values.output,
    threads: integer("threads", values.threads) ?? 1,
    compress: compressOptions(values),
  };
}

function parse(
  args: readonly string[],
): ReturnType<typeof parseArgs<{ args: string[]; options: typeof OPTIONS; allowPositionals: true; strict: true }>> {
  return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
}

type Values = ReturnType<typeof parse>["values"];

function compressOptions(values: Values): CompressOptions {
  const options: Record<string, unknown> = {};
  const set = (key: string, value: unknown): void => {
    if (value !== undefined) options[key] = value;
  };
  set("levels", integer("levels", values.levels));
  set("bits", integer("bits", values.bits));
  set("granularity", word("granularity", values.granularity, ["tensor", "channel", "group"]));
  set("groupSize", integer("group-size", values["group-size"]));
  set("axis", integer("axis", values.axis));
  set("scale", word("scale", values.scale, ["none", "channel", "group"]));
  set("method", method(values.method));
  set("start", word("start", values.start, ["linear", "quantile"]));
  set("steps", integer("steps", values.steps));
  set("targetBits", decimal("target-bits", values["target-bits"]));
  set("targetSqnr", decimal("target-sqnr", values["target-sqnr"]));
  set("lambda", decimal("lambda", values.lambda));
  set("outliers", decimal("outliers", values.outliers));
  set("pinZero", values["pin-zero"]);
  set("include", pattern("include", values.include));
  set("exclude", pattern("exclude", values.exclude));
  set("minSize", integer("min-size", values["min-size"]));
  set("to", word("to", values.to, ["container", "dense", "onnx"]));
  set("entropy", word("entropy", values.entropy, ["auto", "none"]));
  set("nonFinite", word("non-finite", values["non-finite"], ["error", "keep"]));
  if (values.tensor) set("tensors", values.tensor.map(tensorRule));
  return options as CompressOptions;
}

export function integer(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^-?\d+$/.test(text)) throw new UsageError(`--${flag} takes a whole number, got "${text}"`);
  return Number(text);
}

export function word(flag: string, text: string | undefined, allowed: readonly string[]): string | undefined {
  if (text !== undefined && !allowed.includes(text)) {
    throw new UsageError(`--${flag} is one of ${allowed.join(", ")}, got "${text}"`);
  }
  return text;
}

function method(text: string | undefined): string | undefined {
  return word("method", text, ["optimal", "lloyd", "uniform", "ecsq"]);
}

function decimal(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d*\.?\d+(e[+-]?\d+)?$/i.test(text)) throw new UsageError(`--${flag} takes a number, got "${text}"`);
  return Number(text);
}

export function pattern(flag: string, text: string | undefined): RegExp | undefined {
  if (text === undefined) return undefined;
  try {
    return new RegExp(text, "u");
  } catch (error) {
    throw new UsageError(`--${flag} is not a regular expression: ${(error as Error).message}`);
  }
}

// REGEX=key:value,key:value — the last "=" divides, since a pattern may hold one
function tensorRule(text: string): TensorRule {
  const at = text.lastIndexOf("=");
  if (at <= 0) throw new UsageError(`--tensor takes REGEX=option:value,…, got "${text}"`);
  const match = pattern("tensor", text.slice(0, at)) as RegExp;
  const options: Record<string, unknown> = {};
  for (const pair of text.slice(at + 1).split(",")) {
    const colon = pair.indexOf(":");
    const key = pair.slice(0, colon);
    const value = pair.slice(colon + 1);
    if (colon < 0) throw new UsageError(`--tensor options are option:value, got "${pair}"`);
    if (key === "levels" || key === "bits" || key === "axis" || key === "steps") options[key] = integer(key, value);
    else if (key === "group-size") options.groupSize = integer(key, value);
    else if (key === "granularity") options[key] = word(key, value, ["tensor", "channel", "group"]);
    else if (key === "scale") options[key] = word(key, value, ["none", "channel", "group"]);
    else if (key === "target-bits") options.targetBits = decimal(key, value);
    else if (key === "target-sqnr") options.targetSqnr = decimal(key, value);
    else if (key === "lambda") options.lambda = decimal(key, value);
    else if (key === "outliers") options[key] = decimal(key, value);
    else if (key === "method") options[key] = method(value);
    else if (key === "start") options[key] = word(key, value, ["linear", "quantile"]);
    else if (key === "pin-zero") options.pinZero = word(key, value, ["true", "false"]) === "true";
    else throw new UsageError(`--tensor knows no option "${key}"`);
  }
  return { match, options: options as TensorOptions };
}

const D = QUANTIZE_DEFAULTS;
const C = COMPRESS_DEFAULTS;

export const HELP: string = `wlq quantizes the weights of neural networks to learned codebooks.

  wlq compress IN OUT      make a model file smaller
  wlq decompress IN OUT    make a model file of its first format again
  wlq inspect IN           what a file holds
  wlq calibrate MODEL INPUTS STATS   runs an ONNX model on sample inputs, writes statistics of what its layers see
  wlq compare MODEL OTHER INPUTS     runs both on the inputs: how far OTHER, an ONNX model or a container of one, is off
  wlq verify IN [ORIGINAL] whether a compressed file is whole, and how far it is from the original
  wlq plan IN              how many levels each tensor should get, for a size or an error in all
  wlq slq …                quantize round by round while the network is re-trained: wlq slq --help

Formats: safetensors, ONNX and Caffe (.caffemodel), told apart by their content.

How weights are quantized
  --levels N               values a codebook, 2 to 256 (default ${C.levels}; with ecsq at most 256); or --bits N for 2^N
  --granularity WHAT       tensor, channel or group: which weights share a codebook (default ${D.granularity})
  --scale WHAT             none, channel or group: a factor before one shared codebook (default ${C.scale}; with
                           --granularity channel or group: none)
  --group-size N           weights a group (default ${D.groupSize})
  --axis N                 channel axis (default: the output channels, as the format knows them)
  --pin-zero               zeros stay zeros
  --method HOW             optimal, lloyd, uniform or ecsq (default ${D.method})
  --start WHAT, --steps N  for lloyd: linear or quantile, and the most steps
  --target-bits B          for ecsq, which weighs error against entropy-coded size: bits a weight, codebook and scales
                           counted; or --target-sqnr DB; or --lambda L, the squared error that a bit is worth
  --outliers SHARE         this share of each tensor's weights (0.005) stays exact: the largest or, with importance,
                           those where an error would cost most; not for onnx
  --calibration STATS      codes such that layer outputs stay what they are on the inputs that "wlq calibrate" saw;
                           with a target size or for plan: levels, too
  --rate R                 with --calibration: what a bit of a coded container counts when codes are chosen: 1 as
                           much as the error that it takes away (default 0, nothing)
  --held-out SHARE         for calibrate: this share of the inputs (0.2) chooses no codes but tells how well the chosen
                           do on others; for compare: only those inputs
  --noise SHARE            for calibrate: each input once more with noise, this share (0.6) of its standard deviation,
                           so that inputs unlike the samples do better
  --logits                 for compare: outputs are compared behind a softmax, too
  --importance FILE        what an error in each weight costs: tensors of the same names, of the same shapes or
                           shapes that broadcast to them (squared gradients; a mean square per input)

How large it becomes: each tensor gets the codebook that leaves the least error in all
  --target-size SIZE       the whole output, from below: 2MB, 1.5MiB; for compress and plan
  --weighting WHAT         absolute: the least squared error in all (default); relative: errors count beside their own
                           tensor's weights, so that none is ruined: mostly better for what the model does
  --plan FILE              compress as this plan says; plans count entropy-coded sizes (--method ecsq), or, with
                           --method optimal and for onnx, levels of one width
  --target-bits B          for plan: mean bits a weight, codebooks and scales counted; or --target-sqnr DB in all
  -o, --output FILE        for plan: where it is written, as JSON

Which tensors
  --min-size N             fewest weights that pay (default ${C.minSize})
  --include REGEX          only these, whatever their size or kind
  --exclude REGEX          never these
  --tensor REGEX=OPTIONS   options for some: --tensor 'lm_head=levels:256,granularity:channel' (repeatable)
  --non-finite WHAT        error or keep: what a NaN in a tensor you named does (default error)

What comes out
  --to WHAT                container (a safetensors file, default), dense (the input's format, quantized values),
                           onnx (weights are decoded inside the graph: runs in any ONNX runtime)
  --entropy WHAT           auto: entropy-coded where that is smaller (containers, default), or none: codes of one width
  --threads N              workers for compress (default 1): the same bytes
  --dry-run                do everything but write
  --json                   the report as JSON on standard output
  -q, --quiet              no progress
  --debug                  stack traces

Exit codes: 0 done, 1 verification failed, 2 usage, 3 bad input, 4 input/output or resources, 130 interrupted.
`;
