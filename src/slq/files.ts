// Files: rounds for any other framework, through model files and one state file; wlq clusters and freezes, others train.

import { type FileOptions, writings } from "../compress.ts";
import { MODEL_NAME } from "../container/coding.ts";
import { type NewTensor, type SafeTensor, safetensorsHead } from "../container/safetensors.ts";
import { WlqError } from "../error.ts";
import type { Model, OutputFiles, TensorEntry } from "../formats/format.ts";
import { copySegment, type Segment, segmentsByteLength } from "../io/segment.ts";
import { type Sink, writeAll } from "../io/sink.ts";
import { type ByteSource, byteSource, type Source } from "../io/source.ts";
import { openModel } from "../open.ts";
import { countElements, type FloatDtype, isFloatDtype } from "../tensor.ts";
import { type Probe, Slq } from "./engine.ts";
import { newLayer } from "./layer.ts";
import { planSlq, type SlqOptions } from "./plan.ts";
import type { RoundReport } from "./report.ts";
import type { GivenLosses } from "./round.ts";
import { countRounds } from "./schedule.ts";
import {
  loadWeights,
  type ReadState,
  readState,
  type SlqState,
  STATE_KEY,
  type StatePart,
  stateSegments,
} from "./state.ts";
import { loadKernels, Workspace } from "./workspace.ts";

// Format of the model that the state was made from.
const FORMAT_KEY = "wlq.slq.format";

/** Where a state stands. */
export interface SlqStatus {
  readonly round: number;
  readonly rounds: number;
  readonly done: boolean;
  readonly fingerprint: string;
  readonly format: string;
  readonly plan: SlqState["plan"];
  readonly history: SlqState["history"];
  readonly layers: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly levels: number;
    readonly weights: number;
    readonly frozen: number;
    readonly state: number;
    readonly codebook: readonly number[];
    /** Which values are frozen. */
    readonly frozenCodes: readonly number[];
  }[];
  /** Tensors without a mask: they stay trainable. */
  readonly others: readonly string[];
}

/** What a state holds, and how far it is. Throws WlqError where it is damaged or none. */
export async function statusOf(source: Source): Promise<SlqStatus> {
  const read = await open(source);
  return status(read, new Workspace());
}

function status({ state, header, own }: ReadState, workspace: Workspace): SlqStatus {
  const { plan, round, layers, history } = state;
  const names = new Set(layers.map(({ name }) => name));
  return {
    round,
    rounds: countRounds(plan),
    done: round >= countRounds(plan),
    fingerprint: new Slq(state, workspace).fingerprint,
    format: formatOf(header.metadata),
    plan,
    history,
    layers: layers.map(({ name, dtype, shape, levels, data, free, state: own, codebook, frozen }) => ({
      name,
      dtype,
      shape,
      levels,
      weights: data.length,
      frozen: data.length - free,
      state: own,
      codebook: [...codebook],
      frozenCodes: [...frozen.keys()].filter((c) => frozen[c]),
    })),
    others: [...header.tensors.keys()].filter((name) => !own.has(name) && !names.has(name) && name !== MODEL_NAME),
  };
}

function formatOf(metadata: Readonly<Record<string, string>>): string {
  return metadata[FORMAT_KEY] ?? "safetensors";
}

async function open(source: Source): Promise<ReadState> {
  await loadKernels();
  return await readState(byteSource(source), new Workspace());
}

/**
 * Makes a state of a model: its weights, with masks of ones; everything else of the model comes along. Layers are the
 * weights that the format knows (matrices and convolution kernels), or what `include` names.
 */
