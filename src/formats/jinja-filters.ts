// Jinja's filters (`x | trim`) and tests (`x is defined`), as far as chat templates use them.
import {
  attributeOf,
  backwards,
  capitalize,
  intOf,
  replace,
  strip,
  textOf,
} from "./jinja-methods.ts";
import {
  areEqual,
  asNumber,
  checkSize,
  compare,
  contains,
  costOf,
  FloatValue,
  isDict,
  isList,
  isTrue,
  iterate,
  joinParts,
  spend,
  TemplateError,
  toJson,
  toText,
  typeName,
  type Value,
} from "./jinja-values.ts";

type Filter = (value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>) => Value;
type Test = (value: Value, args: readonly Value[]) => boolean;

export function applyFilter(
  name: string,
  value: Value,
  args: readonly Value[],
  named: ReadonlyMap<string, Value>,
): Value {
  const filter = FILTERS.get(name);
  if (filter === undefined) throw new TemplateError(`the filter "${name}" is not known`);
  return filter(value, args, named);
}

export function applyTest(name: string, value: Value, args: readonly Value[]): boolean {
  const test = TESTS.get(name);
  if (test === undefined) throw new TemplateError(`the test "${name}" is not known`);
  return test(value, args);
}

/** An item of a dict or list, or undefined. */
export function itemOf(value: Value, key: Value): Value {
  if (isDict(value)) {
    spend(costOf(key));
    return value.get(key);
  }
  const index = asNumber(key);
  if (index === undefined || typeof key === "boolean") return undefined;
  if (isList(value)) return value.at(index);
  return typeof value === "string" ? iterate(value).at(index) : undefined;
}

/** "function.name" from within a value. */
function pathOf(value: Value, path: Value): Value {
  let found = value;
  for (const part of toText(path).split(".")) {
    const key = /^\d+$/.test(part) ? Number(part) : part;
    const item = itemOf(found, key);
    found = item === undefined ? attributeOf(found, part) : item;
  }
  return found;
}

function lengthOf(value: Value): number {
  if (isDict(value)) return value.size;
  if (value === undefined) return 0;
  if (isList(value)) return value.length;
  if (typeof value === "string") return iterate(value).length;
  throw new TemplateError(`${typeName(value)} has no length`);
}

/** What a filter of a list costs for each item. */
const ITEM_WORK = 20;

/** `select` and its kin: which items pass a test, or are true where none is named. */
function choose(wanted: boolean, byAttribute: boolean): Filter {
  return (value, args) => {
    const [attribute, ...rest] = byAttribute ? args : [undefined, ...args];
    const [test, ...parameters] = rest;
    return iterate(value).filter((item) => {
      spend(ITEM_WORK);
      const judged = byAttribute ? pathOf(item, attribute) : item;
      const passes =
        test === undefined ? isTrue(judged) : applyTest(toText(test), judged, parameters);
      return passes === wanted;
    });
  };
}

const map: Filter = (value, args, named) => {
  const attribute = named.get("attribute");
  const [name, ...rest] = args;
  return iterate(value).map((item) => {
    spend(ITEM_WORK + costOf(item));
    if (attribute === undefined) return applyFilter(toText(name), item, rest, named);
    return pathOf(item, attribute) ?? named.get("default");
  });
};

const sort: Filter = (value, [reverse, caseSensitive, attribute], named) => {
  const option = (given: Value, name: string) => given ?? named.get(name);
  const path = option(attribute, "attribute");
  const exact = isTrue(option(caseSensitive, "case_sensitive"));
  const keyOf = (item: Value) => {
    const key = path === undefined || path === null ? item : pathOf(item, path);
    return typeof key === "string" && !exact ? key.toLowerCase() : key;
  };
  const sign = isTrue(option(reverse, "reverse")) ? -1 : 1;
  spend(costOf(value) * ITEM_WORK);
  return iterate(value).toSorted((a, b) => sign * compare(keyOf(a), keyOf(b)));
};

const dictSort: Filter = (value, [caseSensitive, by, reverse], named) => {
  if (!isDict(value)) throw new TemplateError(`${typeName(value)} is not a dict`);
  const exact = isTrue(caseSensitive ?? named.get("case_sensitive"));
  const part = (by ?? named.get("by")) === "value" ? 1 : 0;
  const sign = isTrue(reverse ?? named.get("reverse")) ? -1 : 1;
  const keyOf = (pair: readonly Value[]) => {
    const key = pair[part];
    return typeof key === "string" && !exact ? key.toLowerCase() : key;
  };
  return Array.from(value).toSorted((a, b) => sign * compare(keyOf(a), keyOf(b)));
};

