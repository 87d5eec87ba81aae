// The map that says which tensors of a container are coded, and how: metadata key `wlq.tensors`.
import { bitsForLevels, codebookGroups, type Coding, decodeGrouping, type Granularity, packedBytes } from "../codebook.ts";
import type { RoundFormat } from "../decode.ts";
import { WlqError } from "../error.ts";
import { countElements, type FloatDtype } from "../tensor.ts";
import { isRecord, type SafeTensor, type SafetensorsHeader } from "./safetensors.ts";

export const CONTAINER_VERSION = "1";
/** Tensors of a container that are not the model's: a name that the map's owner must not use. */
export const MODEL_NAME = "__wlq__.model";
export const CHECKSUMS_NAME = "__wlq__.checksums";
/** Bytes a checksum: XXH64 of every such stretch of every tensor, counted from the tensor's first byte. */
export const CHECKSUM_TILE = 65536;

/** How one tensor of the original lies in the container. */
export interface CodedEntry extends Omit<Coding, "codebook" | "scale"> {
  readonly dtype: FloatDtype;
  readonly bits: number;
  readonly scalePer: "none" | "channel" | "group";
  readonly codebookName: string;
  readonly scaleName: string | undefined;
  readonly codesName: string;
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

/** A container's header, checked: its coded tensors and everything else. */
export interface ContainerHeader {
  readonly coded: ReadonlyMap<string, CodedEntry>;
  readonly byName: ReadonlyMap<string, SafeTensor>;
  /** Format of the original: `safetensors`, `onnx` … */
  readonly format: string;
  /** Metadata of the original. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Names of the original's tensors, in file order; for formats with a skeleton only the coded ones. */
  readonly names: readonly string[];
}

export function isContainer(header: SafetensorsHeader): boolean {
  return header.metadata["wlq.version"] !== undefined;
}

/** Interprets the header of a container. Throws `malformed` or `unsupported`. */
export function parseContainer(header: SafetensorsHeader): ContainerHeader {
  const version = header.metadata["wlq.version"];
  if (version === undefined) throw new WlqError("unsupported", "this safetensors file is not a wlq container");
  if (version !== CONTAINER_VERSION) {
    throw new WlqError("unsupported", `container version ${version}, this reader knows ${CONTAINER_VERSION}`);
  }
  let map: unknown;
  try {
    map = JSON.parse(header.metadata["wlq.tensors"] ?? "");
  } catch (cause) {
    throw new WlqError("malformed", "wlq.tensors is not JSON", { cause });
  }
  if (!isRecord(map)) throw new WlqError("malformed", "wlq.tensors is not an object");
  const byName = new Map(header.tensors.map((t) => [t.name, t]));
  const coded = new Map<string, CodedEntry>();
  const used = new Map<string, string>();
  for (const [name, value] of Object.entries(map)) {
    const entry = parseEntry(name, value, byName);
    for (const part of [entry.codebookName, entry.scaleName, entry.codesName]) {
      if (part === undefined) continue;
      if (used.has(part)) throw new WlqError("malformed", `tensor "${name}" shares "${part}" with "${used.get(part)}"`, { tensor: name });
      used.set(part, name);
    }
    coded.set(name, entry);
  }
  const names: string[] = [];
  for (const { name } of header.tensors) {
    const owner = used.get(name);
    if (owner !== undefined) {
      if (coded.get(owner)?.codebookName === name) names.push(owner);
    } else if (name !== MODEL_NAME && name !== CHECKSUMS_NAME) {
      if (coded.has(name)) throw new WlqError("malformed", `tensor "${name}" is there both coded and plain`, { tensor: name });
      names.push(name);
    }
  }
  const metadata: Record<string, string> = {};
  for (const [key, text] of Object.entries(header.metadata)) if (!key.startsWith("wlq.")) metadata[key] = text;
  return { coded, byName, format: header.metadata["wlq.format"] ?? "safetensors", metadata, names };
}

function parseEntry(name: string, value: unknown, byName: ReadonlyMap<string, SafeTensor>): CodedEntry {
  const bad = (message: string) => new WlqError("malformed", `coded tensor "${name}" ${message}`, { tensor: name });
  if (!isRecord(value)) throw bad("is not described by an object");
  const pick = <T extends string>(key: string, allowed: readonly T[]): T => {
    const v = value[key];
    if (!allowed.includes(v as T)) throw bad(`has the ${key} ${JSON.stringify(v)}; known: ${allowed.join(", ")}`);
    return v as T;
  };
  const integer = (key: string, low: number, high: number): number => {
    const v = value[key];
    if (!Number.isSafeInteger(v) || (v as number) < low || (v as number) > high) {
      throw bad(`has the ${key} ${JSON.stringify(v)}; it must be from ${low} to ${high}`);
    }
    return v as number;
  };
  const part = (key: string, dtype: string): SafeTensor => {
    const found = typeof value[key] === "string" ? byName.get(value[key] as string) : undefined;
    if (!found) throw bad(`names the ${key} ${JSON.stringify(value[key])}, which is not in the file`);
    if (found.dtype !== dtype) throw bad(`has ${key} of dtype ${found.dtype}, expected ${dtype}`);
    return found;
  };
  const dtype = pick<FloatDtype>("dtype", ["F64", "F32", "F16", "BF16"]);
  const { shape } = value;
  if (!Array.isArray(shape)) throw bad("has no shape");
  const count = countElements(shape as number[], name);
  const levels = integer("levels", 2, 256);
  const granularity = pick<Granularity>("granularity", ["tensor", "channel", "group"]);
  const scalePer = pick("scale", ["none", "channel", "group"] as const);
  pick("coding", ["packed"]);
  const bits = integer("bits", 1, 8);
  if (bits !== bitsForLevels(levels)) throw bad(`has ${bits} bits a code for ${levels} levels`);
  if (scalePer !== "none" && granularity !== "tensor") throw bad("has both a scale and several codebooks");
  const channels = granularity === "channel" || scalePer === "channel";
  const grouped = granularity === "group" || scalePer === "group";
  const axis = channels && shape.length > 0 ? integer("axis", 0, shape.length - 1) : 0;
  const groupSize = grouped ? integer("groupSize", 1, Number.MAX_SAFE_INTEGER) : 0;
  const base = { levels, granularity, axis, groupSize, shape: shape as number[] };
  const codebook = part("codebook", "F32");
  const values = codebookGroups(base) * levels;
  if (codebook.byteLength !== values * 4) throw bad(`has a codebook of ${codebook.byteLength} bytes, ${values} values need ${values * 4}`);
  const codes = part("codes", "U8");
  const bytes = packedBytes(count, bits);
  if (codes.byteLength < bytes || codes.byteLength > bytes + 7) {
    throw bad(`has ${codes.byteLength} bytes of codes, ${count} of ${bits} bits need ${bytes} and at most 7 of padding`);
  }
  let scaleName: string | undefined;
  if (scalePer !== "none") {
    const scales = part("scales", "F16");
    const { groups } = decodeGrouping({ ...base, scale: { per: scalePer, values: new Float32Array(0) } });
    if (scales.byteLength !== groups * 2) throw bad(`has ${scales.byteLength / 2} scales for ${groups} groups`);
    scaleName = scales.name;
  }
  return { ...base, dtype, bits, scalePer, codebookName: codebook.name, scaleName, codesName: codes.name };
}
