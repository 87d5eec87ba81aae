// Writer: a model and its coded tensors as the segments of a container file.
import { bitsForLevels, type Coding, codebookGroups, type Layout, scaleGroups } from "../codebook.ts";
import { WlqError } from "../error.ts";
import type { Model } from "../formats/format.ts";
import { copySegment, type LazySegment, type Segment, segmentsByteLength } from "../io/segment.ts";
import type { FloatDtype } from "../tensor.ts";
import type { EncodeScope } from "../wasm/encode.ts";
import { CHECKSUMS_NAME, checksumCount } from "./checksum.ts";
import { Checksummer } from "./checksummer.ts";
import { CHECKSUM_KIND, CONTAINER_VERSION, type CodedEntry, codingMap, MODEL_NAME } from "./coding.ts";
import { freeName, type NewTensor, oddness, safetensorsHead } from "./safetensors.ts";
import { deflated, MODEL_KEY } from "./skeleton.ts";

export interface NewCoded {
  readonly name: string;
  readonly dtype: FloatDtype;
  readonly layout: Layout;
  /** Asked for when its codebook is to be written, before its codes. */
  coding(): Promise<Coding>;
  /** Where codes are entropy-coded. */
  readonly entropy?: { readonly join: number; readonly tables: Uint8Array } | undefined;
  /** Weights that are stored exactly. */
  readonly outliers?: { readonly count: number; readonly bytes: Uint8Array } | undefined;
  /** Codes as they are stored, packed ones without padding. */
  readonly codes: LazySegment;
}

interface Part extends NewTensor {
  readonly content: readonly Segment[];
}

/**
 * All segments of the container, header first. `sizes` gets the bytes of every coded tensor. With `shrink`, what is left
 * of a model that is more than tensors is deflated. Checksums are made while the segments are read, in order, so they can
 * be written once.
 */
export async function containerSegments(
  scope: EncodeScope,
  model: Model,
  coded: readonly NewCoded[],
  sizes: Map<string, number>,
  shrink: boolean,
): Promise<Segment[]> {
  const byName = new Map(coded.map((c) => [c.name, c]));
  const taken = new Set([...model.tensors.map((t) => t.name), MODEL_NAME, CHECKSUMS_NAME]);
  const entries = new Map<string, CodedEntry>();
  const aligned: Part[] = [];
  const odd: Part[] = [];
  for (const t of model.tensors) {
    const c = byName.get(t.name);
    if (c) {
      const { parts, entry } = codedParts(scope, c, taken);
      entries.set(t.name, entry);
      sizes.set(
        t.name,
        parts.reduce((sum, p) => sum + p.byteLength, 0),
      );
      aligned.push(...parts);
    } else if (!model.skeleton) {
      const { name, dtype, shape, byteLength } = t;
      if (name === MODEL_NAME || name === CHECKSUMS_NAME) {
        throw new WlqError("unsupported", `"${name}" is a name that containers keep for themselves`, { tensor: name });
      }
      (oddness(byteLength) === 0 ? aligned : odd).push({
        name,
        dtype,
        shape,
        byteLength,
        content: [copySegment(t, 0, byteLength)],
      });
    }
  }
  odd.sort((a, b) => oddness(a.byteLength) - oddness(b.byteLength));
  const parts = [...aligned, ...odd];
  let skeleton: string | undefined;
  if (model.skeleton) {
    const left = await model.skeleton(new Set(byName.keys()));
    const { coding, content } = shrink ? await deflated(left) : { coding: undefined, content: left };
    skeleton = coding;
    const byteLength = segmentsByteLength(content);
    parts.push({ name: MODEL_NAME, dtype: "U8", shape: [byteLength], byteLength, content });
  }
  const metadata = {
    ...model.metadata,
    "wlq.version": CONTAINER_VERSION,
    "wlq.format": model.format,
    "wlq.checksum": CHECKSUM_KIND,
    ...(skeleton && { [MODEL_KEY]: skeleton }),
    "wlq.tensors": codingMap(entries),
  };
  return withChecksums(scope, parts, metadata);
}

