// Methods of Python's strings, dicts and lists, as far as chat templates use them.
import {
  areEqual,
  asNumber,
  type Callable,
  checkSize,
  costOf,
  isDict,
  isList,
  iterate,
  joinParts,
  NamespaceValue,
  spend,
  spendCharacters,
  spendSearch,
  TemplateError,
  typeName,
  type Value,
} from "./jinja-values.ts";
import { isSpace, trimEnd, trimStart } from "./white-space.ts";

/** Python's `getattr`, or undefined. Nothing that changes a value is offered. */
export function attributeOf(value: Value, name: string): Value {
  if (typeof value === "string") return bind(STRING_METHODS, value, name);
  if (isDict(value)) return bind(DICT_METHODS, value, name);
  if (isList(value)) return bind(LIST_METHODS, value, name);
  return value instanceof NamespaceValue ? value.entries.get(name) : undefined;
}

type Method<T> = (self: T, args: readonly Value[], named: ReadonlyMap<string, Value>) => Value;

function bind<T>(
  methods: ReadonlyMap<string, Method<T>>,
  self: T,
  name: string,
): Callable | undefined {
  const method = methods.get(name);
  return (
    method &&
    ((args, named) => {
      spend(costOf(self as Value));
      return method(self, args, named);
    })
  );
}

export function textOf(value: Value, what: string): string {
  if (typeof value === "string") return value;
  throw new TemplateError(`${what} must be a str, not ${typeName(value)}`);
}

export function intOf(value: Value, what: string): number {
  const number = asNumber(value);
  if (number !== undefined && Number.isInteger(number)) return number;
  throw new TemplateError(`${what} must be an int, not ${typeName(value)}`);
}

/** `str.strip`, of white space or of any of `chars`. */
export function strip(text: string, chars: Value, left: boolean, right: boolean): string {
  if (chars === undefined || chars === null) {
    const start = left ? trimStart(text) : text;
    const stripped = right ? trimEnd(start) : start;
    spend((text.length - stripped.length) * 4);
    return stripped;
  }
  const set = new Set(iterate(textOf(chars, "what is stripped")));
  spendCharacters(text);
  const points = Array.from(text);
  let start = 0;
  let end = points.length;
  while (left && start < end && set.has(points[start] ?? "")) start++;
  while (right && end > start && set.has(points[end - 1] ?? "")) end--;
  return points.slice(start, end).join("");
}

/** A space between is any run of white space; a given separator is itself. */
function split(text: string, separator: Value, limit: number): string[] {
  if (separator === undefined || separator === null) {
    const words: string[] = [];
    let at = 0;
    for (;;) {
      while (at < text.length && isSpace(text.charCodeAt(at))) at++;
      if (at === text.length) return words;
      if (words.length === limit) return [...words, text.slice(at)];
      const start = at;
      while (at < text.length && !isSpace(text.charCodeAt(at))) at++;
      words.push(text.slice(start, at));
    }
  }
  const mark = textOf(separator, "a separator");
  if (mark === "") throw new TemplateError("a separator is empty");
  spendSearch(text, mark);
  spend(text.length * 4);
  const parts = text.split(mark);
  if (limit < 0 || parts.length <= limit + 1) return parts;
  return [...parts.slice(0, limit), parts.slice(limit).join(mark)];
}

export function backwards(text: string): string {
  spendCharacters(text);
  return Array.from(text).toReversed().join("");
}

function splitFromRight(text: string, separator: Value, limit: number): string[] {
  if (limit < 0) return split(text, separator, -1);
  const mark = typeof separator === "string" ? backwards(separator) : separator;
  return split(backwards(text), mark, limit).map(backwards).toReversed();
}

/** Replaces up to `limit` times; an empty text is found between all characters. */
export function replace(text: string, old: string, fresh: string, limit: number): string {
  if (old === "") {
    spendCharacters(text);
    const points = Array.from(text);
    checkSize(text.length + (points.length + 1) * fresh.length);
    const count = limit < 0 ? points.length + 1 : limit;
    const end = count > points.length ? fresh : "";
    return points.map((char, i) => (i < count ? fresh + char : char)).join("") + end;
  }
  spendSearch(text, old);
  spend(text.length * 4);
  const parts = text.split(old);
  if (limit < 0 || parts.length <= limit + 1) return joinParts(parts, fresh);
  return joinParts([...parts.slice(0, limit), ""], fresh) + parts.slice(limit).join(old);
}

export function capitalize(text: string): string {
  spendCharacters(text);
  const [first = "", ...rest] = Array.from(text);
  return first.toUpperCase() + rest.join("").toLowerCase();
}

/** Whether a text begins or ends with one of several. */
function hasEnd(text: string, ends: Value, atStart: boolean): boolean {
  const list = isList(ends) ? ends : [ends];
  return list.some((end) => {
    const part = textOf(end, "what a str starts or ends with");
    return atStart ? text.startsWith(part) : text.endsWith(part);
  });
}

