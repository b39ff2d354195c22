// A file's rows with the format they are in, which its first rows tell where the config does not.
import type { UserError } from "../base/error.ts";
import type { Conversation } from "./conversation.ts";
import {
  type DatasetFormatName,
  type DetectedFormat,
  detectFormat,
  type FieldNames,
  mapRow,
  placeOf,
  warnOfRow,
} from "./formats.ts";
import { type DataFile, readDataRows } from "./read-data.ts";
import type { DataRow } from "./read.ts";

/** Rows looked at to find the format. */
const DETECTION_ROWS = 20;

export interface MappedRow {
  readonly row: DataRow;
  /** The file, the row and its line, for errors. */
  readonly place: string;
  readonly detected: DetectedFormat;
  /** What the format's map function makes of the row. Throws where the row is not of the format. */
  readonly map: () => Conversation;
  /** What visibly goes wrong with a row that is mapped all the same, with its place. */
  readonly warning: () => string | undefined;
}

export interface MapRowsOptions {
  /** Found from the first rows where it is not given. */
  readonly format: DatasetFormatName | undefined;
  /** What columns and fields of messages are called, where they are not found by themselves. */
  readonly fields?: FieldNames | undefined;
  /** Map rows as XTuner 0.1.17 does, and nothing beyond it. Default false. */
  readonly asXtuner?: boolean | undefined;
  /** Called for a row that cannot be read, which is then left out. Without it, the first one ends the read. */
  readonly onBrokenRow?: ((fault: UserError) => void) | undefined;
}

export async function* readMappedRows(
  file: DataFile,
  { format, fields, asXtuner = false, onBrokenRow }: MapRowsOptions,
): AsyncGenerator<MappedRow> {
  const { name } = file;
  let detected: DetectedFormat | undefined =
    format === undefined ? undefined : { format, reason: "the configuration says so" };
  const mapped = (row: DataRow, found: DetectedFormat): MappedRow => ({
    row,
    place: placeOf(row, name),
    detected: found,
    map: () => mapRow(found.format, row, name, fields, { asXtuner }),
    warning: () => warnOfRow(found.format, row, name),
  });

  const waiting: DataRow[] = [];
  for await (const row of readDataRows(file, onBrokenRow)) {
    if (detected !== undefined) yield mapped(row, detected);
    else if (waiting.push(row) >= DETECTION_ROWS) {
      detected = detectFormat(waiting, name, fields);
      for (const first of waiting.splice(0)) yield mapped(first, detected);
    }
  }
  if (waiting.length === 0) return;
  const found = detectFormat(waiting, name, fields);
  for (const row of waiting) yield mapped(row, found);
}