export async function initState(
  source: Source,
  sink: Sink,
  options: SlqOptions & FileOptions = {},
): Promise<SlqStatus> {
  return await abortOnError(sink, async () => {
    await loadKernels();
    const { formats = [], resolve, signal, onProgress: _, companion: __, ...slq } = options;
    const model = await openModel(byteSource(source), formats, { resolve });
    const candidates = model.tensors.filter((entry) => isCandidate(entry, slq.include));
    const plan = planSlq(
      candidates.map(({ name }) => ({ name, shape: undefined })),
      slq,
    );
    const workspace = new Workspace();
    const entries = new Map(model.tensors.map((entry) => [entry.name, entry]));
    const layers = [];
    for (const { name, levels } of plan.layers) {
      const entry = entries.get(name) as TensorEntry;
      const dtype = entry.dtype as FloatDtype;
      const layer = newLayer(name, new Float32Array(countElements(entry.shape, name)), entry.shape, levels, dtype);
      await loadWeights(workspace, entry, dtype, layer.data);
      const bad = layer.data.findIndex((x) => !Number.isFinite(x));
      if (bad >= 0)
        throw new WlqError("non-finite", `layer "${name}": weight ${bad} is ${layer.data[bad]}`, { tensor: name });
      layers.push(layer);
    }
    const state: SlqState = { plan, round: 0, layers, history: [] };
    const names = new Set(layers.map(({ name }) => name));
    const parts = await otherParts(model, names);
    const engine = new Slq(state, workspace);
    const metadata = { ...model.metadata, [FORMAT_KEY]: model.format };
    const order = model.tensors.map(({ name }) => name);
    await writeAll(
      [{ sink, segments: stateSegments(state, engine.fingerprint, workspace, { parts, order, metadata }) }],
      signal,
    );
    return {
      ...status(
        { state, header: { tensors: new Map(), metadata, bytes: new Uint8Array(0) }, own: new Set() },
        workspace,
      ),
      others: parts.map(({ name }) => name).filter((name) => name !== MODEL_NAME),
    };
  });
}

function isCandidate(entry: TensorEntry, include: RegExp | undefined): boolean {
  if (!include) return entry.weight && isFloatDtype(entry.dtype) && entry.keep === undefined;
  include.lastIndex = 0;
  if (!include.test(entry.name)) return false;
  const why = isFloatDtype(entry.dtype) ? entry.keep : `its dtype is ${entry.dtype}`;
  if (why !== undefined) {
    throw new WlqError("unsupported", `tensor "${entry.name}" is included, but ${why}`, { tensor: entry.name });
  }
  return true;
}

// What is not a layer: other tensors, so that they can be trained; of formats with more than tensors, the rest as one.
async function otherParts(model: Model, layers: ReadonlySet<string>): Promise<StatePart[]> {
  const others = model.tensors.filter(({ name, dtype, keep }) => {
    return !layers.has(name) && (!model.skeleton || (isFloatDtype(dtype) && keep === undefined));
  });
  const parts: StatePart[] = others.map((t) => partOf(t, copySegment(t, 0, t.byteLength)));
  if (!model.skeleton) return parts;
  const segments = await model.skeleton(new Set([...layers, ...others.map(({ name }) => name)]));
  const byteLength = segmentsByteLength(segments);
  const content: Segment = {
    byteLength,
    async *chunks() {
      for (const segment of segments) {
        if (segment instanceof Uint8Array) yield segment;
        else yield* segment.chunks();
      }
    },
  };
  return [...parts, { name: MODEL_NAME, dtype: "U8", shape: [byteLength], byteLength, content }];
}

function partOf({ name, dtype, shape, byteLength }: NewTensor, content: Segment): StatePart {
  return { name, dtype, shape, byteLength, content };
}

/** Options of {@link nextState}. */
export interface NextStateOptions extends FileOptions {
  /** Losses measured elsewhere: per layer, by code. */
  readonly losses?: GivenLosses | undefined;
  /** Put frozen weights back that have moved, instead of refusing. */
  readonly snap?: boolean | undefined;
}

/**
 * One round: the state, with the weights that training made of it, to the next state. `trained` is a model file with the
 * state's tensors; masks and codebooks may be in it and are ignored.
 *
 * @throws WlqError `moved` if a frozen weight has moved (unless `snap`), `malformed` where tensors differ from the state's
 */