/** Where a text is, in characters, or −1. */
function find(text: string, part: Value, fromRight: boolean): number {
  const wanted = textOf(part, "what is looked for");
  spendSearch(text, wanted);
  const unit = fromRight ? text.lastIndexOf(wanted) : text.indexOf(wanted);
  return unit < 0 ? -1 : iterate(text.slice(0, unit)).length;
}

const all =
  (pattern: RegExp): Method<string> =>
  (text) =>
    pattern.test(text);

const STRING_METHODS: ReadonlyMap<string, Method<string>> = new Map<string, Method<string>>([
  ["upper", (text) => text.toUpperCase()],
  ["lower", (text) => text.toLowerCase()],
  ["capitalize", (text) => capitalize(text)],
  [
    "title",
    (text) => {
      spend(text.length * 32);
      return text.replaceAll(/\p{L}+/gu, (word) => {
        const [first = "", ...rest] = Array.from(word);
        return first.toUpperCase() + rest.join("").toLowerCase();
      });
    },
  ],
  ["strip", (text, [chars]) => strip(text, chars, true, true)],
  ["lstrip", (text, [chars]) => strip(text, chars, true, false)],
  ["rstrip", (text, [chars]) => strip(text, chars, false, true)],
  ["startswith", (text, [part]) => hasEnd(text, part, true)],
  ["endswith", (text, [part]) => hasEnd(text, part, false)],
  [
    "removeprefix",
    (text, [part]) => (hasEnd(text, part, true) ? text.slice(textOf(part, "").length) : text),
  ],
  [
    "removesuffix",
    (text, [part]) =>
      part !== "" && hasEnd(text, part, false)
        ? text.slice(0, text.length - textOf(part, "").length)
        : text,
  ],
  [
    "split",
    (text, [separator, limit], named) =>
      split(text, separator ?? named.get("sep"), limitOf(limit ?? named.get("maxsplit"))),
  ],
  [
    "rsplit",
    (text, [separator, limit], named) =>
      splitFromRight(text, separator ?? named.get("sep"), limitOf(limit ?? named.get("maxsplit"))),
  ],
  ["splitlines", (text) => splitLines(text)],
  [
    "replace",
    (text, [old, fresh, limit], named) =>
      replace(
        text,
        textOf(old, "what is replaced"),
        textOf(fresh, "a replacement"),
        limitOf(limit ?? named.get("count")),
      ),
  ],
  [
    "join",
    (text, [items]) =>
      joinParts(
        iterate(items).map((item) => textOf(item, "what is joined")),
        text,
      ),
  ],
  ["find", (text, [part]) => find(text, part, false)],
  ["rfind", (text, [part]) => find(text, part, true)],
  [
    "index",
    (text, [part]) => {
      const place = find(text, part, false);
      if (place < 0) throw new TemplateError("what is looked for is not there");
      return place;
    },
  ],
  [
    "count",
    (text, [part]) => {
      const wanted = textOf(part, "what is counted");
      if (wanted === "") return iterate(text).length + 1;
      spendSearch(text, wanted);
      spend(text.length * 4);
      return text.split(wanted).length - 1;
    },
  ],
  ["isdigit", all(/^[\p{Nd}²³¹⁰-⁹₀-₉]+$/u)],
  ["isalpha", all(/^\p{L}+$/u)],
  ["isalnum", all(/^[\p{L}\p{N}]+$/u)],
  ["isspace", (text) => text !== "" && trimStart(text) === ""],
  ["isupper", (text) => text === text.toUpperCase() && text !== text.toLowerCase()],
  ["islower", (text) => text === text.toLowerCase() && text !== text.toUpperCase()],
]);

function limitOf(limit: Value): number {
  return limit === undefined || limit === null ? -1 : intOf(limit, "a limit");
}

const LINE_END = new RegExp(String.raw`\r\n|[\n-\r\x1c-\x1e\x85\u2028\u2029]`);

function splitLines(text: string): string[] {
  spend(text.length * 4);
  const lines = text.split(LINE_END);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

const DICT_METHODS: ReadonlyMap<string, Method<ReadonlyMap<Value, Value>>> = new Map<
  string,
  Method<ReadonlyMap<Value, Value>>
>([
  ["items", (dict) => Array.from(dict)],
  ["keys", (dict) => [...dict.keys()]],
  ["values", (dict) => [...dict.values()]],
  [
    "get",
    (dict, [key, fallback]) => {
      spend(costOf(key));
      return dict.has(key) ? dict.get(key) : (fallback ?? null);
    },
  ],
  ["copy", (dict) => new Map(dict)],
]);

const LIST_METHODS: ReadonlyMap<string, Method<readonly Value[]>> = new Map<
  string,
  Method<readonly Value[]>
>([
  [
    "index",
    (list, [item]) => {
      const place = list.findIndex((other) => areEqual(other, item));
      if (place < 0) throw new TemplateError("what is looked for is not there");
      return place;
    },
  ],
  ["count", (list, [item]) => list.filter((other) => areEqual(other, item)).length],
  ["copy", (list) => [...list]],
]);
