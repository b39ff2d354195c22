// The values of Jinja templates, which are Python's: what is true, equal or less, and how it is written.
// The int 2 and the float 2.0 are different things there, a string is a list of code points, and a missing value
// is not None.

/** A float; a plain number is an int. */
export class FloatValue {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** What `namespace(…)` makes: the only thing whose parts a template can set. */
export class NamespaceValue {
  readonly entries = new Map<string, Value>();
}

/** A loop as its body sees it: which round of what. */
export class LoopValue {
  readonly items: readonly Value[];
  readonly index: number;

  constructor(items: readonly Value[], index: number) {
    this.items = items;
    this.index = index;
  }
}

export type Callable = (args: readonly Value[], named: ReadonlyMap<string, Value>) => Value;

/** undefined is a value that is missing, null is None, a Map is a dict. */
export type Value =
  | string
  | number
  | boolean
  | null
  | undefined
  | FloatValue
  | NamespaceValue
  | LoopValue
  | Callable
  | readonly Value[]
  | ReadonlyMap<Value, Value>;

/** A template did what Python would not let it do. */
export class TemplateError extends Error {}

/** What one rendering may cost, in units of some ten nanoseconds: below half a second. */
const WORK_BUDGET = 30_000_000;

// A rendering never waits, so there is one at a time.
let workLeft = WORK_BUDGET;

/** Begins a rendering's account. */
export function startWork(): void {
  workLeft = WORK_BUDGET;
}

/** Takes from the rendering's account before what costs so much is done. */
export function spend(units: number): void {
  workLeft -= units;
  if (workLeft < 0) throw new TemplateError("it takes too many steps");
}

/** What it costs to go once through a value's units or items. */
export function costOf(value: Value): number {
  if (typeof value === "string") return value.length / 2;
  if (isList(value)) return value.length * 2;
  return isDict(value) ? value.size * 2 : 1;
}

/** What it costs to take a text apart into its characters. */
export function spendCharacters(text: string): void {
  spend(text.length * 8);
}

/** What it costs to look for one text in another, where they may agree for long and differ at the end. */
export function spendSearch(text: string, wanted: string): void {
  spend(text.length / 2 + (wanted.length > 256 ? (text.length * wanted.length) / 16 : 0));
}

/** Units of text, or items of a list, that one value may have. */
const LARGEST = 1 << 24;

/** Refuses to make a value of so many units or items. */
export function checkSize(size: number): void {
  if (size > LARGEST) throw new TemplateError("it makes a value that is too large");
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

export function isDict(value: Value): value is ReadonlyMap<Value, Value> {
  return value instanceof Map;
}

/** JSON, or anything made of its parts, as a template's value. */
export function toValue(input: unknown): Value {
  if (typeof input === "number") return Number.isInteger(input) ? input : new FloatValue(input);
  if (typeof input === "string" || typeof input === "boolean") return input;
  if (input === null || input === undefined) return input;
  if (Array.isArray(input)) return input.map(toValue);
  if (typeof input === "function") return input as Callable;
  return new Map(Object.entries(input).map(([key, value]) => [key, toValue(value)]));
}

/** Python's name of a value's type, for errors. */
export function typeName(value: Value): string {
  if (value === undefined) return "Undefined";
  if (value === null) return "None";
  if (typeof value === "string") return "str";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (value instanceof FloatValue) return "float";
  if (isList(value)) return "list";
  if (isDict(value)) return "dict";
  if (value instanceof LoopValue) return "loop";
  return typeof value === "function" ? "function" : "Namespace";
}

export function isTrue(value: Value): boolean {
  if (isList(value)) return value.length > 0;
  if (isDict(value)) return value.size > 0;
  if (value instanceof FloatValue) return value.value !== 0;
  return Boolean(value);
}

/** Of ints, floats and booleans, which are ints too. */
export function asNumber(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return Number(value);
  return value instanceof FloatValue ? value.value : undefined;
}

export function areEqual(a: Value, b: Value): boolean {
  spend(5);
  if (typeof a === "string" && typeof b === "string") {
    if (a.length !== b.length) return false;
    spend(a.length);
    return a === b;
  }
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined || y !== undefined) return x === y;
  if (isList(a) && isList(b)) {
    return a.length === b.length && a.every((item, i) => areEqual(item, b[i]));
  }
  if (isDict(a) && isDict(b)) {
    if (a.size !== b.size) return false;
    for (const [key, value] of a) if (!b.has(key) || !areEqual(value, b.get(key))) return false;
    return true;
  }
  return a === b;
}

/** Below, at or above zero. Strings are in the order of their code points. */
export function compare(a: Value, b: Value): number {
  spend(5);
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a === "string" && typeof b === "string") return compareText(a, b);
  if (isList(a) && isList(b)) {
    for (let i = 0; i < Math.min(a.length, b.length); i++) {
      const order = compare(a[i], b[i]);
      if (order !== 0) return order;
    }
    return a.length - b.length;
  }
  throw new TemplateError(`${typeName(a)} and ${typeName(b)} have no order`);
}

function compareText(a: string, b: string): number {
  spendCharacters(a);
  spendCharacters(b);
  const [x, y] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const order = (x[i]?.codePointAt(0) ?? 0) - (y[i]?.codePointAt(0) ?? 0);
    if (order !== 0) return order;
  }
  return x.length - y.length;
}