const indent: Filter = (value, [width, first, blank], named) => {
  const by = width ?? named.get("width") ?? 4;
  const units = typeof by === "string" ? by.length : intOf(by, "a width");
  const text = toText(value);
  spend(text.length * 4);
  const lines = text.split("\n");
  checkSize(text.length + units * lines.length);
  spend((units * lines.length) / 2);
  const margin = typeof by === "string" ? by : " ".repeat(Math.max(0, units));
  const indentsFirst = isTrue(first ?? named.get("first"));
  const indentsBlank = isTrue(blank ?? named.get("blank"));
  return lines
    .map((line, i) => {
      if (i === 0 ? !indentsFirst : line === "" && !indentsBlank) return line;
      return margin + line;
    })
    .join("\n");
};

const writeJson: Filter = (value, [ascii, margin], named) => {
  const width = margin ?? named.get("indent");
  const separators = named.get("separators");
  return toJson(value, {
    ensureAscii: isTrue(ascii ?? named.get("ensure_ascii")),
    indent: jsonIndent(width),
    separators: isList(separators) ? [toText(separators[0]), toText(separators[1])] : undefined,
    sortKeys: isTrue(named.get("sort_keys")),
  });
};

function jsonIndent(width: Value): string | undefined {
  if (width === undefined || width === null) return undefined;
  if (typeof width === "string") {
    checkSize(width.length * 1024);
    return width;
  }
  checkSize(intOf(width, "an indent") * 1024);
  return " ".repeat(intOf(width, "an indent"));
}

const toInt: Filter = (value, [fallback], named) => {
  const number = asNumber(value);
  if (number !== undefined) return Math.trunc(number);
  const text = typeof value === "string" ? strip(value, null, true, true) : "";
  if (/^[+-]?\d+$/.test(text)) return Number(text);
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)
    ? Math.trunc(Number(text))
    : (fallback ?? named.get("default") ?? 0);
};

const toFloat: Filter = (value, [fallback], named) => {
  const number = asNumber(value) ?? (typeof value === "string" ? Number(value.trim()) : Number.NaN);
  if (Number.isNaN(number) || value === "") {
    return fallback ?? named.get("default") ?? new FloatValue(0);
  }
  return new FloatValue(number);
};

const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["abs", (value) => absolute(value)],
  ["capitalize", (value) => capitalize(toText(value))],
  ["count", lengthOf],
  ["d", (...input) => withDefault(...input)],
  ["default", (...input) => withDefault(...input)],
  ["dictsort", dictSort],
  ["first", (value) => iterate(value)[0]],
  ["float", toFloat],
  ["indent", indent],
  ["int", toInt],
  ["items", (value) => (value === undefined ? [] : Array.from(dictOf(value)))],
  [
    "join",
    (value, [mark, attribute], named) => {
      const path = attribute ?? named.get("attribute");
      const between = toText(mark ?? named.get("d") ?? "");
      const parts = iterate(value).map((item) =>
        toText(path === undefined ? item : pathOf(item, path)),
      );
      return joinParts(parts, between);
    },
  ],
  ["last", (value) => iterate(value).at(-1)],
  ["length", lengthOf],
  ["list", (value) => [...iterate(value)]],
  ["lower", (value) => toText(value).toLowerCase()],
  ["map", map],
  ["max", (value) => extreme(value, 1)],
  ["min", (value) => extreme(value, -1)],
  ["reject", choose(false, false)],
  ["rejectattr", choose(false, true)],
  [
    "replace",
    (value, [old, fresh, limit]) =>
      replace(
        toText(value),
        textOf(old, "what is replaced"),
        textOf(fresh, "a replacement"),
        limit === undefined || limit === null ? -1 : intOf(limit, "a limit"),
      ),
  ],
  [
    "reverse",
    (value) => (typeof value === "string" ? backwards(value) : iterate(value).toReversed()),
  ],
  ["safe", (value) => value],
  ["select", choose(true, false)],
  ["selectattr", choose(true, true)],
  ["sort", sort],
  ["string", toText],
  ["title", (value) => titleWords(toText(value))],
  ["tojson", writeJson],
  [
    "trim",
    (value, [chars], named) => strip(toText(value), chars ?? named.get("chars"), true, true),
  ],
  [
    "unique",
    (value) => {
      const kept: Value[] = [];
      const scalars = new Set<string | number>();
      for (const item of iterate(value)) {
        spend(ITEM_WORK + costOf(item));
        const plain = withoutCase(item);
        const scalar = typeof plain === "string" ? plain : asNumber(plain);
        if (scalar !== undefined) {
          if (!scalars.has(scalar)) kept.push(item);
          scalars.add(scalar);
          continue;
        }
        checkSize(kept.length * 4096); // each is compared with all before it
        if (!kept.some((other) => areEqual(withoutCase(other), plain))) kept.push(item);
      }
      return kept;
    },
  ],
  ["upper", (value) => toText(value).toUpperCase()],
]);

