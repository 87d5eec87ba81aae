// Compress: a model file to a smaller one, tensor by tensor, in memory that does not grow with it.
import type { Calibration } from "./calibration.ts";
import { groupingOf, layoutOf } from "./codebook.ts";
import { type Clustered, codedSegment, type Tell } from "./coded.ts";
import { containerSegments } from "./container/writer.ts";
import { loadEntropyCoder } from "./entropy-coder.ts";
import { malformed, WlqError } from "./error.ts";
import type { CodedTensor, Format, Model, OutputFiles, TensorEntry } from "./formats/format.ts";
import type { ImportanceTensor } from "./importance.ts";
import { checkAborted, type Sink, type Writing, writeAll } from "./io/sink.ts";
import { byteSource, type Resolve, type Source } from "./io/source.ts";
import { openModel } from "./open.ts";
import { oneOf, type QuantizePlan } from "./options.ts";
import type { Rest } from "./outliers.ts";
import { importanceFault, type Passes } from "./passes.ts";
import type { Plan } from "./plan.ts";
import { clusterTensor } from "./quantize.ts";
import { type Report, type TensorReport, totalsOf } from "./report.ts";
import type { SelectOptions } from "./select.ts";
import { countElements, type FloatDtype } from "./tensor.ts";
import type { Team, Threads } from "./threads.ts";
import { type EncodeScope, encodeBinary, encodeScope } from "./wasm/encode.ts";
import { instantiate, load } from "./wasm/kernel.ts";
import { WorkScope } from "./wasm/scope.ts";
import { loadWork } from "./wasm/work.ts";
import { WeightReader, wholeTensor } from "./weights.ts";
import { leave, workOn } from "./work.ts";

/** How far an operation is. */
export interface Progress {
  readonly phase: "cluster" | "code" | "write";
  /** The tensor in hand. */
  readonly tensor: string;
  /** Weights done, of `total`, over all phases. */
  readonly done: number;
  readonly total: number;
}

