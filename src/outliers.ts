// Outliers: finds the weights of a tensor that are stored exactly, and hands on the rest; loaded by who wants some.
import scalar from "../build/outliers.scalar.wasm.txt";
import embedded from "../build/outliers.simd.wasm.txt";
import type { QuantizationStats } from "./codebook.ts";
import type { Outliers } from "./coded.ts";
import { BLOCK, type EachOutlier, outlierPlaces, outlierWidth } from "./container/exact.ts";
import type { TensorEntry } from "./formats/format.ts";
import type { ImportanceTensor } from "./importance.ts";
import type { QuantizePlan } from "./options.ts";
import type { FloatDtype } from "./tensor.ts";
import type { EncodeScope } from "./wasm/encode.ts";
import type { Binary, instantiate, load } from "./wasm/kernel.ts";
import type { WorkScope } from "./wasm/scope.ts";
import type { WeightReader } from "./weights.ts";
import type { Work } from "./work.ts";

// Weights looked at together.
const TILE = 65536;
const MOST = 0.5;

/** The kernels, as the compiler types them. */
export type OutlierKernels = Awaited<ReturnType<typeof import("../build/outliers.simd.js").instantiate>>;

const binary: Binary = { embedded, fallback: async () => ({ default: scalar }) };

/** A tensor as clustering gets it: outliers are 0 and count nothing. */
export interface Rest {
  readonly entry: TensorEntry;
  readonly plan: QuantizePlan;
  readonly importance: ImportanceTensor | undefined;
  readonly outliers?: Outliers;
}

/** What this file needs of others that it does not import, so that bundlers can keep it apart. */
type Host = readonly [
  scope: EncodeScope,
  reader: typeof WeightReader,
  compile: typeof load,
  instance: typeof instantiate,
  own: typeof WorkScope<OutlierKernels>,
];

/**
 * Takes its share of outliers out of a tensor. `fits`: whether the output has a place for them.
 *
 * @throws RangeError for a share that is none, and where there is no place
 */
export async function withoutOutliers(
  { entry, plan, outliers: share }: Work,
  importance: ImportanceTensor | undefined,
  fits: boolean,
  ...host: Host
): Promise<Rest> {
  const said = `tensor "${entry.name}": outliers`;
  if (!(typeof share === "number" && share >= 0 && share <= MOST)) {
    throw new RangeError(`${said} must be a share of the weights, from 0 to ${MOST}, got ${share}`);
  }
  if (!fits) {
    throw new RangeError(`${said} need a container or to: "dense", and no calibration: leave one of them out`);
  }
  const count = entry.shape.reduce((product, dim) => product * dim, 1);
  const list = await listOutliers(entry, importance, count, Math.round(share * count), host);
  const exact = list?.places.length ?? 0;
  if (!list || exact === 0) return { entry, plan, importance };
  const { places, values, low } = list;
  const width = outlierWidth(entry.dtype);
  const gaps = codedGaps(places, low, count);
  const table = exact * width;
  const bytes = new Uint8Array((table + gaps.length + 7) & ~7);
  bytes.set(stored(host[0], values, entry.dtype));
  bytes.set(gaps, table);
  const each = outlierPlaces(bytes, exact, count, width, () => {
    throw new Error("outliers do not list themselves");
  });
  const bits = (bytes.length * 8) / count;
  const outliers: Outliers = {
    count: exact,
    bytes,
    put(start, ...arrays) {
      each(start, start + (arrays[0]?.length ?? 0), (place, i) => {
        for (const array of arrays) array[place] = values[i] as number;
      });
    },
    counted: (stats: QuantizationStats) => ({
      ...stats,
      bitsPerWeight: stats.bitsPerWeight + bits,
      tableBitsPerWeight: stats.tableBitsPerWeight + bits,
    }),
  };
  return {
    entry: { ...entry, place: undefined, read: zeroed(entry, entry.byteLength / count, each) },
    plan: withoutBits(plan, bits),
    importance: {
      dtype: importance?.dtype ?? "F32",
      byteLength: importance?.byteLength ?? count * 4,
      read: importance ? zeroed(importance, importance.byteLength / count, each) : zeroed(ones, 4, each),
    },
    outliers,
  };
}

interface Readable {
  read(start: number, end: number): Promise<Uint8Array>;
}

const ones: Readable = {
  read: async (start, end) => new Uint8Array(new Float32Array((end - start) / 4).fill(1).buffer),
};

/** Reads with zero bytes in the place of outliers, which are `width` bytes each. */
function zeroed(from: Readable, width: number, each: EachOutlier): Readable["read"] {
  return async (start, end) => {
    // a copy: others may hold these bytes
    const bytes = (await from.read(start, end)).slice();
    each(start / width, end / width, (place) => bytes.fill(0, place * width, (place + 1) * width));
    return bytes;
  };
}

/** What `ecsq` may take beside the outliers. */
function withoutBits(plan: QuantizePlan, bits: number): QuantizePlan {
  const { target } = plan.cluster;
  if (target?.kind !== "bits") return plan;
  return { ...plan, cluster: { ...plan.cluster, target: { ...target, value: Math.max(0.001, target.value - bits) } } };
}

