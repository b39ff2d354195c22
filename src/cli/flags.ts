// Values of flags: numbers in a range, sizes in bytes.
import { InvalidArgumentError } from "commander";

/** A parser for commander: a whole number from `min` to `max`. */
export function wholeFlag(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = readNumber(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(
      max === Number.MAX_SAFE_INTEGER
        ? `It takes a whole number, ${min} or more.`
        : min === max
          ? `It takes ${min} only.`
          : `It takes a whole number from ${min} to ${max}.`,
    );
  };
}

/** A parser for commander: any number from `min` to `max`. */
export function numberFlag(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = readNumber(text);
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It takes a number from ${min} to ${max}.`);
  };
}

// As Hugging Face reads sizes: GB is 10⁹ bytes, GiB is 2³⁰.
const UNIT_BYTES: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/** A parser for commander: "2GB", "500MiB", "1000000". */
export function bytesFlag(text: string): number {
  const [, digits = "", unit = ""] = /^([\d.]+)\s*([A-Za-z]*)$/.exec(text.trim()) ?? [];
  const bytes = Math.floor(readNumber(digits) * (UNIT_BYTES[unit.toUpperCase()] ?? Number.NaN));
  if (bytes >= 1) return bytes;
  throw new InvalidArgumentError("It takes a size, as in 2GB or 500MiB.");
}

/** Not a number for the empty text, which Number() reads as 0. */
function readNumber(text: string): number {
  return text.trim() === "" ? Number.NaN : Number(text);
}
