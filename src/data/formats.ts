// Dataset formats by name and by sight: a row of a file to a conversation.
import { UserError } from "../base/error.ts";
import { isJsonObject, type JsonObject } from "../formats/json.ts";
import type { Conversation } from "./conversation.ts";
import {
  DETECTION_ORDER,
  FORMATS,
  XTUNER_FORMATS,
  type DatasetFormatName,
} from "./format-table.ts";
import { warnOasst1 } from "./map-conversations.ts";
import { messagesColumn } from "./map-messages.ts";
import { createRowReader, type FieldNames, type MapOptions, type RowReader } from "./map-row.ts";
import type { DataRow } from "./read.ts";

export type { DatasetFormatName } from "./format-table.ts";
export type { FieldNames } from "./map-row.ts";

/** XTuner's names in its order, then Hone's own. */
export const DATASET_FORMATS = Object.keys(FORMATS) as readonly DatasetFormatName[];

/** The keys of XTuner's DATASET_FORMAT_MAPPING, in its order. */
export const XTUNER_DATASET_FORMATS = DATASET_FORMATS.slice(0, XTUNER_FORMATS);

/** Other names of formats: upstream's misspelling spelled out, TRL's and axolotl's words. */
const ALIASES: Readonly<Record<string, DatasetFormatName>> = {
  crime_kg_assistant: "crime_kg_assitan",
  crime_kg_assitant: "crime_kg_assitan",
  messages: "openai",
  chat_template: "openai",
  completion: "text",
  "prompt/completion": "prompt_completion",
  dpo: "preference",
};

/** The format of a name from a person; undefined for "auto", which looks at the rows. */
export function formatNamed(name: string): DatasetFormatName | undefined {
  // A function's name, with its module or without: openai_map_fn.
  const [plain = ""] = name.trim().split(".").slice(-1);
  const wanted = plain.replace(/_map_fn$/, "");
  if (wanted === "auto") return undefined;
  const found = DATASET_FORMATS.find((format) => format === wanted);
  if (found) return found;
  if (Object.hasOwn(ALIASES, wanted)) return ALIASES[wanted];
  throw new UserError(
    `There is no dataset format "${name}".`,
    `Use auto or one of: ${DATASET_FORMATS.join(", ")}.`,
  );
}

/** The formats of `count` data entries: one name for all, or one for each, separated by commas. */
export function formatsNamed(
  names: string,
  count: number,
): readonly (DatasetFormatName | undefined)[] {
  const formats = names.split(",").map(formatNamed);
  if (formats.length === 1) return Array.from({ length: count }, () => formats[0]);
  if (formats.length === count) return formats;
  throw new UserError(
    `dataset_format names ${formats.length} formats, and there are ${count} data entries.`,
    "Name one format for all, or one for each.",
  );
}

/** Whether a format is nothing but text: no template is written around it, and a long text goes on in the next row. */
export function isPlainText(format: DatasetFormatName): boolean {
  return FORMATS[format].isPlainText === true;
}

/** What a row of a format has, for people, and a row of it. */
export function describeFormat(format: DatasetFormatName): { looks: string; example: JsonObject } {
  const { looks, example } = FORMATS[format];
  return { looks, example };
}

export interface DetectedFormat {
  format: DatasetFormatName;
  /** Why, as the end of a sentence: "row 1 has …". */
  reason: string;
}

/**
 * Chooses the format of `rows`, the first of a file: the one that most of them look like. A row that does not is
 * named in the reason, and its fault is said when it is mapped. Throws where there is none, where rows of several
 * formats are mixed, and where the format is one that cannot be trained on.
 */
export function detectFormat(
  rows: readonly DataRow[],
  place: string,
  fields: FieldNames = {},
): DetectedFormat {
  if (fields.messages !== undefined) return namedColumn(rows, place, fields.messages);
  const votes = rows.map(({ value }) => formatOfRow(value));
  const counts = new Map<DatasetFormatName, number>();
  for (const vote of votes) if (vote) counts.set(vote, (counts.get(vote) ?? 0) + 1);
  const ranked = DETECTION_ORDER.filter((format) => counts.has(format)).toSorted(
    (a, b) => (counts.get(b) ?? 0) - (counts.get(a) ?? 0),
  );
  const [likely] = ranked;
  if (likely === undefined) throw unknownRows(rows, place);
  const isSound = (format: DatasetFormatName) =>
    rows.every((row) => faultOf(format, row, place, fields) === undefined);
  // A more telling format that reads every row is better: its other columns may be empty in most. One that
  // finds nothing in rows of which the likely one makes turns is not.
  const losesNothing = (format: DatasetFormatName) =>
    rows.every(
      (row) => isFilled(format, row, place, fields) || !isFilled(likely, row, place, fields),
    );
  const telling = DETECTION_ORDER.find(
    (format) =>
      counts.has(format) && (format === likely || (isSound(format) && losesNothing(format))),
  );
  const format = telling ?? likely;
  const count = counts.get(format) ?? 0;
  if (ranked.length > 1 && format === likely && count * 2 <= rows.length && !isSound(format)) {
    throw mixedRows(rows, votes, place);
  }
  const first = votes.indexOf(format);
  const row = rows[first];
  if (FORMATS[format].isRefused === true && row) mapRow(format, row, place, fields);
  return { format, reason: reasonFor(format, rows, votes, place, fields) };
}

/** The most telling format that a row looks like. */
function formatOfRow(value: unknown): DatasetFormatName | undefined {
  if (!isJsonObject(value)) return undefined;
  return DETECTION_ORDER.find((format) => {
    try {
      return FORMATS[format].matches?.(value) === true;
    } catch (error) {
      // Nested too deep to be looked at. Mapping refuses it, with its place.
      if (error instanceof RangeError) return false;
      throw error;
    }
  });
}