/** The `most` outliers of a tensor, ties to those that come first; none where clustering will refuse what it reads. */
async function listOutliers(
  entry: TensorEntry,
  importance: ImportanceTensor | undefined,
  count: number,
  most: number,
  [scope, Reader, compile, instance, OneScope]: Host,
): Promise<{ places: Float64Array; values: Float32Array; low: number } | undefined> {
  await compile(binary);
  const own = new OneScope(instance(binary) as unknown as OutlierKernels);
  const { kernels } = own;
  const mark = scope.mark();
  try {
    const reader = new Reader(scope, entry, entry.dtype as FloatDtype);
    const weigher = importance && new Reader(scope, importance, importance.dtype);
    const at = scope.reserve(TILE * 4);
    const costAt = scope.reserve(TILE * 4);
    const weights = own.reserve(TILE * 4);
    const cost = own.reserve(TILE * 4);
    const keys = own.reserve(TILE * 4);
    const cells = own.reserve(TILE * 4);
    const found = own.reserve(TILE * 4);
    const left = own.reserve(4);
    // every tile's keys; false as soon as a value is not fit
    const pass = async (visit: (start: number, n: number) => void): Promise<boolean> => {
      for (let start = 0; start < count; start += TILE) {
        const n = Math.min(TILE, count - start);
        await reader.load(at, start, start + n);
        await weigher?.load(costAt, start, start + n);
        if (scope.kernels.firstNonFinite(at, n) < n) return false;
        if (weigher && scope.kernels.firstUnfitImportance(costAt, n) < n) return false;
        own.u8(weights, n * 4).set(scope.u8(at, n * 4));
        if (weigher) own.u8(cost, n * 4).set(scope.u8(costAt, n * 4));
        kernels.outlierKeys(keys, weights, weigher ? cost : 0, n);
        visit(start, n);
      }
      return true;
    };
    // down from the largest: the cell in which the last outlier is, and how many are above it
    const last = (length: number, wanted: number): { cell: number; left: number } => {
      const counts = own.i32(cells, length);
      let cell = length - 1;
      for (; cell > 0 && (counts[cell] as number) < wanted; cell--) wanted -= counts[cell] as number;
      return { cell, left: wanted };
    };
    own.u8(cells, TILE * 4).fill(0);
    if (!(await pass((_, n) => kernels.countMagnitudes(cells, keys, n)))) return undefined;
    const upper = last(32768, most);
    own.u8(cells, TILE * 4).fill(0);
    await pass((_, n) => kernels.countLower(cells, keys, n, upper.cell));
    const lower = last(65536, upper.left);
    const limit = upper.cell * 65536 + lower.cell;
    // a zero costs nothing where zeros are many, and little elsewhere
    own.i32(left, 1)[0] = limit === 0 ? 0 : lower.left;
    const places = new Float64Array(most);
    const values = new Float32Array(most);
    let filled = 0;
    await pass((start, n) => {
      const number = kernels.pickOutliers(found, keys, n, limit, left);
      const tile = own.f32(weights, n);
      for (const place of own.i32(found, number)) {
        places[filled] = start + place;
        values[filled++] = tile[place] as number;
      }
    });
    const some = places.subarray(0, filled);
    return { places: some, values: values.subarray(0, filled), low: lowBits(some) };
  } finally {
    scope.release(mark);
  }
}

/** Values in the tensor's dtype, which they came from, or as float32. */
function stored(scope: EncodeScope, values: Float32Array, dtype: string): Uint8Array {
  if (outlierWidth(dtype) === 4) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const mark = scope.mark();
  const from = scope.reserve(values.length * 4);
  const to = scope.reserve(values.length * 2);
  scope.f32(from, values.length).set(values);
  if (dtype === "F16") scope.kernels.f32ToF16(to, from, values.length);
  else scope.kernels.f32ToBf16(to, from, values.length);
  const bytes = scope.u8(to, values.length * 2).slice();
  scope.release(mark);
  return bytes;
}

/** Calls `visit` with the weights between every outlier and the one before it in its block. */
function eachGap(places: Float64Array, visit: (gap: number, block: number) => void): void {
  let block = 0;
  let before = -1;
  for (const place of places) {
    const own = Math.floor(place / BLOCK);
    if (own !== block) before = own * BLOCK - 1;
    block = own;
    visit(place - before - 1, block);
    before = place;
  }
}

/** How many low bits of a gap are stored as they are, such that all gaps take least. */
function lowBits(places: Float64Array): number {
  const bits = new Float64Array(18);
  eachGap(places, (gap) => {
    for (let low = 0; low < 18; low++) (bits[low] as number) += (gap >> low) + 1 + low;
  });
  return bits.indexOf(Math.min(...bits));
}

/** The low bits, the table and the gaps of every block: Golomb-Rice codes, as docs/format.md says. */
function codedGaps(places: Float64Array, low: number, count: number): Uint8Array {
  const blocks = Math.ceil(count / BLOCK);
  const head = 1 + 6 * blocks;
  const counts = new Float64Array(blocks);
  const bits = new Float64Array(blocks);
  eachGap(places, (gap, b) => {
    (counts[b] as number)++;
    (bits[b] as number) += (gap >> low) + 1 + low;
  });
  const sizes = bits.map((n) => Math.ceil(n / 8));
  const out = new Uint8Array(sizes.reduce((sum, n) => sum + n, head));
  out[0] = low;
  for (let b = 0; b < blocks; b++) {
    for (let j = 0; j < 3; j++) {
      out[1 + 6 * b + j] = (counts[b] as number) >> (8 * j);
      out[4 + 6 * b + j] = (sizes[b] as number) >> (8 * j);
    }
  }
  let end = head;
  let now = -1;
  let at = 0;
  let base = head;
  const one = (place: number): void => {
    const byte = base + (place >> 3);
    out[byte] = (out[byte] as number) | (1 << (place & 7));
  };
  eachGap(places, (gap, b) => {
    while (now < b) {
      base = end;
      end += sizes[++now] as number;
      at = 0;
    }
    at += gap >> low;
    one(at++);
    for (let j = 0; j < low; j++, at++) if ((gap >> j) & 1) one(at);
  });
  return out;
}
