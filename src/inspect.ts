// Inspect and verify: what a file holds, and whether it is whole.
import type { FileOptions } from "./compress.ts";
import { CHECKSUMS_NAME } from "./container/checksum.ts";
import { isCoded, isContainer } from "./container/coding.ts";
import { type Container, openContainer } from "./container/reader.ts";
import { looksLikeSafetensors, readSafetensors } from "./container/safetensors.ts";
import { MODEL_KEY } from "./container/skeleton.ts";
import { WlqError } from "./error.ts";
import { checkAborted } from "./io/sink.ts";
import { type ByteSource, byteSource, type Source } from "./io/source.ts";
import { openModel } from "./open.ts";
import type { FloatDtype } from "./tensor.ts";
import { decodeBinary, decodeScope } from "./wasm/decode.ts";
import { encodeBinary, encodeScope } from "./wasm/encode.ts";
import { load } from "./wasm/kernel.ts";
import { loadWork } from "./wasm/work.ts";
import { WeightReader } from "./weights.ts";

/** One tensor of an inspected file. */
export interface InspectedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes in this file. */
  readonly byteLength: number;
  /** For coded tensors. */
  readonly levels?: number;
  readonly bits?: number;
  readonly granularity?: string;
  readonly scale?: string;
  /** `packed`, codes of `bits` each, or `tans`, entropy-coded. */
  readonly coding?: "packed" | "tans";
  /** Weights that are stored exactly, beside their codes, where there are any: how many, and their bytes. */
  readonly outliers?: { readonly count: number; readonly byteLength: number };
  /** For plain tensors: whether the default selection would quantize it, size apart. */
  readonly weight?: boolean;
}

