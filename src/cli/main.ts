// The command line: parses, calls the library, prints; its errors become exit codes.
import { access, constants, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { version } from "../../package.json";
import { calibration } from "../calibrate/calibration.ts";
import { compress } from "../compress.ts";
import { decompress } from "../decompress.ts";
import { WlqError } from "../error.ts";
import { caffe } from "../formats/caffe.ts";
import { onnx } from "../formats/onnx.ts";
import { inspect, verify } from "../inspect.ts";
import { discardSink, type Sink } from "../io/sink.ts";
import { fileSink, fileSource, folderResolver } from "../node.ts";
import { threads } from "../threads/index.ts";
import { calibrateText, runCalibrate } from "./calibrate.ts";
import { compareText, runCompare } from "./compare.ts";
import { type CommandLine, HELP, parseCommandLine, UsageError } from "./flags.ts";
import { makePlan, planFor, planText } from "./plan.ts";
import { progressView } from "./progress.ts";
import { bytesText, closingLine, inspectionText, plain, reportText, sqnrText } from "./show.ts";
import { slqCommand } from "./slq.ts";

const FORMATS = [onnx(), caffe()];

async function main(args: readonly string[]): Promise<number> {
  // its flags are its own
  if (args[0] === "slq") return await interruptible((signal) => runSlq(args.slice(1), signal));
  const line = parseCommandLine(args);
  if (line.version) return say(`wlq ${version}`);
  if (line.help || line.command === undefined) {
    process.stdout.write(HELP);
    return line.help ? 0 : 2;
  }
  return await interruptible(async (signal) => {
    switch (line.command) {
      case "compress":
        return await runCompress(line, signal);
      case "decompress":
        return await runDecompress(line, signal);
      case "inspect":
        return await runInspect(line);
      case "plan":
        return await runPlan(line, signal);
      case "calibrate":
        return await runCalibration(line, signal);
      case "compare":
        return await runComparison(line, signal);
      default:
        return await runVerify(line, signal);
    }
  });
}

/** Runs something that Ctrl-C stops in an orderly way. */
async function interruptible(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const abort = new AbortController();
  const interrupt = (): void => abort.abort(new Error("interrupted"));
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  try {
    return await work(abort.signal);
  } finally {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}

async function runSlq(args: readonly string[], signal: AbortSignal): Promise<number> {
  return await slqCommand(args, { formats: FORMATS, signal, say, sayJson, checkOutput, companionSink });
}

function say(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}

function sayJson(data: unknown): number {
  // typed arrays as arrays, so that they read as lists
  return say(JSON.stringify(data, (_key, value) => (ArrayBuffer.isView(value) ? [...(value as Float64Array)] : value)));
}

function twoFiles({ files, command }: CommandLine): [string, string] {
  if (files.length !== 2) throw new UsageError(`wlq ${command} takes IN and OUT, got ${files.length} file names`);
  return files as [string, string];
}

async function runCompress(line: CommandLine, signal: AbortSignal): Promise<number> {
  const [input, output] = twoFiles(line);
  const source = await fileSource(input);
  const folder = folderResolver(input);
  const view = progressView(line.quiet);
  let importance: Awaited<ReturnType<typeof fileSource>> | undefined;
  let statistics: Awaited<ReturnType<typeof fileSource>> | undefined;
  const used = new Set<string>();
  try {
    await checkOutput(input, output, line.dryRun);
    importance = line.importance === undefined ? undefined : await fileSource(line.importance);
    statistics = line.calibration === undefined ? undefined : await fileSource(line.calibration);
    const files = {
      formats: FORMATS,
      resolve(name: string) {
        used.add(name);
        return folder.resolve(name);
      },
      onProgress: view.update,
      signal,
    };
    const plan = await planFor(line, source, files, { importance, statistics });
    // a plan that was made for these options holds them; one from a file stands for itself
    const { to, nonFinite } = line.compress;
    const made = { ...(to ? { to } : {}), ...(nonFinite ? { nonFinite } : {}) };
    const report = await compress(source, line.dryRun ? discardSink() : fileSink(output), {
      ...(plan && line.planFile === undefined ? made : line.compress),
      ...files,
      ...(plan ? { plan } : {}),
      ...(importance ? { importance } : {}),
      ...(line.threads === 1 ? {} : { threads: threads(line.threads) }),
      ...(statistics
        ? { calibration: calibration(statistics, line.rate === undefined ? {} : { rate: line.rate }) }
        : {}),
      companion: (name) => (line.dryRun ? discardSink() : companionSink(input, output, name, used)),
    });
    view.stop();
    if (line.json) return sayJson(report);
    for (const warning of report.warnings) process.stderr.write(`wlq: ${plain(warning)}\n`);
    say(reportText(report));
    return say(`${line.dryRun ? "would be: " : ""}${closingLine(input, output, report)}`);
  } finally {
    view.stop();
    await source.close();
    await importance?.close();
    await statistics?.close();
    await folder.closeAll();
  }
}

async function runPlan(line: CommandLine, signal: AbortSignal): Promise<number> {
  const [input] = line.files;
  if (input === undefined || line.files.length !== 1) throw new UsageError("wlq plan takes one file name");
  const source = await fileSource(input);
  const folder = folderResolver(input);
  const view = progressView(line.quiet);
  let importance: Awaited<ReturnType<typeof fileSource>> | undefined;
  let statistics: Awaited<ReturnType<typeof fileSource>> | undefined;
  try {
    importance = line.importance === undefined ? undefined : await fileSource(line.importance);
    statistics = line.calibration === undefined ? undefined : await fileSource(line.calibration);
    const files = { formats: FORMATS, resolve: folder.resolve, onProgress: view.update, signal };
    const found = await makePlan(line, source, files, { importance, statistics });
    view.stop();
    if (line.json) return sayJson(found);
    for (const warning of found.warnings) process.stderr.write(`wlq: ${plain(warning)}\n`);
    return say(planText(input, found));
  } finally {
    view.stop();
    await source.close();
    await importance?.close();
    await statistics?.close();
    await folder.closeAll();
  }
}

/** A companion goes beside the output; it must not take the place of one of the input's. */
function companionSink(input: string, output: string, name: string, used: ReadonlySet<string>): Sink {
  const path = join(dirname(resolve(output)), name);
  if (path === resolve(output))
    throw new WlqError("unsafe-path", `the output's companion file has the output's own name, "${name}"`);
  if (used.has(name) && dirname(resolve(output)) === dirname(resolve(input))) {
    throw new WlqError(
      "unsafe-path",
      `the output's companion file "${name}" would replace the input's: write to another folder`,
    );
  }
  return fileSink(path);
}

/** What can be known to go wrong before the work begins. */
async function checkOutput(input: string, output: string, dryRun: boolean): Promise<void> {
  const there = await stat(output).catch(() => undefined);
  if (there && (await realpath(output)) === (await realpath(input))) {
    throw new UsageError("IN and OUT are the same file");
  }
  if (there?.isDirectory()) throw new WlqError("io", `${output} is a folder`);
  if (dryRun) return;
  try {
    await access(dirname(resolve(output)), constants.W_OK);
  } catch (cause) {
    throw new WlqError("io", `writing failed: ${(cause as Error).message}`, { cause });
  }
}

async function runDecompress(line: CommandLine, signal: AbortSignal): Promise<number> {
  const [input, output] = twoFiles(line);
  const source = await fileSource(input);
  const view = progressView(line.quiet);
  try {
    await checkOutput(input, output, line.dryRun);
    const report = await decompress(source, line.dryRun ? discardSink() : fileSink(output), {
      formats: FORMATS,
      companion: (name) => (line.dryRun ? discardSink() : companionSink(input, output, name, new Set())),
      onProgress: view.update,
      signal,
    });
    view.stop();
    if (line.json) return sayJson(report);
    return say(
      `${input} (${bytesText(report.bytesIn)}) -> ${output} (${bytesText(report.bytesOut)}), ${plain(report.format)}`,
    );
  } finally {
    view.stop();
    await source.close();
  }
}

async function runInspect(line: CommandLine): Promise<number> {
  const [input] = line.files;
  if (input === undefined || line.files.length !== 1) throw new UsageError("wlq inspect takes one file name");
  const source = await fileSource(input);
  const folder = folderResolver(input);
  try {
    const inspection = await inspect(source, { formats: FORMATS, resolve: folder.resolve });
    return line.json ? sayJson(inspection) : say(inspectionText(input, inspection));
  } finally {
    await source.close();
    await folder.closeAll();
  }
}

async function runVerify(line: CommandLine, signal: AbortSignal): Promise<number> {
  const [input, original] = line.files;
  if (input === undefined || line.files.length > 2) throw new UsageError("wlq verify takes IN and perhaps ORIGINAL");
  const source = await fileSource(input);
  const folder = folderResolver(original ?? input);
  let other: Awaited<ReturnType<typeof fileSource>> | undefined;
  try {
    other = original === undefined ? undefined : await fileSource(original);
    const result = await verify(source, other, { formats: FORMATS, resolve: folder.resolve, signal });
    if (line.json) sayJson(result);
    else {
      for (const problem of result.problems) say(plain(problem));
      const against = result.sqnrDb === undefined ? "" : `, SQNR ${sqnrText(result.sqnrDb)} against the original`;
      say(`${input}: ${result.ok ? "whole" : "DAMAGED"}, ${result.checked} tensors checked${against}`);
    }
    return result.ok ? 0 : 1;
  } finally {
    await source.close();
    await other?.close();
    await folder.closeAll();
  }
}

async function runCalibration(line: CommandLine, signal: AbortSignal): Promise<number> {
  const [model, inputs, output] = line.files;
  if (output === undefined || line.files.length !== 3) {
    throw new UsageError(`wlq calibrate takes MODEL, INPUTS and STATS, got ${line.files.length} file names`);
  }
  await checkOutput(model as string, output, line.dryRun);
  const { include, exclude } = line.compress;
  const { heldOut, noise } = line;
  const report = await countingRuns(line, (onRun) =>
    runCalibrate(model as string, inputs as string, output, { include, exclude, heldOut, noise, signal, onRun }),
  );
  return line.json ? sayJson(report) : say(calibrateText(output, report));
}

async function runComparison(line: CommandLine, signal: AbortSignal): Promise<number> {
  const [model, other, inputs] = line.files;
  if (inputs === undefined || line.files.length !== 3) {
    throw new UsageError(`wlq compare takes MODEL, OTHER and INPUTS, got ${line.files.length} file names`);
  }
  const { heldOut, logits } = line;
  const report = await countingRuns(line, (onRun) =>
    runCompare(model as string, other as string, inputs, { heldOut, logits, signal, onRun }),
  );
  return line.json ? sayJson(report) : say(compareText(report));
}

/** Shows on a terminal how many runs are done. */
async function countingRuns<T>(
  { quiet }: CommandLine,
  work: (onRun: (runs: number) => void) => Promise<T>,
): Promise<T> {
  const terminal = process.stderr.isTTY && !quiet;
  const done = await work((runs) => void (terminal && process.stderr.write(`\r${runs} runs`)));
  if (terminal) process.stderr.write("\r");
  return done;
}

function exitCode(error: unknown): number {
  if (error instanceof UsageError || error instanceof RangeError || error instanceof TypeError) return 2;
  if (!(error instanceof WlqError)) return 70;
  if (error.code === "io" || error.code === "resources") return 4;
  return error.code === "aborted" ? 130 : 3;
}

// a reader that has seen enough (wlq inspect … | head) is no error; a disk that is full is one
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return;
  process.stderr.write(`wlq: standard output: ${error.message}\n`);
  process.exitCode = 4;
});
process.stderr.on("error", () => {});

const args = process.argv.slice(2);
main(args).then(
  (code) => {
    process.exitCode ??= code;
  },
  (error: unknown) => {
    const code = exitCode(error);
    const message = plain(error instanceof Error ? error.message : String(error));
    process.stderr.write(`wlq: ${code === 70 ? "internal error: " : ""}${message}\n`);
    if (code === 2) process.stderr.write("wlq --help tells how to use it\n");
    if (args.includes("--debug") && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    process.exitCode = code;
  },
);
