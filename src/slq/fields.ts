// Fields: JSON of a state file, checked as it is read; files come from strangers.
import { malformed } from "../error.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

/** Reads one field: what `ok` accepts is returned, anything else thrown together with what was expected. */
export type FieldReader = <T>(key: string, expected: string, ok: (value: unknown) => value is T) => T;

/** The fields of an object, `what` it describes; what is no object has no fields. */
export function fieldsOf(what: string, json: unknown): FieldReader {
  return (key, expected, ok) => {
    const value = isObject(json) && Object.hasOwn(json, key) ? json[key] : undefined;
    if (!ok(value))
      throw malformed(undefined, `${what}: ${key} is ${JSON.stringify(value)?.slice(0, 100)}, expected ${expected}`);
    return value;
  };
}

/** Parses what must be an object. */
export function parseObject(what: string, text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed(undefined, `${what} is not JSON: ${cause}`);
  }
  if (!isObject(value)) throw malformed(undefined, `${what} is not a JSON object`);
  return value;
}

export function isObject(x: unknown): x is JsonObject {
  return typeof x === "object" && x !== null && !Array.isArray(x);
}

export function isString(x: unknown): x is string {
  return typeof x === "string";
}
