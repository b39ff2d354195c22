// Python's literals, and JSON as Python's `json` reads it: texts, numbers, lists, dicts. Nothing is ever executed;
// a name, an operator or a call is no literal. What cannot be read is undefined, and nesting has a limit.
import { FloatValue } from "../formats/jinja-values.ts";
import { PythonTuple, type PythonValue } from "./python-values.ts";

/** The value of `text`, one literal, or undefined. */
export function readPythonLiteral(text: string): PythonValue | undefined {
  return readWhole(withPlainLines(text), PYTHON);
}

/** The number of `text`, with whole ones as bigint, or undefined. */
export function readPythonNumber(text: string): bigint | number | undefined {
  const value = readPythonLiteral(text);
  if (value instanceof FloatValue) return value.value;
  return typeof value === "bigint" ? value : undefined;
}

/** What stands between a text's quotes, or undefined where an escape is none. */
export function readPythonEscapes(text: string): string | undefined {
  return attempt(() => new Reader(withPlainLines(text), 0, PYTHON).unescaped());
}

/** Python reads every end of line as \n. */
export function withPlainLines(text: string): string {
  return text.replaceAll(/\r\n?/g, "\n");
}

/** Python's `json.loads`, or undefined where it would raise. */
export function readPythonJson(text: string): PythonValue | undefined {
  return readWhole(text, JSON_TEXT);
}

/** A JSON value that begins at `start`, or undefined, and where it ends or cannot be read on. */
export function readPythonJsonAt(
  text: string,
  start: number,
): { value: PythonValue | undefined; end: number } {
  const reader = new Reader(text, start, JSON_TEXT);
  const value = attempt(() => reader.value(0));
  return { value, end: reader.at };
}

class NoLiteral extends Error {}

const DEPTH_LIMIT = 200;

interface Dialect {
  readonly isJson: boolean;
  readonly names: ReadonlyMap<string, PythonValue>;
  /** A piece of what lies between parts. */
  readonly space: RegExp;
}

const PYTHON: Dialect = {
  isJson: false,
  names: new Map<string, PythonValue>([
    ["True", true],
    ["False", false],
    ["None", null],
  ]),
  // One piece at a time: a repeated group keeps a way back for each, and there may be millions.
  space: /[ \t\n\r\f]+|#[^\n]*|\\\n/y,
};

const JSON_TEXT: Dialect = {
  isJson: true,
  names: new Map<string, PythonValue>([
    ["true", true],
    ["false", false],
    ["null", null],
    ["NaN", new FloatValue(Number.NaN)],
    ["Infinity", new FloatValue(Number.POSITIVE_INFINITY)],
    ["-Infinity", new FloatValue(Number.NEGATIVE_INFINITY)],
  ]),
  space: /[ \t\n\r]+/y,
};

function readWhole(text: string, dialect: Dialect): PythonValue | undefined {
  return attempt(() => {
    const reader = new Reader(text, 0, dialect);
    reader.skip();
    const value = reader.value(0);
    reader.skip();
    if (reader.at < text.length) throw new NoLiteral();
    return value;
  });
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    // A RangeError: a number or a name of more characters than a pattern can look back over.
    if (error instanceof NoLiteral || error instanceof RangeError) return undefined;
    throw error;
  }
}

