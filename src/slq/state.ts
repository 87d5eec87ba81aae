// State: all that rounds need to go on, as one safetensors file: weights, masks, codebooks, plan, losses.

import {
  checkTensor,
  freeName,
  type NewTensor,
  readSafetensors,
  type SafetensorsHeader,
  safetensorsHead,
} from "../container/safetensors.ts";
import { malformed, WlqError } from "../error.ts";
import type { Segment } from "../io/segment.ts";
import type { ByteSource } from "../io/source.ts";
import { TILE } from "../passes.ts";
import { countElements, dtypeBits, type FloatDtype, isFloatDtype } from "../tensor.ts";
import { WeightReader } from "../weights.ts";
import { type FieldReader, fieldsOf, isObject, isString, parseObject } from "./fields.ts";
import { type Layer, newLayer } from "./layer.ts";
import type { LayerPlan, SlqPlan } from "./plan.ts";
import type { RoundRecord } from "./report.ts";
import { checkClusters, checkFractions, checkStates, countRounds } from "./schedule.ts";
import type { Workspace } from "./workspace.ts";

/** Metadata key of a state file. */
export const STATE_KEY = "wlq.slq";
const VERSION = 1;

/** What an engine works on. */
export interface SlqState {
  readonly plan: SlqPlan;
  round: number;
  /** In the plan's order. */
  readonly layers: readonly Layer[];
  readonly history: RoundRecord[];
}

/** The plan as the fingerprint takes it. */
export function planText(plan: SlqPlan): string {
  return JSON.stringify(plan);
}

/** A tensor of a state file. */
export interface StatePart extends NewTensor {
  readonly content: Segment;
}

/** What a state file holds beside the layers: other tensors, their order among all, and metadata. */
export interface StateRest {
  readonly parts: readonly StatePart[];
  readonly order: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** The file's segments. Weights are views of the live ones: write them before these change. */
export function stateSegments(
  state: SlqState,
  fingerprint: string,
  workspace: Workspace | undefined,
  rest?: StateRest,
): Segment[] {
  const { plan, round, layers, history } = state;
  const taken = new Set([...layers.map(({ name }) => name), ...(rest?.parts ?? []).map(({ name }) => name)]);
  const place = new Map(rest?.order.map((name, i) => [name, i]));
  const parts: StatePart[] = layers.map((layer) =>
    part(layer.name, layer.dtype, layer.shape, inDtype(layer, workspace)),
  );
  parts.push(...(rest?.parts ?? []));
  parts.sort((a, b) => (place.get(a.name) ?? 0) - (place.get(b.name) ?? 0));
  const entries = layers.map(({ name, shape, mask, codebook, frozen, state: own }) => {
    const codebookName = freeName(`${name}.codebook`, taken);
    const maskName = freeName(`${name}.mask`, taken);
    parts.push(part(codebookName, "F32", [codebook.length], codebook), part(maskName, "U8", shape, mask));
    const codes = [...frozen.keys()].filter((c) => frozen[c]);
    return [name, { mask: maskName, codebook: codebookName, frozen: codes, state: own }] as const;
  });
  // wide elements first: each tensor begins on a multiple of its element size
  const width = ({ dtype }: StatePart): number => dtypeBits(dtype) ?? 8;
  parts.sort((a, b) => width(b) - width(a));
  const text = `{"version":${VERSION},"fingerprint":"${fingerprint}","round":${round},"rounds":${countRounds(plan)},"plan":${planText(plan)},"layers":{${entries
    .map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`)
    .join(",")}},"history":${JSON.stringify(history)}}`;
  return [safetensorsHead(parts, { ...rest?.metadata, [STATE_KEY]: text }), ...parts.map(({ content }) => content)];
}

function part(name: string, dtype: string, shape: readonly number[], values: Float32Array | Uint8Array): StatePart {
  const content = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { name, dtype, shape, byteLength: content.length, content };
}

// Live weights as the file has them; codebooks are values of the dtype, and so is what came from such a file.
function inDtype({ dtype, data }: Layer, workspace: Workspace | undefined): Float32Array | Uint8Array {
  if (dtype === "F32" || !workspace) return data;
  const { encode } = workspace;
  const width = dtypeBits(dtype) / 8;
  const out = new Uint8Array(data.length * width);
  const mark = encode.mark();
  const src = encode.reserve(TILE * 4);
  const dst = encode.reserve(TILE * width);
  for (let start = 0; start < data.length; start += TILE) {
    const count = Math.min(TILE, data.length - start);
    encode.f32(src, count).set(data.subarray(start, start + count));
    if (dtype === "F16") encode.kernels.f32ToF16(dst, src, count);
    else if (dtype === "BF16") encode.kernels.f32ToBf16(dst, src, count);
    else encode.kernels.f32ToF64(dst, src, count);
    out.set(encode.u8(dst, count * width), start * width);
  }
  encode.release(mark);
  return out;
}

/** A state whole in memory. */
export function stateBytes(state: SlqState, fingerprint: string, workspace: Workspace): Uint8Array<ArrayBuffer> {
  const segments = stateSegments(state, fingerprint, workspace) as readonly Uint8Array[];
  const bytes = new Uint8Array(segments.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const segment of segments) {
    bytes.set(segment, at);
    at += segment.length;
  }
  return bytes;
}

/** A state file that was read. */
export interface ReadState {
  readonly state: SlqState;
  readonly header: SafetensorsHeader;
  /** Names of the tensors that are the state's own: masks and codebooks. */
  readonly own: ReadonlySet<string>;
}

/** Reads and checks a state. Throws `malformed`, `truncated`, or `unsupported` where it is none. */
export async function readState(source: ByteSource, workspace: Workspace): Promise<ReadState> {
  const header = await readSafetensors(source);
  const text = header.metadata[STATE_KEY];
  if (text === undefined)
    throw new WlqError("unsupported", `this file is no SLQ state: it has no metadata "${STATE_KEY}"`);
  const json = parseObject(STATE_KEY, text);
  if (json.version !== VERSION) {
    throw new WlqError(
      "unsupported",
      `the state is of version ${JSON.stringify(json.version)}, this program reads ${VERSION}`,
    );
  }
  const plan = parsePlan(json.plan);
  const fingerprint = workspace.hash(new TextEncoder().encode(planText(plan)));
  if (json.fingerprint !== fingerprint) {
    throw malformed(
      undefined,
      `the state's fingerprint is ${JSON.stringify(json.fingerprint)}, its plan has ${fingerprint}`,
    );
  }
  const { round, history } = json;
  const rounds = countRounds(plan);
  if (!Number.isInteger(round) || (round as number) < 0 || (round as number) > rounds) {
    throw malformed(undefined, `the state is at round ${JSON.stringify(round)} of ${rounds}`);
  }
  if (!Array.isArray(history) || history.length !== round)
    throw malformed(undefined, `the state's history has not ${round} rounds`);
  const entries = isObject(json.layers) ? json.layers : {};
  const own = new Set<string>();
  const layers: Layer[] = [];
  for (const { name, levels } of plan.layers) {
    const field = fieldsOf(name, Object.hasOwn(entries, name) ? entries[name] : undefined);
    own.add(field("mask", "a name", isString)).add(field("codebook", "a name", isString));
    layers.push(await readLayer(source, header, workspace, name, levels, field));
  }
  return { state: { plan, round: round as number, layers, history: history as RoundRecord[] }, header, own };
}