export interface Inspection {
  readonly format: string;
  readonly compressed: boolean;
  readonly byteLength: number;
  readonly tensors: readonly InspectedTensor[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** Lists what a model file or container holds, from its structure alone. */
export async function inspect(source: Source, options: FileOptions = {}): Promise<Inspection> {
  const bytes = byteSource(source);
  if (await holdsContainer(bytes)) return inspectContainer(bytes);
  const model = await openModel(bytes, options.formats ?? [], { resolve: options.resolve });
  return {
    format: model.format,
    compressed: false,
    byteLength: bytes.byteLength,
    tensors: model.tensors.map(({ name, dtype, shape, byteLength, weight }) => ({
      name,
      dtype,
      shape,
      byteLength,
      weight,
    })),
    metadata: model.metadata ?? {},
    warnings: model.warnings,
  };
}

export async function holdsContainer(source: ByteSource): Promise<boolean> {
  const head = await source.read(0, Math.min(64, source.byteLength));
  return looksLikeSafetensors(head, source.byteLength) && isContainer(await readSafetensors(source));
}

async function openChecked(source: ByteSource): Promise<Container> {
  await load(decodeBinary);
  return openContainer(source, decodeScope(), true);
}

async function inspectContainer(source: ByteSource): Promise<Inspection> {
  const { header } = await openChecked(source);
  const { [MODEL_KEY]: _, ...metadata } = header.metadata;
  const tensors = [...header.tensors.values()].map((tensor): InspectedTensor => {
    const { name, dtype, shape, byteLength } = tensor;
    if (!isCoded(tensor)) return { name, dtype, shape, byteLength };
    const { levels, bits, granularity, scale, coding, exact, parts } = tensor;
    const outliers = parts[3] && { outliers: { count: Number(exact), byteLength: parts[3].byteLength } };
    return { name, dtype, shape, byteLength, levels, bits, granularity, scale, coding, ...outliers };
  });
  return {
    format: header.format,
    compressed: true,
    byteLength: source.byteLength,
    tensors,
    metadata,
    warnings: [],
  };
}

/** What a verification found. */
export interface Verification {
  readonly ok: boolean;
  /** Checked tensors and parts. */
  readonly checked: number;
  /** What is wrong, one message each. */
  readonly problems: readonly string[];
  /** Against the original, where one was given: error of all coded weights. */
  readonly sqnrDb?: number | null;
}

/**
 * Reads a container whole and compares every checksum; with the original, also that plain tensors are the same bytes,
 * and how far coded ones are off. Damage is reported, not thrown; a file that is not a container is thrown.
 */
export async function verify(compressed: Source, original?: Source, options: FileOptions = {}): Promise<Verification> {
  const { signal } = options;
  const container = await openChecked(byteSource(compressed));
  const problems: string[] = [];
  let checked = 0;
  try {
    // reading nothing still compares the header
    await container.read(container.header.checksums, 0, 0);
  } catch (error) {
    if (!(error instanceof WlqError) || error.code !== "checksum") throw error;
    return { ok: false, checked, problems: [error.message] };
  }
  for (const part of container.header.byName.values()) {
    if (part.name === CHECKSUMS_NAME) continue;
    checked++;
    try {
      for (let at = 0; at < part.byteLength; at += 1 << 20) {
        checkAborted(signal);
        await container.read(part, at, Math.min(part.byteLength, at + (1 << 20)));
      }
    } catch (error) {
      if (!(error instanceof WlqError) || error.code === "aborted") throw error;
      problems.push(error.message);
    }
  }
  // whole, but is it what readers accept? the first stretch of every coded tensor shows its codebook and scales
  for (const tensor of problems.length > 0 ? [] : container.header.tensors.values()) {
    if (!isCoded(tensor)) continue;
    checkAborted(signal);
    try {
      const tiles = container.tiles(tensor);
      await tiles.next();
      await tiles.return();
    } catch (error) {
      if (!(error instanceof WlqError)) throw error;
      problems.push(error.message);
    }
  }
  if (original === undefined || problems.length > 0) return { ok: problems.length === 0, checked, problems };
  const sqnrDb = await compare(container, original, options, problems);
  return { ok: problems.length === 0, checked, problems, sqnrDb };
}

async function compare(
  container: Container,
  original: Source,
  options: FileOptions,
  problems: string[],
): Promise<number | null> {
  if (!encodeBinary.ready) await loadWork(encodeBinary);
  const scope = encodeScope();
  const model = await openModel(byteSource(original), options.formats ?? [], { resolve: options.resolve });
  const { header } = container;
  let signal = 0;
  let error = 0;
  const names = new Set(model.tensors.map((t) => t.name));
  for (const name of header.tensors.keys())
    if (!names.has(name)) problems.push(`tensor "${name}" is not in the original`);
  for (const entry of model.tensors) {
    checkAborted(options.signal);
    const { name, dtype, shape } = entry;
    const coded = header.tensors.get(name);
    if (coded && isCoded(coded)) {
      if (coded.dtype !== dtype || coded.shape.join() !== shape.join()) {
        problems.push(`tensor "${name}" is ${coded.dtype} [${coded.shape}], the original ${dtype} [${shape}]`);
        continue;
      }
      const mark = scope.mark();
      const reader = new WeightReader(scope, entry, dtype as FloatDtype);
      const at = scope.reserve(65536 * 4);
      for await (const tile of container.tiles(coded)) {
        await reader.load(at, tile.start, tile.start + tile.count);
        const before = scope.f32(at, tile.count);
        const after = tile.scope.f32(tile.values, tile.count);
        for (let i = 0; i < tile.count; i++) {
          const w = before[i] as number;
          const e = w - (after[i] as number);
          signal += w * w;
          error += e * e;
        }
      }
      scope.release(mark);
    } else if (coded && header.format === "safetensors") {
      const part = coded;
      if (part.byteLength !== entry.byteLength || part.dtype !== dtype) {
        problems.push(
          `tensor "${name}" has ${part.byteLength} bytes of ${part.dtype}, the original ${entry.byteLength} of ${dtype}`,
        );
        continue;
      }
      for (let from = 0; from < part.byteLength; from += 1 << 20) {
        const to = Math.min(part.byteLength, from + (1 << 20));
        const [a, b] = [await container.read(part, from, to), await entry.read(from, to)];
        if (a.some((byte, i) => byte !== b[i])) {
          problems.push(`tensor "${name}" differs from the original between bytes ${from} and ${to}`);
          break;
        }
      }
    } else if (header.format === "safetensors") {
      problems.push(`tensor "${name}" of the original is missing`);
    }
  }
  return error > 0 ? 10 * Math.log10(signal / error) : null;
}