const WORD = /-?[A-Za-z_]\w*/y;
const JSON_NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const PYTHON_NUMBER =
  /[+-]?(?:0[xX](?:_?[\da-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|(\d(?:_?\d)*)?(\.(?:\d(?:_?\d)*)?)?([eE][+-]?\d(?:_?\d)*)?)/y;
/** Bigger ints are refused by Python too. */
const DIGITS_LIMIT = 4300;

class Reader {
  readonly #text: string;
  readonly #dialect: Dialect;
  at: number;

  constructor(text: string, at: number, dialect: Dialect) {
    this.#text = text;
    this.at = at;
    this.#dialect = dialect;
  }

  skip(): void {
    // Nothing that may be skipped stands past "#" but a backslash, and mostly there is nothing to skip.
    for (;;) {
      const unit = this.#text.charCodeAt(this.at);
      if ((unit > HASH && unit !== BACKSLASH) || this.#take(this.#dialect.space) === "") return;
    }
  }

  value(depth: number): PythonValue {
    if (depth > DEPTH_LIMIT) throw new NoLiteral();
    const char = this.#text[this.at];
    if (char === "[") return this.#items("]", depth).items;
    if (char === "{") return this.#dict(depth);
    if (char === "(" && !this.#dialect.isJson) {
      const { items, hasComma } = this.#items(")", depth);
      const [only] = items;
      return only !== undefined && items.length === 1 && !hasComma ? only : new PythonTuple(items);
    }
    if (char === '"' && this.#dialect.isJson) return this.#jsonString();
    const texts = this.#dialect.isJson ? undefined : this.#pythonStrings();
    if (texts !== undefined) return texts;
    const name = this.#take(WORD);
    if (name !== "") {
      const value = this.#dialect.names.get(name);
      if (value === undefined) throw new NoLiteral();
      return value;
    }
    return this.#dialect.isJson ? this.#jsonNumber() : this.#pythonNumber();
  }

  /** All of the text, as if quotes were around it. */
  unescaped(): string {
    let text = "";
    while (this.at < this.#text.length) {
      text += this.#take(PLAIN);
      if (this.at < this.#text.length) text += this.#escape();
    }
    return text;
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const [found = ""] = pattern.exec(this.#text) ?? [];
    this.at += found.length;
    return found;
  }

  #expect(char: string): void {
    if (this.#text[this.at] !== char) throw new NoLiteral();
    this.at++;
  }

  #items(close: string, depth: number): { items: PythonValue[]; hasComma: boolean } {
    const items: PythonValue[] = [];
    let hasComma = false;
    this.at++;
    for (;;) {
      this.skip();
      const isEnd = this.#text[this.at] === close;
      if (isEnd && (items.length === 0 || !this.#dialect.isJson || !hasComma)) {
        this.at++;
        return { items, hasComma };
      }
      if (items.length > 0 && !hasComma) throw new NoLiteral();
      items.push(this.value(depth + 1));
      this.skip();
      hasComma = this.#text[this.at] === ",";
      if (hasComma) this.at++;
    }
  }

  #dict(depth: number): Map<PythonValue, PythonValue> {
    const dict = new Map<PythonValue, PythonValue>();
    let hasComma = true;
    this.at++;
    for (;;) {
      this.skip();
      const isEnd = this.#text[this.at] === "}";
      if (isEnd && (dict.size === 0 || !this.#dialect.isJson || !hasComma)) {
        this.at++;
        return dict;
      }
      if (!hasComma) throw new NoLiteral();
      if (this.#dialect.isJson && this.#text[this.at] !== '"') throw new NoLiteral();
      const key = this.value(depth + 1);
      if (typeof key === "object" && key !== null) throw new NoLiteral();
      this.skip();
      this.#expect(":");
      this.skip();
      dict.set(key, this.value(depth + 1));
      this.skip();
      hasComma = this.#text[this.at] === ",";
      if (hasComma) this.at++;
    }
  }

  #jsonString(): string {
    const start = this.at++;
    let isPlain = true;
    for (;;) {
      const unit = this.#text.charCodeAt(this.at);
      if (Number.isNaN(unit) || unit < 0x20) throw new NoLiteral();
      this.at += unit === BACKSLASH ? 2 : 1;
      if (unit === QUOTE) break;
      if (unit === BACKSLASH) isPlain = false;
    }
    if (isPlain) return this.#text.slice(start + 1, this.at - 1);
    try {
      return JSON.parse(this.#text.slice(start, this.at)) as string;
    } catch {
      throw new NoLiteral();
    }
  }

  #jsonNumber(): PythonValue {
    return this.#number(this.#take(JSON_NUMBER));
  }

  #pythonNumber(): PythonValue {
    const digits = this.#take(PYTHON_NUMBER).replaceAll("_", "");
    // An int does not begin with a zero, unless it is one.
    if (/^[+-]?0\d+$/.test(digits) && !/^[+-]?0+$/.test(digits)) throw new NoLiteral();
    return this.#number(digits);
  }

  #number(digits: string): PythonValue {
    if (!/\d/.test(digits) || digits.length > DIGITS_LIMIT) throw new NoLiteral();
    if (/^[+-]?\d+$/.test(digits)) return BigInt(digits.replace("+", ""));
    if (/^[+-]?0[xob]/i.test(digits)) {
      const value = BigInt(digits.replace(/^[+-]/, ""));
      return digits.startsWith("-") ? -value : value;
    }
    return new FloatValue(Number(digits));
  }

  /** One text, or several beside each other, which are one. */
  #pythonStrings(): string | undefined {
    let joined: string | undefined;
    for (;;) {
      const before = this.at;
      const prefix = this.#take(STRING_START);
      if (prefix === "") {
        this.at = before;
        return joined;
      }
      joined = (joined ?? "") + this.#pythonString(prefix);
      const end = this.at;
      this.skip();
      if (this.#peek(STRING_START) === "") {
        this.at = end;
        return joined;
      }
    }
  }

  #peek(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    return pattern.exec(this.#text)?.[0] ?? "";
  }

  #pythonString(opening: string): string {
    const isRaw = /^[rR]/.test(opening);
    const quote = opening.replace(/^[rRuU]/, "");
    const isLong = quote.length === 3;
    let text = "";
    for (;;) {
      const plain = this.#take(quote.startsWith("'") ? PLAIN_SINGLE : PLAIN_DOUBLE);
      text += plain;
      if (this.#text.startsWith(quote, this.at)) {
        this.at += quote.length;
        return text;
      }
      const char = this.#text[this.at];
      if (char === undefined || (char === "\n" && !isLong)) throw new NoLiteral();
      if (char !== "\\") {
        text += char;
        this.at++;
      } else if (isRaw) {
        text += this.#text.slice(this.at, this.at + 2);
        this.at += 2;
      } else text += this.#escape();
    }
  }

  #escape(): string {
    const escape = this.#take(ESCAPE);
    const letter = escape[1];
    if (letter === undefined) throw new NoLiteral();
    if (letter === "\n") return "";
    const named = NAMED_ESCAPES.get(letter);
    if (named !== undefined && escape.length === 2) return named;
    if (/[0-7]/.test(letter)) return String.fromCodePoint(Number.parseInt(escape.slice(1), 8));
    if (/[xuU]/.test(letter)) {
      if (escape.length === 2) throw new NoLiteral();
      const point = Number.parseInt(escape.slice(2), 16);
      if (point > 0x10ffff) throw new NoLiteral();
      return String.fromCodePoint(point);
    }
    if (letter === "N") throw new NoLiteral(); // a character by its name
    return escape;
  }
}

const QUOTE = 0x22;
const HASH = 0x23;
const BACKSLASH = 0x5c;
const STRING_START = /[rRuU]?(?:'''|"""|'|")/y;
const PLAIN = /[^\\]*/y;
const PLAIN_SINGLE = /[^'\\\n]*/y;
const PLAIN_DOUBLE = /[^"\\\n]*/y;
const ESCAPE = /\\(?:[0-7]{1,3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[^])/y;
const NAMED_ESCAPES = new Map([
  ["\\", "\\"],
  ["'", "'"],
  ['"', '"'],
  ["a", "\u0007"],
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
  ["v", "\v"],
]);
