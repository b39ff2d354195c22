// Literals of Python as they stand in a config: read as those in data are, with refusals in words.
import { readPythonEscapes, readPythonLiteral, readPythonNumber } from "../data/python-literal.ts";
import { RefusedError } from "./python-value.ts";

/** The most digits of a whole number; Python's own limit is 4300. */
const MOST_DIGITS = 60;

/** "0x1F", "1_000", "2e-4" → its value. */
export function readNumber(text: string): bigint | number {
  const value = readPythonNumber(text);
  if (typeof value === "bigint" && text.length <= MOST_DIGITS) return value;
  if (typeof value === "number") return value;
  if (/^\d+$/.test(text) || typeof value === "bigint") {
    throw new RefusedError(
      text.length > MOST_DIGITS
        ? `a number of ${text.length} digits`
        : `the number ${text}, which begins with 0`,
    );
  }
  throw new RefusedError(
    /j$/i.test(text) ? `the complex number ${cut(text)}` : `the number ${cut(text)}`,
  );
}

/** A string literal with its quotes → what it stands for. */
export function readString(literal: string): string {
  const [, prefix = ""] = /^([a-z]*)['"]/i.exec(literal) ?? [];
  if (!/^[ru]?$/i.test(prefix)) throw new RefusedError(`a text with the prefix ${prefix}`);
  const value = readPythonLiteral(literal);
  if (typeof value !== "string") throw new RefusedError(`the text ${cut(literal)}`);
  return value;
}

/** The plain text inside an f-string, between its replacements. */
export function readFormatText(text: string, isRaw: boolean): string {
  const plain = text.replaceAll("{{", "{").replaceAll("}}", "}");
  const value = isRaw ? plain : readPythonEscapes(plain);
  if (value === undefined) throw new RefusedError(`the text ${cut(text)}`);
  return value;
}

function cut(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
