// What a Python expression of a config can come to: plain values, and names of imported things.
//
// Whole numbers are bigint and others number, so that 1 and 1.0 stay apart as they do in Python.

export type PyValue = null | boolean | bigint | number | string | PyList | PyDict | PySymbol;

/** A list or a tuple. Lists change in place and may have several names, as in Python. */
export interface PyList {
  readonly kind: "list" | "tuple";
  readonly items: PyValue[];
  /** Where it was written, 1-based. */
  readonly line: number;
}

export interface PyDict {
  readonly kind: "dict";
  readonly entries: Map<PyKey, PyEntry>;
  readonly line: number;
}

/** True, 1 and 1.0 are one key in Python: the whole number. */
export type PyKey = string | bigint | number | null;

export interface PyEntry {
  readonly value: PyValue;
  /** Where the value was given, 1-based. */
  readonly line: number;
}

/** Something imported, by its whole dotted name: "torch.float16". Nothing is known of it but that. */
export interface PySymbol {
  readonly kind: "symbol";
  readonly name: string;
}

/** The names that a file binds, in the order of their first binding. */
export type Namespace = ReadonlyMap<string, PyEntry>;

/** A piece of the file that cannot be taken: collected, so that all are told at once. */
export interface Refusal {
  readonly line: number;
  readonly text: string;
}

/** Thrown where a statement cannot be evaluated; the statement's names stay unknown. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

/** Longest text, and most items of a list, that an expression may make. */
export const MOST_CHARACTERS = 1 << 20;
export const MOST_ITEMS = 10_000;

/** Charges a number of steps, 1 where none is given, to what an evaluation may take; throws when there were too many. */
export type Count = (steps?: number) => void;

/** What it costs to go through so many characters once, or to make them. */
export function stepsOfText(characters: number): number {
  return Math.ceil(characters / 64);
}

/** What it costs to copy so many items. */
export function stepsOfItems(items: number): number {
  return Math.ceil(items / 16);
}

export function isList(value: PyValue): value is PyList {
  return isObject(value) && (value.kind === "list" || value.kind === "tuple");
}

export function isDict(value: PyValue): value is PyDict {
  return isObject(value) && value.kind === "dict";
}

export function isSymbol(value: PyValue): value is PySymbol {
  return isObject(value) && value.kind === "symbol";
}

function isObject(value: PyValue): value is PyList | PyDict | PySymbol {
  return typeof value === "object" && value !== null;
}

/** "a list", "a whole number", …: what a value is, for messages. */
export function kindOf(value: PyValue): string {
  switch (typeof value) {
    case "bigint":
      return "a whole number";
    case "number":
      return "a number";
    case "string":
      return "a text";
    case "boolean":
      return value ? "True" : "False";
    default:
      if (value === null) return "None";
      return value.kind === "symbol" ? value.name : `a ${value.kind}`;
  }
}

/** The value as Python would write it, shortened: "'abc'", "[…]". */
export function excerptOf(value: PyValue): string {
  if (typeof value === "string") {
    const shown = value.length > 60 ? `${value.slice(0, 60)}…` : value;
    return JSON.stringify(shown);
  }
  return typeof value === "bigint" || typeof value === "number" ? String(value) : kindOf(value);
}

/** A key in the one form that equal keys share. */
export function keyOf(value: PyValue): PyKey {
  if (value === null || typeof value === "string" || typeof value === "bigint") return value;
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  throw new RefusedError(`${kindOf(value)} is the key of a dict`);
}

/** Whether Python takes the value for true. */
export function isTruthy(value: PyValue): boolean {
  if (isList(value)) return value.items.length > 0;
  if (isDict(value)) return value.entries.size > 0;
  if (isSymbol(value)) return true;
  return Boolean(value);
}

/** Whether two values are equal as == has it. Every visit counts: a list may stand in many places. */
export function isEqual(one: PyValue, other: PyValue, count: Count): boolean {
  count();
  if (isList(one) && isList(other)) {
    return (
      one.kind === other.kind &&
      one.items.length === other.items.length &&
      one.items.every((item, index) => isEqual(item, other.items[index] ?? null, count))
    );
  }
  if (isDict(one) && isDict(other)) {
    if (one.entries.size !== other.entries.size) return false;
    for (const [key, { value }] of one.entries) {
      const found = other.entries.get(key);
      if (found === undefined || !isEqual(value, found.value, count)) return false;
    }
    return true;
  }
  if (isSymbol(one) && isSymbol(other)) return one.name === other.name;
  if (isObject(one) || isObject(other)) return false;
  // Loose on purpose: 1n == 1 and true == 1n, as in Python. A text equals nothing but a text.
  if (typeof one === "string" || typeof other === "string") return isSameText(one, other, count);
  if (one === null || other === null) return one === other;
  // oxlint-disable-next-line eqeqeq
  return one == other;
}

function isSameText(one: PyValue, other: PyValue, count: Count): boolean {
  if (typeof one !== "string" || typeof other !== "string") return false;
  if (one.length !== other.length) return false;
  count(stepsOfText(one.length));
  return one === other;
}