/** What reading and writing model files have in common. */
export interface FileOptions {
  /** Formats besides safetensors: `[onnx()]`. */
  readonly formats?: readonly Format[];
  /** Finds companion files of the input (ONNX external data). */
  readonly resolve?: Resolve;
  /** A sink per companion file of the output. */
  readonly companion?: (name: string) => Sink;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface CompressOptions extends SelectOptions, FileOptions {
  /** `container` (a safetensors file, default), `dense` (the input's format with quantized values), `onnx`; or the plan's. */
  readonly to?: "container" | "dense" | "onnx";
  /**
   * How a container's codes are stored: `auto` entropy-codes those of every tensor that gets smaller by it, which reads large
   * tensors two times more, and deflates a model's graph; `none` gives all codes of a tensor the same width. Default `auto`,
   * or what the plan was made for.
   */
  readonly entropy?: "auto" | "none";
  /**
   * `calibration(statistics)` of wlq/calibrate: codes are chosen such that the outputs of the layers it knows stay what
   * they are. Other weights get 256 levels, unless a rule of `tensors` says otherwise.
   */
  readonly calibration?: Calibration;
  /** What a NaN or infinity in a tensor that the user named does. Default `error`; `keep` passes the tensor through. */
  readonly nonFinite?: "error" | "keep";
  /**
   * What an error in each weight costs: a model file with tensors of the same names (squared gradients, Fisher
   * information), each of its weight's shape or one that broadcasts to it. Tensors it lacks: all weights count the same.
   */
  readonly importance?: Source;
  /** How every tensor is quantized, from `plan`; instead of all options that say which and how. */
  readonly plan?: Plan;
  /** `threads(n)` of wlq/threads: work goes to workers, the bytes stay the same. Tensors that calibration knows do not. */
  readonly threads?: Threads | undefined;
}

/**
 * Compresses a model file. Reads from a random-access source, writes the sink once from start to end, closes it when
 * whole and aborts it on any error.
 *
 * @throws WlqError with the code and, where there is one, the tensor; RangeError and TypeError for wrong options
 * @example
 * await compress(fileSource("model.safetensors"), fileSink("model.wlq.safetensors"), { levels: 16, scale: "channel" });
 */
export async function compress(source: Source, sink: Sink, options: CompressOptions = {}): Promise<Report> {
  const started = performance.now();
  const teams: Team[] = [];
  try {
    if (!encodeBinary.ready) await loadWork(encodeBinary);
    return await run(source, sink, options, started, teams);
  } catch (error) {
    // before the writer had the sink
    if (!sink.locked) await sink.abort(error).catch(() => {});
    throw error;
  } finally {
    await teams[0]?.end();
  }
}

async function run(
  source: Source,
  sink: Sink,
  options: CompressOptions,
  started: number,
  teams: Team[],
): Promise<Report> {
  const {
    formats = [],
    resolve,
    onProgress,
    signal,
    to = options.plan?.to ?? "container",
    nonFinite = "error",
    companion,
    threads,
    entropy = options.plan ? (options.plan.entropy ?? "none") : "auto",
    ...select
  } = options;
  oneOf("entropy", entropy, ["auto", "none"]);
  const bytes = byteSource(source);
  const model = await openModel(bytes, formats, { resolve });
  const { work, kept, known, importance, warnings } = await workOn(model, to, select, formats);
  const scope = encodeScope();
  const shrink = to === "container" && entropy === "auto";
  const total = (shrink ? 4 : 2) * work.reduce((sum, { entry }) => sum + countElements(entry.shape, entry.name), 0);
  let done = 0;
  const progress = (phase: Progress["phase"], tensor: string, weights: number) => {
    done += weights;
    onProgress?.({ phase, tensor, done, total });
  };

  const shared = new Set<TensorEntry>();
  for (const { entry, outliers } of threads ? work : [])
    if (!outliers && !known?.knows(entry.name, entry.shape)) shared.add(entry);
  const team = await threads?.start({
    work: work.flatMap(({ entry, plan }) =>
      shared.has(entry) ? { entry, plan, importance: importance?.(entry) } : [],
    ),
    entropy: shrink,
    module: encodeBinary.ready as WebAssembly.Module,
    signal,
  });
  if (typeof team === "string") warnings.push(team);
  else if (team) teams.push(team);
  const coded = new Map<string, Clustered>();
  const shifts = new Map<string, Float32Array>();
  for (const item of work) {
    const { entry, plan } = item;
    checkAborted(signal);
    const count = countElements(entry.shape);
    progress("cluster", entry.name, 0);
    const own = importance?.(entry);
    const fits = to !== "onnx" && !known;
    const rest: Rest = item.outliers
      ? await (await import("./outliers.ts")).withoutOutliers(
          item,
          own,
          fits,
          scope,
          WeightReader,
          load,
          instantiate,
          WorkScope,
        )
      : { entry, plan, importance: own };
    let found: Clustered | undefined;
    try {
      if (known?.knows(entry.name, entry.shape)) {
        const weights = await wholeTensor(scope, entry, entry.dtype as FloatDtype);
        const shiftable = model.shiftable?.(entry.name) ?? false;
        const { coding, shift, output } = await known.quantize(entry.name, weights, plan, shiftable);
        if (shift) shifts.set(entry.name, shift);
        found = { entry, coding, importance: undefined, ...(output ? { output } : {}) };
      } else {
        const byThreads = shared.has(entry) ? await teams[0]?.find(entry.name) : undefined;
        found = byThreads
          ? { entry, coding: byThreads.coding, importance: own, threads: byThreads }
          : {
              ...(await cluster(scope, rest.entry, rest.plan, rest.importance, signal)),
              importance: own,
              outliers: rest.outliers,
            };
      }
      coded.set(entry.name, found);
    } catch (error) {
      leave({ kept, warnings, nonFinite }, item, error);
      // writing it, and coding
      done += shrink ? 3 * count : count;
    }
    progress("cluster", entry.name, count);
    if (shrink && found) {
      const { entropyCode, codeOf } = await loadEntropyCoder();
      const tell = (n: number): void => progress("code", entry.name, n);
      const { threads } = found;
      if (threads) tell(2 * count);
      found.entropy = threads ? threads.code && codeOf(threads.code) : await entropyCode(scope, found, signal, tell);
    }
  }

  const outputs = new Map<string, number>();
  const files = await outputFiles(
    scope,
    (shifts.size > 0 && (await model.shifted?.(shifts))) || model,
    coded,
    to,
    shrink,
    signal,
    (name, n) => progress("write", name, n),
    outputs,
    warnings,
  );
  const bytesOut = await writeAll(writings(sink, files, companion), signal);
  const tensors = model.tensors.map((entry) => tensorReport(entry, coded.get(entry.name), outputs, kept));
  const bytesIn = bytes.byteLength + (model.companionBytes ?? 0);
  return reportOf({ format: model.format, to, bytesIn, bytesOut, tensors, warnings }, started);
}

type Totals = "ratio" | "weights" | "bitsPerWeight" | "entropyBits" | "sqnrDb" | "seconds";

export function reportOf(report: Omit<Report, Totals>, started: number): Report {
  const { bytesIn, bytesOut, tensors, warnings, ...base } = report;
  const seconds = (performance.now() - started) / 1000;
  const ratio = bytesIn / bytesOut;
  return { ...base, bytesIn, bytesOut, ratio, ...totalsOf(tensors), seconds, tensors, warnings };
}

/** The files of an output with their sinks; the main file last, so that it never stands there without its companions. */
export function writings(sink: Sink, files: OutputFiles, companion: FileOptions["companion"]): Writing[] {
  const list: Writing[] = [];
  for (const [name, segments] of files.companions) {
    if (!companion)
      throw new WlqError("unsupported", `the output has a companion file "${name}": pass companion: (name) => sink`);
    list.push({ sink: companion(name), segments });
  }
  list.push({ sink, segments: files.main });
  return list;
}

/** The codebook of one tensor. */
export async function cluster(
  scope: EncodeScope,
  entry: TensorEntry,
  plan: QuantizePlan,
  importance: ImportanceTensor | undefined,
  signal: AbortSignal | undefined,
): Promise<Clustered> {
  const passes = clusterTensor(scope, plan, importance !== undefined);
  return { entry, coding: await fulfil(scope, entry, plan, importance, passes, signal), importance };
}

/** Runs passes over one tensor: their wishes are fulfilled from the file. */
export async function fulfil<Result>(
  scope: EncodeScope,
  entry: TensorEntry,
  plan: QuantizePlan,
  importance: ImportanceTensor | undefined,
  passes: Passes<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  const mark = scope.mark();
  try {
    const by = plan.scale === "none" ? plan.granularity : "tensor";
    const grouping = groupingOf(by, plan.shape, plan.axis, plan.groupSize);
    const reader = new WeightReader(scope, entry, entry.dtype as FloatDtype);
    const weigher = importance && new WeightReader(scope, importance, importance.dtype);
    let step = passes.next();
    while (!step.done) {
      checkAborted(signal);
      const wish = step.value;
      await wish.wait?.();
      await reader.fulfil(wish, grouping);
      if (weigher && wish.importance) {
        await weigher.fulfil({ ...wish, weights: wish.importance }, grouping);
        const fault = importanceFault(scope, grouping, wish);
        if (fault) throw malformed(entry.name, fault);
      }
      step = passes.next();
    }
    return step.value;
  } finally {
    scope.release(mark);
  }
}

/**
 * Lays out an output. With `shrink`, what a container keeps of a model beside its tensors is deflated. `sizes` gets what each
 * coded tensor takes. No weight is read or coded until its segments are.
 */
export async function outputFiles(
  scope: EncodeScope,
  model: Model,
  coded: ReadonlyMap<string, Clustered>,
  to: "container" | "dense" | "onnx",
  shrink: boolean,
  signal: AbortSignal | undefined,
  tell: Tell,
  sizes: Map<string, number>,
  warnings: string[],
): Promise<OutputFiles> {
  const segments = (kind: "codes" | "dense") =>
    new Map([...coded].map(([name, c]) => [name, codedSegment(scope, c, kind, signal, tell)]));
  if (to === "dense") return model.dense(segments("dense"));
  if (to === "onnx" && model.inGraph) {
    const tensors = new Map<string, CodedTensor>();
    for (const [name, codes] of segments("codes"))
      tensors.set(name, { ...(coded.get(name) as Clustered).coding, codes });
    const { files, left, bytes } = await model.inGraph(tensors);
    for (const [name, n] of bytes ?? []) sizes.set(name, n);
    for (const name of left)
      warnings.push(`tensor "${name}" is left as it is: decoding it in the graph would not save bytes`);
    return files;
  }
  const tensors = [...coded].map(([name, found]) => {
    const { entry, coding, entropy } = found;
    return {
      name,
      dtype: entry.dtype as FloatDtype,
      layout: layoutOf(coding),
      coding: async () => coding,
      entropy,
      outliers: found.outliers,
      codes: entropy?.segment(scope, found, signal, tell) ?? codedSegment(scope, found, "packed", signal, tell),
    };
  });
  return { main: await containerSegments(scope, model, tensors, sizes, shrink), companions: new Map() };
}

export function tensorReport(
  entry: TensorEntry,
  clustered: Clustered | undefined,
  sizes: ReadonlyMap<string, number>,
  kept: ReadonlyMap<string, string>,
): TensorReport {
  const { name, dtype, shape, byteLength } = entry;
  const base = { name, dtype, shape, bytesIn: byteLength, bytesOut: sizes.get(name) ?? byteLength };
  if (!clustered?.stats) return { ...base, kept: kept.get(name) ?? "left as it is" };
  const { levels, granularity, scale } = clustered.coding;
  const { stats, output, outliers } = clustered;
  const exact = outliers && { outliers: { count: outliers.count, byteLength: outliers.bytes.length } };
  return { ...base, levels, granularity, scale: scale?.per ?? "none", stats, ...(output ? { output } : {}), ...exact };
}
