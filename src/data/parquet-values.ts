// A value of a Parquet column as JSON would hold it: texts, numbers, truth values, null, lists and objects.
import { UserError } from "../base/error.ts";

/** `where` names the value, for errors. Days and times become ISO texts, absent values null. */
export function plainValue(value: unknown, where: () => string): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : null;
    case "bigint":
      return wholeNumber(value, where);
    case "object":
      return value === null ? null : plainObject(value, where);
    default:
      return null;
  }
}

function plainObject(value: object, where: () => string): unknown {
  if (Array.isArray(value)) return value.map((item) => plainValue(item, where));
  if (value instanceof Date) return dateText(value, where);
  if (value instanceof Uint8Array) {
    throw new UserError(
      `${where()} holds ${value.length} bytes that are no text.`,
      "Leave that column out when you export the data.",
    );
  }
  // Lists of numbers.
  if (ArrayBuffer.isView(value)) {
    return Array.from(value as unknown as ArrayLike<unknown>, (item) => plainValue(item, where));
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, plainValue(item, where)]),
  );
}

function wholeNumber(value: bigint, where: () => string): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new UserError(
    `${where()} is ${value}, which a number cannot hold to the last digit.`,
    "Export that column as text.",
  );
}

function dateText(date: Date, where: () => string): string {
  if (!Number.isNaN(date.getTime())) return date.toISOString();
  throw new UserError(`${where()} is a time out of all range.`, "Correct that row.");
}
