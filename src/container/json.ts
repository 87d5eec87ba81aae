// JSON from strangers: objects and their fields, checked as they are read.
import { malformed } from "../error.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

/** Parses what must be an object. `text` is a function because decoding bytes may fail, too. */
export function parseObject(what: string, text: () => string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text());
  } catch {}
  if (!isObject(value)) throw malformed(undefined, `${what} is no JSON object`);
  return value;
}

export function isObject(x: unknown): x is JsonObject {
  return x instanceof Object && !Array.isArray(x);
}

export function isString(x: unknown): x is string {
  return typeof x === "string";
}

/** Reads one field: a value that `ok` accepts is returned, any other thrown. */
export type FieldReader = <T>(key: string, ok: (value: unknown) => value is T) => T;

/** The fields of a tensor's description; one that is not even an object has no fields. */
export function fieldsOf(tensor: string, json: unknown): FieldReader {
  return (key, ok) => {
    const value = Object(json)[key];
    // a look at it, not all of it: it may be long, or too deep to be made a text
    if (!ok(value)) throw malformed(tensor, `wrong ${key}${value instanceof Object ? "" : `: ${value}`.slice(0, 99)}`);
    return value;
  };
}
