// The map that says which tensors of a container are coded, and how: metadata key `wlq.tensors`.
import { bitsForLevels, type Coding, groupingOf, packedBytes, type ScalePer } from "../codebook.ts";
import type { RoundFormat } from "../decode.ts";
import { malformed, WlqError } from "../error.ts";
import { countElements, type FloatDtype, isFloatDtype, isSize } from "../tensor.ts";
import { CHECKSUM_TILE, CHECKSUMS_NAME } from "./checksum.ts";
import { fieldsOf, isString, parseObject } from "./json.ts";
import { checkTensor, isSizes, type SafeTensor, type SafetensorsHeader } from "./safetensors.ts";

export const CONTAINER_VERSION = "1";
export const CHECKSUM_KIND: string = `xxh64/${CHECKSUM_TILE}`;
/** Tensor of a container that is not the model's: the file that the coded tensors were cut out of. */
export const MODEL_NAME = "__wlq__.model";

/** How one tensor of the original is coded. */
interface Entry extends Omit<Coding, "codebook" | "scale"> {
  readonly dtype: FloatDtype;
  readonly bits: number;
  readonly scalePer: ScalePer;
}

/** As it is written: its parts by name. */
export interface CodedEntry extends Entry {
  readonly codebookName: string;
  readonly scaleName: string | undefined;
  readonly codesName: string;
}

/** As it was read: its parts, checked. */
export interface CodedTensor extends Entry {
  readonly name: string;
  readonly parts: readonly [codebook: SafeTensor, codes: SafeTensor, ...scales: SafeTensor[]];
  /** Bytes of all parts. */
  readonly byteLength: number;
}

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
      scale: e.scalePer,
      ...(e.granularity === "channel" || e.scalePer === "channel" ? { axis: e.axis } : {}),
      ...(e.granularity === "group" || e.scalePer === "group" ? { groupSize: e.groupSize } : {}),
      coding: "packed",
      codebook: e.codebookName,
      ...(e.scaleName === undefined ? {} : { scales: e.scaleName }),
      codes: e.codesName,
    };
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
  }
  return `{${parts.join(",")}}`;
}

/** A container's header, checked. */
export interface ContainerHeader {
  /** The original's tensors, in file order; for formats with a skeleton only the coded ones. */
  readonly tensors: ReadonlyMap<string, SafeTensor | CodedTensor>;
  /** The file's own tensors. */
  readonly byName: ReadonlyMap<string, SafeTensor>;
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

/** Interprets the header of a container. Throws `malformed` or `unsupported`. */
export function parseContainer(header: SafetensorsHeader): ContainerHeader {
  const byName = header.tensors;
  const {
    "wlq.version": version,
    "wlq.checksum": kind,
    "wlq.tensors": map = "",
    "wlq.format": format = "safetensors",
    ...metadata
  } = header.metadata;
  if (version !== CONTAINER_VERSION || kind !== CHECKSUM_KIND) {
    const known = `${CONTAINER_VERSION} and ${CHECKSUM_KIND}`;
    throw new WlqError("unsupported", `wlq.version and checksum are ${version} and ${kind}, this reader knows ${known}`);
  }
  // tensors of the file that are not the original's, and what they are parts of
  const owners = new Map<string, CodedTensor | undefined>([[MODEL_NAME, undefined], [CHECKSUMS_NAME, undefined]]);
  for (const [name, json] of Object.entries(parseObject("wlq.tensors", () => map))) {
    const coded = parseEntry(name, json, byName);
    for (const part of coded.parts) {
      if (owners.has(part.name)) throw malformed(name, `"${part.name}" is a part of "${owners.get(part.name)?.name}", too`);
      owners.set(part.name, coded);
    }
  }
  const tensors = new Map<string, SafeTensor | CodedTensor>();
  for (const [name, plain] of byName) {
    const tensor = owners.has(name) ? owners.get(name) : plain;
    // a coded tensor stands where its codebook is
    if (!tensor || (isCoded(tensor) && tensor.parts[0] !== plain)) continue;
    if (tensors.has(tensor.name)) throw malformed(tensor.name, "is there both coded and plain");
    tensors.set(tensor.name, tensor);
  }
  return { tensors, byName, format, metadata };
}

function parseEntry(name: string, json: unknown, byName: ReadonlyMap<string, SafeTensor>): CodedTensor {
  const field = fieldsOf(name, json);
  const oneOf = <const T>(key: string, known: readonly T[]): T => field(key, (x): x is T => known.includes(x as T));
  const part = (key: string, dtype: string, bytes: number, padding?: number): SafeTensor =>
    checkTensor(byName, field(key, isString), dtype, bytes, padding);
  oneOf("coding", ["packed"]);
  const dtype = field("dtype", isFloatDtype);
  const shape = field("shape", isSizes);
  const levels = field("levels", (x): x is number => isSize(x) && x > 1 && x <= 256);
  const bits = oneOf("bits", [bitsForLevels(levels)]);
  const granularity = oneOf("granularity", GRANULARITIES);
  // factors stand before one codebook
  const scalePer = oneOf("scale", granularity === "tensor" ? SCALES : ["none"]);
  const scaled = scalePer !== "none";
  const per = scaled ? scalePer : granularity;
  const axis = per === "channel" && shape.length > 0 ? oneOf("axis", [...shape.keys()]) : 0;
  const groupSize = per === "group" ? field("groupSize", (x): x is number => isSize(x) && x > 0) : 0;
  const count = countElements(shape, name);
  const { groups } = groupingOf(per, shape, axis, groupSize);
  const codebook = part("codebook", "F32", (scaled ? 1 : groups) * levels * 4);
  const codes = part("codes", "U8", packedBytes(count, bits), 7);
  const scales = scaled ? [part("scales", "F16", groups * 2)] : [];
  const parts = [codebook, codes, ...scales] as const;
  const byteLength = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return { name, dtype, shape, levels, bits, granularity, scalePer, axis, groupSize, parts, byteLength };
}

const GRANULARITIES = ["tensor", "channel", "group"] as const;
const SCALES = ["none", "channel", "group"] as const;
