// One object of a file, read field by field. What is missing or of the wrong kind is refused with its place.
import { UserError } from "../base/error.ts";
import { describeJson, isJsonObject, type JsonObject } from "../formats/json.ts";
import { readPythonLiteral } from "./python-literal.ts";
import { pythonText, toPlain } from "./python-values.ts";

/** What the columns and fields of messages are called, where they are not what a format looks for. */
export interface FieldNames {
  /** Column that holds the list of messages. */
  messages?: string;
  /** Field of a message that says who speaks. */
  role?: string;
  /** Field of a message that holds its text. */
  content?: string;
}

export interface MapOptions {
  fields?: FieldNames;
  /** As XTuner 0.1.17 does, and nothing beyond it: no tools, no weights, no further roles or columns. */
  asXtuner?: boolean;
}

export interface RowReader {
  readonly value: JsonObject;
  has(key: string): boolean;
  text(key: string): string;
  /** Absent and null are the empty text. */
  optionalText(key: string): string;
  /** A text; a number or truth value as it is written; nothing as the empty text. */
  words(key: string): string;
  /** A value as Python's `format` writes it: None where it is null. */
  formatted(key: string): string;
  flag(key: string): boolean | undefined;
  /** A list of objects, or the text of one: JSON, or as Python writes it. */
  list(key: string): RowReader[];
  /** A value that stands in this row, as an object of its own. */
  part(value: unknown, name: string): RowReader;
  refuse(fact: string, remedy: string): UserError;
}

const CORRECT = "Correct that row.";

/** `where` is said before each fault: the file, the row and its line. */
export function createRowReader(value: unknown, where: string): RowReader {
  const refuse = (fact: string, remedy: string) => new UserError(`${where}: ${fact}.`, remedy);
  if (!isJsonObject(value)) {
    throw refuse("it is not a JSON object", "Make each row an object.");
  }
  const has = (key: string) => Object.hasOwn(value, key);
  const read = (key: string) => (has(key) ? value[key] : undefined);
  const wrong = (key: string, wanted: string) => {
    const found = has(key) ? `"${key}" is ${describeKind(value[key])}` : `"${key}" is missing`;
    const keys = Object.keys(value).slice(0, KEYS_SHOWN).join(", ") || "none";
    return refuse(`${found}, where ${wanted} is needed; its keys: ${keys}`, CORRECT);
  };
  const text = (key: string) => {
    const field = read(key);
    if (typeof field !== "string") throw wrong(key, "a text");
    return field;
  };
  return {
    value,
    has,
    text,
    optionalText: (key) => (read(key) === undefined || read(key) === null ? "" : text(key)),
    words(key) {
      const field = read(key);
      if (typeof field === "string") return field;
      if (field === undefined || field === null) return "";
      if (typeof field === "boolean") return String(field);
      if (typeof field !== "number") throw wrong(key, "a text");
      if (!Number.isInteger(field) || Number.isSafeInteger(field)) return String(field);
      throw refuse(`"${key}" is a number of more digits than are kept`, "Write it as a text.");
    },
    formatted(key) {
      if (!has(key)) throw wrong(key, "a text");
      return pythonText(value[key]);
    },
    flag(key) {
      const field = read(key);
      if (field === undefined || field === null) return undefined;
      if (typeof field !== "boolean") throw wrong(key, "true or false");
      return field;
    },
    list(key) {
      const items = asList(read(key));
      if (items === undefined) throw wrong(key, "a list");
      return items.map((item, i) => createRowReader(item, `${where}, ${key}[${i}]`));
    },
    part: (inner, name) => createRowReader(inner, `${where}, ${name}`),
    refuse,
  };
}

const KEYS_SHOWN = 30;

/** A list, or the text of one, as tables hold it. Undefined for anything else. */
export function asList(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value;
  if (typeof value !== "string" || !value.trimStart().startsWith("[")) return undefined;
  try {
    const parsed: unknown = JSON.parse(value);
    return Array.isArray(parsed) ? parsed : undefined;
  } catch {
    const literal = readPythonLiteral(value);
    return Array.isArray(literal) ? literal.map(toPlain) : undefined;
  }
}

function describeKind(value: unknown): string {
  return typeof value === "number" || typeof value === "string"
    ? `a ${typeof value === "number" ? "number" : "text"}`
    : describeJson(value);
}