export async function nextState(
  state: Source,
  trained: Source,
  sink: Sink,
  options: NextStateOptions = {},
): Promise<RoundReport> {
  return await abortOnError(sink, async () => {
    const { losses, snap, signal } = options;
    const { read, workspace, slq, parts } = await openTrained(byteSource(state), trained, options);
    refuseDone(slq);
    const report = await slq.next({ losses, snap });
    const { [STATE_KEY]: _, ...metadata } = read.header.metadata;
    const order = [...read.header.tensors.keys()];
    await writeAll(
      [{ sink, segments: stateSegments(read.state, slq.fingerprint, workspace, { parts, order, metadata }) }],
      signal,
    );
    return report;
  });
}

/**
 * The clusters that the next round chooses among, as a safetensors file for whoever measures losses: per layer
 * `<layer>.codebook` (F32) and `<layer>.codes` (U8, the layer's shape). Losses go back as `losses`, by code.
 */
export async function probeState(
  state: Source,
  trained: Source,
  sink: Sink,
  options: FileOptions = {},
): Promise<Probe[]> {
  return await abortOnError(sink, async () => {
    const { slq, read } = await openTrained(byteSource(state), trained, options);
    refuseDone(slq);
    const probes = await slq.probe();
    const parts = probes.flatMap(({ layer, codebook, codes }) => {
      const shape = read.state.layers.find(({ name }) => name === layer)?.shape ?? [codes.length];
      const values = new Uint8Array(codebook.buffer, codebook.byteOffset, codebook.byteLength);
      return [
        {
          name: `${layer}.codebook`,
          dtype: "F32",
          shape: [codebook.length],
          byteLength: values.length,
          content: values,
        },
        { name: `${layer}.codes`, dtype: "U8", shape, byteLength: codes.length, content: codes },
      ];
    });
    parts.sort((a, b) => (a.dtype === b.dtype ? 0 : a.dtype === "F32" ? -1 : 1));
    await writeAll(
      [{ sink, segments: [safetensorsHead(parts, {}), ...parts.map(({ content }) => content)] }],
      options.signal,
    );
    return probes;
  });
}

/** A state with the weights that training made of it. */
export interface Trained {
  readonly read: ReadState;
  readonly workspace: Workspace;
  readonly slq: Slq;
  /** What goes into the next state beside the layers. */
  readonly parts: StatePart[];
}

export async function openTrained(
  source: ByteSource,
  trained: Source,
  { formats = [], resolve }: FileOptions,
): Promise<Trained> {
  await loadKernels();
  const workspace = new Workspace();
  const read = await readState(source, workspace);
  const { state, header, own } = read;
  const slq = new Slq(state, workspace);
  const model = await openModel(byteSource(trained), formats, { resolve });
  const entries = new Map(model.tensors.map((entry) => [entry.name, entry]));
  const wanted = [...header.tensors.values()].filter(({ name }) => !own.has(name) && name !== MODEL_NAME);
  for (const tensor of wanted) checkSame(tensor, entries.get(tensor.name));
  if (model.format === "safetensors") {
    const other = model.tensors.find(({ name }) => !header.tensors.has(name));
    if (other)
      throw new WlqError("malformed", `the trained file has a tensor "${other.name}", the state has none`, {
        tensor: other.name,
      });
  }
  const layers = new Set(state.layers.map(({ name }) => name));
  for (const layer of state.layers) {
    await loadWeights(workspace, entries.get(layer.name) as TensorEntry, layer.dtype, layer.data);
  }
  const parts = wanted
    .filter(({ name }) => !layers.has(name))
    .map((tensor) => partOf(tensor, copySegment(entries.get(tensor.name) as TensorEntry, 0, tensor.byteLength)));
  const model0 = header.tensors.get(MODEL_NAME);
  if (model0) parts.push(partOf(model0, rangeOf(source, model0)));
  return { read, workspace, slq, parts };
}

