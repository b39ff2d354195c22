// Literals of Python as they stand in the file: numbers in every base, strings with prefixes and escapes.
import { RefusedError } from "./python-value.ts";

/** The most digits of a whole number; Python's own limit is 4300. */
const MOST_DIGITS = 60;

/** "0x1F", "1_000", "2e-4" → its value. */
export function readNumber(text: string): bigint | number {
  const plain = text.replaceAll("_", "").toLowerCase();
  if (!/^(\d(_?[\da-f])*|0_?[xob][\da-f_]+|[\d_]*\.?[\d_]*(e[+-]?[\d_]+)?)$/i.test(text)) {
    throw new RefusedError(
      /j$/i.test(text) ? `the complex number ${text}` : `the number ${cut(text)}`,
    );
  }
  if (/^0[xob]/.test(plain) || /^\d+$/.test(plain)) {
    if (plain.length > MOST_DIGITS) throw new RefusedError(`a number of ${plain.length} digits`);
    if (/^0\d*[1-9]/.test(plain)) throw new RefusedError(`the number ${text}, which begins with 0`);
    try {
      return BigInt(plain);
    } catch {
      throw new RefusedError(`the number ${cut(text)}`);
    }
  }
  const value = Number(plain);
  if (Number.isNaN(value)) throw new RefusedError(`the number ${cut(text)}`);
  return value;
}

const STRING = /^([a-z]{0,2})('''|"""|'|")([\s\S]*)\2$/i;

/** A string literal with its quotes → what it stands for. */
export function readString(literal: string): string {
  const [, prefix = "", , body = ""] = STRING.exec(literal) ?? [];
  if (!STRING.test(literal)) throw new RefusedError(`the text ${cut(literal)}`);
  switch (prefix.toLowerCase()) {
    case "":
    case "u":
      return unescape(withPlainLines(body));
    case "r":
      return withPlainLines(body);
    default:
      throw new RefusedError(`a text with the prefix ${prefix}`);
  }
}

/** The plain text inside an f-string, between its replacements. */
export function readFormatText(text: string, isRaw: boolean): string {
  const plain = text.replaceAll("{{", "{").replaceAll("}}", "}");
  return isRaw ? withPlainLines(plain) : unescape(withPlainLines(plain));
}

/** Python reads every end of line in a text as \n. */
function withPlainLines(text: string): string {
  return text.replaceAll(/\r\n?/g, "\n");
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

const ESCAPE =
  /\\(?:([\n\\'"abfnrtv])|([0-7]{1,3})|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([xuUN])|)/g;

function unescape(body: string): string {
  return body.replaceAll(
    ESCAPE,
    (whole, simple?: string, octal?: string, x?: string, u?: string, U?: string, bad?: string) => {
      if (simple !== undefined) return ESCAPES[simple] ?? whole;
      if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8));
      const hex = x ?? u ?? U;
      if (hex !== undefined) {
        const code = Number.parseInt(hex, 16);
        if (code > 0x10_ff_ff) throw new RefusedError(`the escape ${whole}`);
        return String.fromCodePoint(code);
      }
      if (bad !== undefined) throw new RefusedError(`the escape ${whole} in a text`);
      return whole; // Python keeps what is no escape, with a warning
    },
  );
}

function cut(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