function withoutCase(value: Value): Value {
  return typeof value === "string" ? value.toLowerCase() : value;
}

function withDefault(
  value: Value,
  [fallback, boolean]: readonly Value[],
  named: ReadonlyMap<string, Value>,
): Value {
  const isMissing =
    value === undefined || (isTrue(boolean ?? named.get("boolean")) && !isTrue(value));
  return isMissing ? (fallback ?? named.get("default_value") ?? "") : value;
}

function dictOf(value: Value): ReadonlyMap<Value, Value> {
  if (isDict(value)) return value;
  throw new TemplateError(`${typeName(value)} is not a dict`);
}

function absolute(value: Value): Value {
  const number = asNumber(value);
  if (number === undefined) throw new TemplateError(`${typeName(value)} is not a number`);
  return value instanceof FloatValue ? new FloatValue(Math.abs(number)) : Math.abs(number);
}

function extreme(value: Value, sign: number): Value {
  const items = iterate(value);
  return items.reduce((best, item) => (sign * compare(item, best) > 0 ? item : best), items[0]);
}

/** Words begin after white space, a hyphen or an opening bracket. */
function titleWords(text: string): string {
  spend(text.length * 32);
  return text
    .split(/([-\s({[<]+)/u)
    .map((word) => {
      const [first = "", ...rest] = Array.from(word);
      return first.toUpperCase() + rest.join("").toLowerCase();
    })
    .join("");
}

const order =
  (holds: (sign: number) => boolean): Test =>
  (value, [other]) =>
    holds(compare(value, other));
const isEqual: Test = (value, [other]) => areEqual(value, other);
const isInt = (value: Value): value is number => typeof value === "number";

const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["boolean", (value) => typeof value === "boolean"],
  ["callable", (value) => typeof value === "function"],
  ["defined", (value) => value !== undefined],
  ["undefined", (value) => value === undefined],
  ["none", (value) => value === null],
  ["true", (value) => value === true],
  ["false", (value) => value === false],
  ["string", (value) => typeof value === "string"],
  ["integer", isInt],
  ["float", (value) => value instanceof FloatValue],
  ["number", (value) => asNumber(value) !== undefined],
  ["mapping", isDict],
  // A missing value can be looped over, and has a length, as Jinja's Undefined does.
  ["iterable", (value) => isIterable(value)],
  ["sequence", (value) => isIterable(value)],
  ["odd", (value) => Math.abs(intOf(value, "what is odd")) % 2 === 1],
  ["even", (value) => intOf(value, "what is even") % 2 === 0],
  ["divisibleby", (value, [by]) => intOf(value, "a number") % intOf(by, "a divisor") === 0],
  ["lower", (value) => isCase(toText(value), (text) => text.toLowerCase())],
  ["upper", (value) => isCase(toText(value), (text) => text.toUpperCase())],
  ["in", (value, [container]) => contains(container, value)],
  ["eq", isEqual],
  ["==", isEqual],
  ["equalto", isEqual],
  ["sameas", (value, [other]) => value === other],
  ["ne", (value, [other]) => !areEqual(value, other)],
  ["!=", (value, [other]) => !areEqual(value, other)],
  ["lt", order((sign) => sign < 0)],
  ["lessthan", order((sign) => sign < 0)],
  ["<", order((sign) => sign < 0)],
  ["le", order((sign) => sign <= 0)],
  ["<=", order((sign) => sign <= 0)],
  ["gt", order((sign) => sign > 0)],
  ["greaterthan", order((sign) => sign > 0)],
  [">", order((sign) => sign > 0)],
  ["ge", order((sign) => sign >= 0)],
  [">=", order((sign) => sign >= 0)],
]);

function isIterable(value: Value): boolean {
  return value === undefined || typeof value === "string" || isList(value) || isDict(value);
}

/** Whether a text is all in one case and has letters of it. */
function isCase(text: string, write: (text: string) => string): boolean {
  return write(text) === text && text.toLowerCase() !== text.toUpperCase();
}