export function refuseDone(slq: Slq): void {
  if (slq.done) throw new WlqError("unsupported", `all ${slq.rounds} rounds of this state are done: finish it`);
}

function checkSame(tensor: SafeTensor, entry: TensorEntry | undefined): void {
  const { name, dtype, shape } = tensor;
  const want = `${dtype} [${shape.join(", ")}]`;
  const got = entry ? `${entry.dtype} [${entry.shape.join(", ")}]` : "none";
  if (got !== want) {
    throw new WlqError("malformed", `tensor "${name}" is ${want} in the state; the trained file has ${got}`, {
      tensor: name,
    });
  }
}

function rangeOf(source: ByteSource, { offset, byteLength }: SafeTensor): Segment {
  return copySegment({ read: (start, end) => source.read(offset + start, offset + end) }, 0, byteLength);
}

/** Options of {@link finishState}. */
export interface FinishOptions extends FileOptions {
  /** A model file with the state's tensors: those without a mask (biases, norms) were trained after the last round. */
  readonly trained?: Source | undefined;
}

/**
 * The quantized model, in the format that the state was made from.
 *
 * @throws WlqError `unsupported` while rounds are left, `moved` if a frozen weight of `trained` has moved
 */
export async function finishState(source: Source, sink: Sink, options: FinishOptions = {}): Promise<SlqStatus> {
  return await abortOnError(sink, async () => {
    const { formats = [], companion, signal, trained } = options;
    const bytes = byteSource(source);
    const read = await open(source);
    const now = status(read, new Workspace());
    if (!now.done) {
      throw new WlqError(
        "unsupported",
        `the state is at round ${now.round} of ${now.rounds}: ${now.rounds - now.round} are left`,
      );
    }
    const parts = trained ? await trainedParts(bytes, trained, options) : [];
    const contents = new Map(parts.map(({ name, content }) => [name, content]));
    await writeAll(writings(sink, await finished(read, bytes, formats, contents), companion), signal);
    return now;
  });
}

async function trainedParts(source: ByteSource, trained: Source, options: FileOptions): Promise<StatePart[]> {
  const { slq, parts } = await openTrained(source, trained, options);
  slq.refuseMoved();
  return parts;
}

async function finished(
  { header, own }: ReadState,
  source: ByteSource,
  formats: NonNullable<FileOptions["formats"]>,
  contents: ReadonlyMap<string, Segment>,
): Promise<OutputFiles> {
  const contentOf = (t: SafeTensor): Segment => contents.get(t.name) ?? rangeOf(source, t);
  const kept = [...header.tensors.values()].filter(({ name }) => !own.has(name) && name !== MODEL_NAME);
  const name = formatOf(header.metadata);
  if (name === "safetensors") {
    const { [STATE_KEY]: _, [FORMAT_KEY]: __, ...metadata } = header.metadata;
    return { main: [safetensorsHead(kept, metadata), ...kept.map(contentOf)], companions: new Map() };
  }
  const format = formats.find((f) => f.name === name);
  const part = header.tensors.get(MODEL_NAME);
  if (!format || !part)
    throw new WlqError(
      "unsupported",
      `the state is of a model of format "${name}": hand that format in (formats: […])`,
    );
  const { offset, byteLength } = part;
  const inner: ByteSource = {
    byteLength,
    read(start, end) {
      if (end > byteLength)
        throw new WlqError("truncated", `bytes ${start} to ${end} of the model are wanted, it has ${byteLength}`);
      return source.read(offset + start, offset + end);
    },
  };
  const model = await format.open(inner, { skeleton: true });
  return await model.dense(new Map(kept.map((t) => [t.name, contentOf(t)])));
}

// A sink that the writer never had is aborted here.
export async function abortOnError<T>(sink: Sink, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!sink.locked) await sink.abort(error).catch(() => {});
    throw error;
  }
}
