// The map that says which tensors of a container are coded, and how: metadata key `wlq.tensors`.
import { bitsForLevels, type Coding, type Grouping, groupingOf, packedBytes, type ScalePer } from "../codebook.ts";
import { malformed, WlqError } from "../error.ts";
import type { RoundFormat } from "../tensor.ts";
import { FLOAT_DTYPES, type FloatDtype, isSize } from "../tensor.ts";
import { CHECKSUMS_NAME } from "./checksum.ts";
import { fieldsOf, isString, parseObject } from "./json.ts";
import { isSizes, type SafeTensor, type SafetensorsHeader } from "./safetensors.ts";

export const CONTAINER_VERSION = "1";
// the tile of checksum.ts; a literal, so that bundlers see that nothing runs
export const CHECKSUM_KIND: "xxh64/65536" = "xxh64/65536";
/** Weights of an entropy-coded block, which is decoded from its start. */
export const TANS_BLOCK = 262144;
/** Tensor of a container that is not the model's: the file that the coded tensors were cut out of. */
export const MODEL_NAME = "__wlq__.model";

/** How one tensor of the original is coded. */
interface Entry extends Omit<Coding, "codebook" | "scale"> {
  readonly dtype: FloatDtype;
  readonly bits: number;
  readonly scale: ScalePer;
  /** Codes of `bits` each, or entropy-coded. */
  readonly coding: "packed" | "tans";
  /** Of entropy-coded ones, codes a symbol; what was read is checked by who decodes. */
  readonly join: number;
  /** And bytes of tables before them. */
  readonly tables: number;
  /** Weights that are stored exactly, beside their codes; checked by who decodes. */
  readonly exact?: number | undefined;
}

/** As it is written: its parts by name. */
export interface CodedEntry extends Entry {
  readonly codebookName: string;
  readonly scaleName: string | undefined;
  readonly codesName: string;
  readonly outliersName: string | undefined;
}

/** As it was read: its parts, checked. It is as long as all of them. */
export interface CodedTensor extends Entry, Pick<SafeTensor, "name" | "byteLength"> {
  /** Which weights decode with the same values. */
  readonly grouping: Grouping;
  readonly parts: readonly [codebook: SafeTensor, codes: SafeTensor, scales: Maybe, outliers: Maybe];
}

/** A part that not all have. */
type Maybe = SafeTensor | false;

/** Rounding of decoded values: those of F16 and BF16 tensors are values of that dtype. */
export function roundFormat(dtype: string): RoundFormat {
  return dtype === "F16" ? 1 : dtype === "BF16" ? 2 : 0;
}

/** `wlq.tensors`: the map as JSON. */
export function codingMap(entries: ReadonlyMap<string, CodedEntry>): string {
  const parts: string[] = [];
  for (const [name, e] of entries) {
    const value = {
      dtype: e.dtype,
      shape: e.shape,
      levels: e.levels,
      bits: e.bits,
      granularity: e.granularity,
      scale: e.scale,
      ...(e.granularity === "channel" || e.scale === "channel" ? { axis: e.axis } : {}),
      ...(e.granularity === "group" || e.scale === "group" ? { groupSize: e.groupSize } : {}),
      coding: e.coding,
      ...(e.coding === "tans" ? { join: e.join, tables: e.tables } : {}),
      codebook: e.codebookName,
      ...(e.scaleName === undefined ? {} : { scales: e.scaleName }),
      codes: e.codesName,
      ...(e.outliersName === undefined ? {} : { exact: e.exact, outliers: e.outliersName }),
    };
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
  }
  return `{${parts.join(",")}}`;
}

/** A container's header, checked. */
export interface ContainerHeader {
  /** The original's tensors: those that passed through in file order, then the coded ones; with a skeleton only these. */
  readonly tensors: ReadonlyMap<string, SafeTensor | CodedTensor>;
  /** The file's own tensors. */
  readonly byName: ReadonlyMap<string, SafeTensor>;
  readonly checksums: SafeTensor;
  /** Format of the original: `safetensors`, `onnx` … */
  readonly format: string;
  /** Metadata of the original. */
  readonly metadata: Readonly<Record<string, string>>;
}