async function readLayer(
  source: ByteSource,
  { tensors }: SafetensorsHeader,
  workspace: Workspace,
  name: string,
  levels: number,
  field: FieldReader,
): Promise<Layer> {
  const tensor = tensors.get(name);
  if (!tensor || !isFloatDtype(tensor.dtype)) throw malformed(name, `the state has no float tensor of that name`);
  const { shape, offset, byteLength } = tensor;
  const count = countElements(shape, name);
  const layer = newLayer(name, new Float32Array(count), shape, levels, tensor.dtype);
  const bytesOf = async (key: string, dtype: string, bytes?: number): Promise<Uint8Array> => {
    const partName = field(key, "a name", isString);
    const found = checkTensor(tensors, partName, dtype, bytes ?? tensors.get(partName)?.byteLength ?? 0);
    return await source.read(found.offset, found.offset + found.byteLength);
  };
  layer.mask.set(await bytesOf("mask", "U8", count));
  const other = layer.mask.findIndex((m) => m > 1);
  if (other >= 0) throw malformed(name, `its mask has ${layer.mask[other]} at ${other}, only 0 and 1 are masks`);
  layer.free = layer.mask.reduce((sum, m) => sum + m, 0);
  const codebook = (await bytesOf("codebook", "F32")).slice();
  if (codebook.length > levels * 4)
    throw malformed(name, `its codebook has ${codebook.length / 4} values for ${levels} levels`);
  layer.codebook = new Float32Array(codebook.buffer);
  if (!layer.codebook.every(Number.isFinite)) throw malformed(name, "its codebook is not finite");
  layer.frozen = new Uint8Array(layer.codebook.length);
  for (const code of field("frozen", "codes", isCodes)) {
    if (code >= layer.frozen.length)
      throw malformed(name, `code ${code} is frozen, the codebook has ${layer.frozen.length} values`);
    layer.frozen[code] = 1;
  }
  layer.state = field("state", "0, 1 or 2", isLayerState);
  const read = (start: number, end: number): Promise<Uint8Array> => source.read(offset + start, offset + end);
  await loadWeights(workspace, { byteLength, read }, tensor.dtype, layer.data);
  workspace.recode(layer);
  const moved = workspace.freezer.firstMoved(layer);
  if (moved >= 0)
    throw malformed(name, `weight ${moved} is frozen at ${layer.data[moved]}, which is no value of the codebook`);
  return layer;
}