export function contains(container: Value, item: Value): boolean {
  if (typeof container === "string") {
    if (typeof item === "string") {
      spendSearch(container, item);
      return container.includes(item);
    }
    throw new TemplateError(`a str cannot contain ${typeName(item)}`);
  }
  if (isDict(container)) {
    spend(costOf(item));
    return container.has(item);
  }
  return iterate(container).some((other) => areEqual(other, item));
}

/** What a loop goes through: a list's items, a dict's keys, a string's characters. */
export function iterate(value: Value): readonly Value[] {
  if (isList(value)) return value;
  if (isDict(value)) {
    spend(value.size * 2);
    return [...value.keys()];
  }
  if (typeof value === "string") {
    spendCharacters(value);
    return Array.from(value);
  }
  if (value === undefined) return [];
  throw new TemplateError(`${typeName(value)} cannot be looped over`);
}

/** How a value is written in a template's text. */
export function toText(value: Value): string {
  if (typeof value === "string") return value;
  return value === undefined ? "" : repr(value);
}

/** Python's `repr`, as values inside of lists and dicts are written. */
function repr(value: Value): string {
  spend(5);
  if (value === undefined) return "Undefined";
  if (value === null) return "None";
  if (typeof value === "string") {
    spendCharacters(value);
    return reprText(value);
  }
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  if (value instanceof FloatValue) return reprFloat(value.value);
  if (isList(value)) return `[${joinParts(value.map(repr), ", ")}]`;
  if (isDict(value)) {
    const items = Array.from(value, ([key, item]) => `${repr(key)}: ${repr(item)}`);
    return `{${joinParts(items, ", ")}}`;
  }
  return `<${typeName(value)}>`;
}

/** Texts as one, which costs its length. */
export function joinParts(parts: readonly string[], between: string): string {
  const length = parts.reduce((sum, part) => sum + part.length + between.length, 0);
  checkSize(length);
  spend(length / 2);
  return parts.join(between);
}

function reprText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inside = text.replaceAll(/[\\'"]|[\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu, (char) => {
    if (char === "\\" || char === quote) return `\\${char}`;
    if (char === " " || char === "'" || char === '"') return char;
    const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[char];
    if (named !== undefined) return named;
    const point = char.codePointAt(0) ?? 0;
    if (point < 0x100) return `\\x${point.toString(16).padStart(2, "0")}`;
    if (point < 0x10000) return `\\u${point.toString(16).padStart(4, "0")}`;
    return `\\U${point.toString(16).padStart(8, "0")}`;
  });
  return quote + inside + quote;
}

/** The shortest digits that give the number back, with an exponent where Python takes one. */
function reprFloat(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const [mantissa = "", power = "0"] = value.toExponential().split("e");
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    const size = String(Math.abs(exponent)).padStart(2, "0");
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  if (Object.is(value, -0)) return "-0.0";
  const plain = exponent < 0 ? value.toFixed(digitsOf(mantissa) - exponent) : String(value);
  return plain.includes(".") ? plain : `${plain}.0`;
}

function digitsOf(mantissa: string): number {
  return mantissa.split(".")[1]?.length ?? 0;
}

export interface JsonOptions {
  ensureAscii?: boolean;
  /** What one level is indented by; undefined writes all on one line. */
  indent?: string | undefined;
  separators?: readonly [item: string, key: string] | undefined;
  sortKeys?: boolean;
}

/** Python's `json.dumps`. */
export function toJson(value: Value, options: JsonOptions = {}, depth = 0): string {
  const { indent, sortKeys } = options;
  const [itemMark, keyMark] = options.separators ?? [indent === undefined ? ", " : ",", ": "];
  const wrap = (open: string, items: readonly string[], close: string): string => {
    if (items.length === 0) return open + close;
    if (indent === undefined) return open + joinParts(items, itemMark) + close;
    checkSize(indent.length * (depth + 1));
    const inner = `\n${indent.repeat(depth + 1)}`;
    return `${open}${inner}${joinParts(items, itemMark + inner)}\n${indent.repeat(depth)}${close}`;
  };
  const write = (item: Value) => toJson(item, options, depth + 1);
  spend(typeof value === "string" ? value.length * 2 : 5);
  if (value === null) return "null";
  if (typeof value === "boolean" || typeof value === "number") return String(value);
  if (value instanceof FloatValue) return reprFloat(value.value);
  if (typeof value === "string") return jsonText(value, options.ensureAscii === true);
  if (isList(value)) return wrap("[", value.map(write), "]");
  if (isDict(value)) {
    const entries = [...value];
    if (sortKeys === true) entries.sort(([a], [b]) => compare(a, b));
    const items = entries.map(([key, item]) => {
      const name = typeof key === "string" ? key : toJson(key);
      return jsonText(name, options.ensureAscii === true) + keyMark + write(item);
    });
    return wrap("{", items, "}");
  }
  throw new TemplateError(`${typeName(value)} cannot be written as JSON`);
}

function jsonText(text: string, ensureAscii: boolean): string {
  const json = JSON.stringify(text);
  if (!ensureAscii) return json;
  return json.replaceAll(
    /[\x7f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