function namedColumn(rows: readonly DataRow[], place: string, column: string): DetectedFormat {
  const found = rows.some(
    ({ value }) => isJsonObject(value) && messagesColumn(value, { messages: column }) !== undefined,
  );
  if (found) {
    return { format: "openai", reason: `field_messages says that "${column}" holds the messages` };
  }
  throw new UserError(
    `${place} has ${keysOf(rows)}, and no list in the column "${column}" that field_messages names.`,
    "Name the column that holds the messages.",
  );
}

function reasonFor(
  format: DatasetFormatName,
  rows: readonly DataRow[],
  votes: readonly (DatasetFormatName | undefined)[],
  place: string,
  fields: FieldNames,
): string {
  const { looks, describe } = FORMATS[format];
  const what = describe?.(rows[votes.indexOf(format)]?.value) ?? looks;
  const which = rangeOf(rows);
  const faulty = rows.find((row) => faultOf(format, row, place, fields) !== undefined);
  if (faulty === undefined) return `${which} ${rows.length === 1 ? "has" : "have"} ${what}`;
  const fault = faultOf(format, faulty, place, fields);
  const good = rows.filter((row) => faultOf(format, row, place, fields) === undefined).length;
  const count = good === 0 ? which : `${good} of ${which}`;
  return `${count} ${good === 1 ? "has" : "have"} ${what}; row ${faulty.row} cannot be read: ${fault}`;
}

/** Rows in words. Broken ones, which are not among them, leave gaps. */
function rangeOf(rows: readonly DataRow[]): string {
  const first = rows[0]?.row ?? 1;
  const last = rows.at(-1)?.row ?? first;
  if (rows.length === 1) return `row ${first}`;
  const isWhole = last - first + 1 === rows.length;
  return isWhole ? `rows ${first} to ${last}` : `${rows.length} rows up to row ${last}`;
}

/** Whether a format finds something to learn in a row. */
function isFilled(
  format: DatasetFormatName,
  row: DataRow,
  place: string,
  fields: FieldNames,
): boolean {
  try {
    return mapRow(format, row, place, fields).length > 0;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return false;
  }
}

/** What keeps a row from being of a format, without its place. */
function faultOf(
  format: DatasetFormatName,
  row: DataRow,
  place: string,
  fields: FieldNames,
): string | undefined {
  try {
    mapRow(format, row, place, fields);
    return undefined;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const [problem = ""] = error.message.split("\n");
    return problem
      .replace(placeOf(row, place), "")
      .replace(/^[:,] /, "")
      .replace(/\.$/, "");
  }
}

function unknownRows(rows: readonly DataRow[], place: string): UserError {
  const known = DETECTION_ORDER.filter((name) => FORMATS[name].isRefused !== true).map(
    (name) => `${name} (${FORMATS[name].looks})`,
  );
  return new UserError(
    `${place} has ${keysOf(rows)}, which is no format known here.`,
    `Bring each row into one of these forms, or name the format: ${known.join("; ")}.`,
  );
}

function mixedRows(
  rows: readonly DataRow[],
  votes: readonly (DatasetFormatName | undefined)[],
  place: string,
): UserError {
  const names = [...new Set(votes)].filter((name) => name !== undefined);
  const found = names.map((name) => {
    const at = rows.filter((_, i) => votes[i] === name).map(({ row }) => row);
    const which =
      at.length === 1 ? `row ${at[0]} has` : `${at.length} rows, the first row ${at[0]}, have`;
    return `${which} ${FORMATS[name].looks} (${name})`;
  });
  return new UserError(
    `${place} mixes rows of several formats: ${found.join("; ")}.`,
    "Put rows of each format into a file of their own, or name the format.",
  );
}

const KEYS_SHOWN = 40;

function keysOf(rows: readonly DataRow[]): string {
  const keys = new Set(
    rows.flatMap(({ value }) => (isJsonObject(value) ? Object.keys(value) : [])),
  );
  const shown = [...keys].slice(0, KEYS_SHOWN).join(", ");
  const more = keys.size > KEYS_SHOWN ? ` and ${keys.size - KEYS_SHOWN} more` : "";
  return keys.size > 0 ? `rows with the keys ${shown}${more}` : "no JSON objects";
}

/** A row in standard form. Empty where the format says that the row holds nothing to learn. */
export function mapRow(
  format: DatasetFormatName,
  row: DataRow,
  place: string,
  fields?: FieldNames,
  options: Pick<MapOptions, "asXtuner"> = {},
): Conversation {
  const named = fields === undefined ? options : { ...options, fields };
  try {
    return FORMATS[format].map(readerOf(row, place), named);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UserError(`${placeOf(row, place)}: it is nested too deep.`, "Correct that row.", {
      cause: error,
    });
  }
}

/** What visibly goes wrong with a row that is mapped all the same, with the row's place; or undefined. */
export function warnOfRow(
  format: DatasetFormatName,
  row: DataRow,
  place: string,
): string | undefined {
  if (format !== "oasst1") return undefined;
  const warning = warnOasst1(readerOf(row, place));
  return warning === undefined ? undefined : `${placeOf(row, place)}: ${warning}.`;
}

function readerOf(row: DataRow, place: string): RowReader {
  return createRowReader(row.value, placeOf(row, place));
}

/** Where a row is, for errors. */
export function placeOf({ row, line }: DataRow, place: string): string {
  return `${place}, row ${row} (line ${line})`;
}