function codedParts(scope: EncodeScope, c: NewCoded, taken: Set<string>): { parts: Part[]; entry: CodedEntry } {
  const { layout, dtype, name } = c;
  const { levels, granularity, axis, groupSize, shape, scale } = layout;
  const codebookName = freeName(`${name}.codebook`, taken);
  const scaleName = scale === "none" ? undefined : freeName(`${name}.scales`, taken);
  const { outliers } = c;
  const outliersName = outliers && freeName(`${name}.outliers`, taken);
  const codesName = freeName(`${name}.codes`, taken);
  const groups = codebookGroups(layout);
  const codebook = later(groups * levels * 4, async () => bytesOf((await c.coding()).codebook));
  const parts = [part(codebookName, "F32", [groups, levels], [codebook])];
  if (scaleName !== undefined) {
    const count = scaleGroups(layout);
    const scales = later(count * 2, async () => halves(scope, (await c.coding()).scale?.values ?? new Float32Array()));
    parts.push(part(scaleName, "F16", [count], [scales]));
  }
  if (outliers && outliersName !== undefined)
    parts.push(part(outliersName, "U8", [outliers.bytes.length], [outliers.bytes]));
  const before = parts.reduce((sum, p) => sum + p.byteLength, 0);
  const padding = -(before + c.codes.byteLength) & 7;
  const byteLength = c.codes.byteLength + padding;
  const content = padding > 0 ? [c.codes, new Uint8Array(padding)] : [c.codes];
  parts.push(part(codesName, "U8", [byteLength], content));
  const bits = bitsForLevels(levels);
  const base = { levels, granularity, axis, groupSize, shape };
  const { join = 1, tables = [] } = c.entropy ?? {};
  const stored = {
    coding: c.entropy ? "tans" : "packed",
    join,
    tables: tables.length,
    exact: outliers?.count,
  } as const;
  return { parts, entry: { ...base, ...stored, dtype, bits, scale, codebookName, scaleName, outliersName, codesName } };
}

function part(name: string, dtype: string, shape: readonly number[], content: readonly Segment[]): Part {
  return { name, dtype, shape, byteLength: segmentsByteLength(content), content };
}

function later(byteLength: number, bytes: () => Promise<Uint8Array>): LazySegment {
  return {
    byteLength,
    async *chunks() {
      yield await bytes();
    },
  };
}

// A copy: a sink may keep or hand on what it gets.
function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.slice().buffer);
}

function halves(scope: EncodeScope, values: Float32Array): Uint8Array {
  const mark = scope.mark();
  try {
    const src = scope.reserve(values.length * 4);
    const dst = scope.reserve(values.length * 2);
    scope.f32(src, values.length).set(values);
    scope.kernels.f32ToF16(dst, src, values.length);
    return scope.u8(dst, values.length * 2).slice();
  } finally {
    scope.release(mark);
  }
}

function withChecksums(scope: EncodeScope, parts: readonly Part[], metadata: Record<string, string>): Segment[] {
  const sumsOf = (headerBytes: number) =>
    checksumCount(headerBytes) + parts.reduce((sum, p) => sum + checksumCount(p.byteLength), 0);
  // the header holds the size of the checksums, whose number depends on the header's size: grows to a fixed point
  let head = safetensorsHead([...parts, checksumsTensor(sumsOf(0))], metadata);
  for (let size = -1; size !== head.length; ) {
    size = head.length;
    head = safetensorsHead([...parts, checksumsTensor(sumsOf(size - 8))], metadata);
  }
  const summer = new Checksummer(scope);
  summer.update(head.subarray(8));
  summer.endTensor();
  const segments: Segment[] = [head];
  for (const part of parts) {
    const { byteLength, content } = part;
    segments.push({
      byteLength,
      async *chunks() {
        for (const segment of content) {
          if (segment instanceof Uint8Array) {
            summer.update(segment);
            yield segment;
            continue;
          }
          for await (const chunk of segment.chunks()) {
            summer.update(chunk);
            yield chunk;
          }
        }
        summer.endTensor();
      },
    });
  }
  segments.push({
    byteLength: sumsOf(head.length - 8) * 8,
    async *chunks() {
      yield summer.bytes();
    },
  });
  return segments;
}

function checksumsTensor(count: number): NewTensor {
  return { name: CHECKSUMS_NAME, dtype: "U8", shape: [count * 8], byteLength: count * 8 };
}
