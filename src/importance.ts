// Importance: what an error in each weight costs, read from a second model file beside the weights; loaded by who has one.
import type { malformed, WlqError } from "./error.ts";
import type { Model, TensorEntry } from "./formats/format.ts";
import type { countElements, FloatDtype, isFloatDtype } from "./tensor.ts";

/** The importance of one tensor's weights: raw values of `dtype` in the weights' order, read in ranges. */
export interface ImportanceTensor {
  readonly dtype: FloatDtype;
  readonly byteLength: number;
  read(start: number, end: number): Promise<Uint8Array>;
}

/** Finds the importance of a tensor; `undefined` where all its weights count the same. */
export type ImportanceOf = (entry: TensorEntry) => ImportanceTensor | undefined;

// A broadcast tensor is held as float32; whole tensors are not, so this limits statistics alone.
const MOST_BROADCAST = 1 << 22;

/** What this file needs of others that it does not import, so that bundlers can keep it apart. */
export interface ImportanceHost {
  readonly malformed: typeof malformed;
  readonly WlqError: typeof WlqError;
  readonly countElements: typeof countElements;
  readonly isFloatDtype: typeof isFloatDtype;
}

/** The importance of a model's tensors in the opened `file`; throws as `openImportance` does. */
export function importanceIn(file: Model, model: Model, host: ImportanceHost): ImportanceOf {
  const names = new Set(model.tensors.map(({ name }) => name));
  // a statistics file of wlq/calibrate has more beside the importance
  const more = file.metadata && Object.hasOwn(file.metadata, "wlq.statistics") ? /\.(mean|covariance)$/ : /^$/;
  const tensors = file.tensors.filter(({ name }) => names.has(name) || !more.test(name));
  for (const { name } of tensors) {
    if (!names.has(name))
      throw new host.WlqError("not-found", `importance has the tensor "${name}", the model does not`, { tensor: name });
  }
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return (entry) => {
    const found = byName.get(entry.name);
    return found && importanceTensor(found, entry, host);
  };
}

function importanceTensor(
  found: TensorEntry,
  { name, shape }: TensorEntry,
  { malformed, WlqError, countElements, isFloatDtype }: ImportanceHost,
): ImportanceTensor {
  const { dtype, byteLength } = found;
  if (!isFloatDtype(dtype)) throw malformed(name, `its importance is ${dtype}, not F64, F32, F16 or BF16`);
  if (found.shape.join() === shape.join()) {
    return { dtype, byteLength, read: (start, end) => found.read(start, end) };
  }
  const lead = shape.length - found.shape.length;
  if (lead < 0 || found.shape.some((dim, i) => dim !== 1 && dim !== shape[lead + i])) {
    throw malformed(name, `its shape is [${shape}], that of its importance [${found.shape}], which does not broadcast`);
  }
  const values = countElements(found.shape, name);
  if (values > MOST_BROADCAST) {
    const limit = `its importance of ${values} values would be broadcast, which ${MOST_BROADCAST} at most are`;
    throw new WlqError("limit", `tensor "${name}": ${limit}`, { tensor: name });
  }
  const walk = new Broadcast([...Array<number>(lead).fill(1), ...found.shape], shape);
  const width = byteLength / Math.max(1, values);
  let bytes: Promise<Uint8Array> | undefined;
  return {
    dtype,
    byteLength: countElements(shape, name) * width,
    async read(start, end) {
      bytes ??= found.read(0, byteLength);
      return walk.spread(await bytes, width, start, end);
    },
  };
}

/** Neighbouring dimensions that are all the same, or all 1, in the smaller shape. */
interface Run {
  readonly size: number;
  /** Elements of the smaller tensor a step; 0 where it has one value for all. */
  readonly stride: number;
}

/** A small tensor as a large one: a value's place in the small one, from its place in the large one. */
class Broadcast {
  readonly #runs: readonly Run[];

  constructor(small: readonly number[], large: readonly number[]) {
    const runs: Run[] = [];
    let stride = 1;
    for (let d = large.length - 1; d >= 0; d--) {
      const size = large[d] as number;
      if (size === 1) continue;
      const own = small[d] === 1 ? 0 : stride;
      const inner = runs[0];
      if (inner && inner.stride > 0 === own > 0) runs[0] = { size: inner.size * size, stride: inner.stride };
      else runs.unshift({ size, stride: own });
      stride *= small[d] as number;
    }
    this.#runs = runs;
  }

  /** Bytes `start` to `end` of the large tensor; both multiples of `width`, the bytes of an element. */
  spread(bytes: Uint8Array, width: number, start: number, end: number): Uint8Array {
    const out = new Uint8Array(end - start);
    const { size, stride } = this.#runs.at(-1) ?? { size: 1, stride: 0 };
    for (let at = start / width; at < end / width; ) {
      const inner = at % size;
      const from = (this.#outer(Math.floor(at / size)) + inner * stride) * width;
      const count = Math.min(size - inner, end / width - at);
      const to = at * width - start;
      out.set(bytes.subarray(from, from + (stride > 0 ? count : 1) * width), to);
      // one value, doubled until it fills its run
      if (stride === 0) {
        for (let done = 1; done < count; done *= 2) {
          out.copyWithin(to + done * width, to, to + Math.min(done, count - done) * width);
        }
      }
      at += count;
    }
    return out;
  }

  // Where the run number `index` of the last dimension begins in the small tensor.
  #outer(index: number): number {
    let place = 0;
    let rest = index;
    for (let r = this.#runs.length - 2; r >= 0; r--) {
      const { size, stride } = this.#runs[r] as Run;
      place += (rest % size) * stride;
      rest = Math.floor(rest / size);
    }
    return place;
  }
}
