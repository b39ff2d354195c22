// Values of Python's literals and JSON, and how Python writes them. An int has any number of digits, and 1 is not
// 1.0: where Python writes a value into a text, both are seen.
import { FloatValue, toText } from "../formats/jinja-values.ts";

/** An int is a bigint, a list or tuple an array, a dict a Map. */
export type PythonValue =
  | string
  | boolean
  | bigint
  | null
  | FloatValue
  | PythonValue[]
  | PythonTuple
  | Map<PythonValue, PythonValue>;

export class PythonTuple {
  readonly items: readonly PythonValue[];

  constructor(items: readonly PythonValue[]) {
    this.items = items;
  }
}

/** Python's `str`: a text as it is, anything else as `repr` writes it. */
export function pythonStr(value: PythonValue): string {
  return typeof value === "string" ? value : repr(value);
}

/** Python's `str` of what `JSON.parse` gave. */
export function pythonText(value: unknown): string {
  return pythonStr(fromPlain(value));
}

export function repr(value: PythonValue): string {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
  if (value instanceof PythonTuple) {
    return `(${value.items.map(repr).join(", ")}${value.items.length === 1 ? "," : ""})`;
  }
  if (value instanceof Map) {
    return `{${Array.from(value, ([key, item]) => `${repr(key)}: ${repr(item)}`).join(", ")}}`;
  }
  // A list's brackets make a text be quoted.
  return toText([value]).slice(1, -1);
}

/** What `JSON.parse` would give. */
export function toPlain(value: PythonValue): unknown {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof FloatValue) return value.value;
  if (Array.isArray(value)) return value.map(toPlain);
  if (value instanceof PythonTuple) return value.items.map(toPlain);
  if (!(value instanceof Map)) return value;
  return Object.fromEntries(Array.from(value, ([key, item]) => [pythonStr(key), toPlain(item)]));
}

/** Of what `JSON.parse` gave, where 1.0 and 1 are the same. */
export function fromPlain(value: unknown): PythonValue {
  if (typeof value === "number") {
    return Number.isInteger(value) ? BigInt(value) : new FloatValue(value);
  }
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (Array.isArray(value)) return value.map(fromPlain);
  if (typeof value !== "object" || value === null) return null;
  return new Map(Object.entries(value).map(([key, item]) => [key, fromPlain(item)]));
}