/** A tensor's weights to a float32 array. */
export async function loadWeights(
  workspace: Workspace,
  entry: { readonly byteLength: number; read(start: number, end: number): Promise<Uint8Array> },
  dtype: FloatDtype,
  out: Float32Array,
): Promise<void> {
  const { encode } = workspace;
  const reader = new WeightReader(encode, entry, dtype);
  const mark = encode.mark();
  const at = encode.reserve(TILE * 4);
  for (let start = 0; start < out.length; start += TILE) {
    const end = Math.min(out.length, start + TILE);
    await reader.load(at, start, end);
    out.set(encode.f32(at, end - start), start);
  }
  encode.release(mark);
}

function isCodes(x: unknown): x is number[] {
  return Array.isArray(x) && x.every((c) => Number.isInteger(c) && c >= 0 && c < 256);
}

function isLayerState(x: unknown): x is number {
  return x === 0 || x === 1 || x === 2;
}

// The plan anew from JSON, field by field, in the order that its text has.
function parsePlan(json: unknown): SlqPlan {
  const field = fieldsOf("the plan", json);
  const bool = (x: unknown): x is boolean => typeof x === "boolean";
  const oneOf =
    <T extends string | null>(...words: T[]) =>
    (x: unknown): x is T =>
      words.includes(x as T);
  const states = field("states", "an order or null", (x): x is SlqPlan["states"] => {
    return (
      x === null ||
      x === "loss" ||
      x === "depth-first" ||
      (Array.isArray(x) && x.every((n) => Array.isArray(n) && n.every(isString)))
    );
  });
  const list = field("layers", "a list", (x): x is unknown[] => Array.isArray(x));
  try {
    const layers = list.map((entry) => parseLayerPlan(entry, states !== null));
    if (new Set(layers.map(({ name }) => name)).size !== layers.length) throw new RangeError("a layer is there twice");
    if (states)
      checkStates(
        states,
        layers.map(({ name }) => name),
      );
    const prune = field("prune", "numbers", isNumbers);
    return {
      grid: field("grid", "a grid", oneOf("free", "pow2", "inq")),
      pinZero: field("pinZero", "a boolean", bool),
      symmetric: field("symmetric", "a boolean", bool),
      partition: field("partition", "a partition", oneOf("loss", "magnitude", "error", null)),
      across: field("across", "a boolean", bool),
      evaluations: field("evaluations", "a count", isCount),
      states,
      prune: prune.length > 0 ? checkFractions("prune", prune) : [],
      reference: parseReference(
        field("reference", "an object or null", (x): x is object | null => x === null || isObject(x)),
      ),
      layers,
    };
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new WlqError("malformed", `the state's plan: ${cause.message}`, { cause });
  }
}

function parseLayerPlan(json: unknown, byStates: boolean): LayerPlan {
  const field = fieldsOf("the plan", json);
  const name = field("name", "a name", isString);
  const levels = field(
    "levels",
    "2 to 256",
    (x): x is number => Number.isInteger(x) && (x as number) >= 2 && (x as number) <= 256,
  );
  const sparsity = field("sparsity", "0 to 1", (x): x is number => typeof x === "number" && x >= 0 && x <= 1);
  if (byStates) return { name, levels, schedule: undefined, sparsity };
  const schedule = field("schedule", "clusters or fractions", isObject);
  if (isNumbers(schedule.clusters))
    return { name, levels, schedule: { clusters: checkClusters(name, schedule.clusters, levels) }, sparsity };
  const fractions = fieldsOf(name, schedule)("fractions", "numbers", isNumbers);
  return { name, levels, schedule: { fractions: checkFractions(name, fractions) }, sparsity };
}

function parseReference(json: object | null): SlqPlan["reference"] {
  if (json === null) return null;
  const field = fieldsOf("the plan", json);
  return {
    carry: field("carry", "exact or text6", (x): x is "exact" | "text6" => x === "exact" || x === "text6"),
    update: field("update", "numbers", isNumbers),
    steps: field("steps", "a count", isCount),
  };
}

function isNumbers(x: unknown): x is number[] {
  return Array.isArray(x) && x.every((n) => typeof n === "number");
}

function isCount(x: unknown): x is number {
  return Number.isSafeInteger(x) && (x as number) >= 1;
}