export function isContainer(header: SafetensorsHeader): boolean {
  return header.metadata["wlq.version"] !== undefined;
}

export function isCoded(tensor: SafeTensor | CodedTensor): tensor is CodedTensor {
  return "parts" in tensor;
}

/** Hands out a tensor of the file, once, if it has that dtype and `bytes` bytes, or at most `padding` more. */
type Take = (name: string, dtype: string, bytes: number, padding?: number) => SafeTensor;

/** Interprets the header of a container with `sums` checksums. Throws `malformed` or `unsupported`. */
export function parseContainer({ tensors: byName, metadata: all }: SafetensorsHeader, sums: number): ContainerHeader {
  const {
    "wlq.version": version,
    "wlq.checksum": kind,
    "wlq.tensors": map = "",
    "wlq.format": format = "safetensors",
    ...metadata
  } = all;
  if (version !== CONTAINER_VERSION || kind !== CHECKSUM_KIND) {
    throw new WlqError("unsupported", `container ${version}, ${kind}, not ${CONTAINER_VERSION}, ${CHECKSUM_KIND}`);
  }
  const tensors = new Map<string, SafeTensor | CodedTensor>(byName);
  const take: Take = (name, dtype, bytes, padding = 0) => {
    const part = byName.get(name);
    const more = part?.dtype === dtype && tensors.delete(name) ? part.byteLength - bytes : -1;
    if (!part || !(more >= 0 && more <= padding)) {
      throw malformed(name, `${part?.byteLength} bytes of ${part?.dtype}, not ${bytes} of ${dtype}`);
    }
    return part;
  };
  const checksums = take(CHECKSUMS_NAME, "U8", sums * 8);
  tensors.delete(MODEL_NAME);
  for (const [name, json] of Object.entries(parseObject("wlq.tensors", () => map))) {
    if (byName.has(name)) throw malformed(name, "is coded and plain");
    tensors.set(name, parseEntry(name, json, take));
  }
  return { tensors, byName, checksums, format, metadata };
}

function parseEntry(name: string, json: unknown, take: Take): CodedTensor {
  const field = fieldsOf(name, json);
  const oneOf = <const T>(key: string, known: readonly T[]): T => field(key, (x): x is T => known.includes(x as T));
  let byteLength = 0;
  const part = (key: string, dtype: string, bytes: number, padding?: number): SafeTensor => {
    const found = take(field(key, isString), dtype, bytes, padding);
    byteLength += found.byteLength;
    return found;
  };
  const packed = oneOf("coding", ["packed", "tans"]) === "packed";
  oneOf("dtype", FLOAT_DTYPES);
  const shape = field("shape", isSizes);
  const levels = field("levels", (x): x is number => isSize(x) && x > 1 && x <= 256);
  const bits = oneOf("bits", [bitsForLevels(levels)]);
  const granularity = oneOf("granularity", ["tensor", "channel", "group"]);
  // factors stand before one codebook
  const scale = oneOf("scale", granularity === "tensor" ? ["none", "channel", "group"] : ["none"]);
  const per = scale === "none" ? granularity : scale;
  const axis = per === "channel" && shape.length > 0 ? oneOf("axis", [...shape.keys()]) : 0;
  const groupSize = per === "group" ? field("groupSize", (x): x is number => isSize(x) && x > 0) : 0;
  const grouping = groupingOf(per, shape, axis, groupSize, name);
  const codebook = part("codebook", "F32", (per === granularity ? grouping.groups : 1) * levels * 4);
  const codes = part("codes", "U8", packed ? packedBytes(grouping.count, bits) : 0, packed ? 7 : 1 / 0);
  const scales = scale !== "none" && part("scales", "F16", grouping.groups * 2);
  const outliers = !!(json as Entry).exact && part("outliers", "U8", 0, 1 / 0);
  return {
    ...(json as Entry),
    axis,
    groupSize,
    name,
    grouping,
    byteLength,
    parts: [codebook, codes, scales, outliers],
  };
}
