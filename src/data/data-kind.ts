// What a data file is, by its name and its first bytes; files that hold no rows are refused by what they are.
import { UserError } from "../base/error.ts";
import { looksLikeTable } from "./read-csv.ts";

/** Rows of JSON, of a table or of Parquet; plain text; or one of them but Parquet, packed by gzip. */
export type DataKind = "json" | "table" | "parquet" | "text" | "gzip";

/** Bytes that `dataKind` looks at. */
export const SNIFFED_BYTES = 8192;

const ROWS = "Use a JSON list, JSONL (one JSON object a line), CSV, TSV, Parquet or plain text.";
const AS_UTF8 = "Save the file as UTF-8 and choose it again.";

/** What no text begins with, and holds no rows. */
const SIGNATURES: readonly {
  readonly bytes: string;
  readonly what: string;
  readonly remedy: string;
}[] = [
  {
    bytes: "PK\u0003\u0004",
    what: "a ZIP archive",
    remedy: "Unpack it and choose the file inside.",
  },
  {
    bytes: "\u0028\u00B5\u002F\u00FD",
    what: "packed by Zstandard",
    remedy: "Unpack it and choose the file inside.",
  },
  { bytes: "BZh", what: "packed by bzip2", remedy: "Unpack it and choose the file inside." },
  { bytes: "\u00FD7zXZ", what: "packed by xz", remedy: "Unpack it and choose the file inside." },
  { bytes: "ARROW1", what: "an Arrow file", remedy: `Export it as Parquet or JSONL. ${ROWS}` },
  { bytes: "%PDF", what: "a PDF document", remedy: ROWS },
  { bytes: "SQLite format 3", what: "a SQLite database", remedy: `Export a table as CSV. ${ROWS}` },
  { bytes: "\u00FF\u00FE", what: "UTF-16 text", remedy: AS_UTF8 },
  { bytes: "\u00FE\u00FF", what: "UTF-16 text", remedy: AS_UTF8 },
];

const EXCEL = /\.xls[xm]?$/i;

/** An object, or a list and not a sentence in brackets. */
const JSON_START = /^(\{|\[\s*([[{"\]]|-?\d|true|false|null|$))/;

/**
 * Decides by the file's first bytes where they say so, then by its extension, then by how the text begins.
 * `head` is the file's beginning.
 */
export function dataKind(name: string, head: Uint8Array): DataKind {
  const start = String.fromCharCode(...head.subarray(0, 64));
  if (start.startsWith("PAR1")) return "parquet";
  if (start.startsWith("\u001F\u008B")) return "gzip";
  refuseOther(name, head, start);
  if (/\.parquet$/i.test(name) && head.length > 0) {
    throw new UserError(
      `${name} is no Parquet file: it does not begin with PAR1.`,
      "Download or copy the file again.",
    );
  }
  if (/\.(csv|tsv)$/i.test(name)) return "table";
  if (/\.(json|jsonl|ndjson)$/i.test(name)) return "json";
  if (/\.(md|markdown|rst|tex)$/i.test(name)) return "text";
  // Half a character at the end of what was looked at is no fault.
  const text = new TextDecoder("utf-8").decode(head).trimStart();
  if (JSON_START.test(text)) return "json";
  return looksLikeTable(text) ? "table" : "text";
}

/** The name of what a packed file holds: "rows.jsonl" of "rows.jsonl.gz". */
export function unpackedName(name: string): string {
  return name.replace(/\.gz(ip)?$/i, "");
}

function refuseOther(name: string, head: Uint8Array, start: string): void {
  const found = SIGNATURES.find(({ bytes }) => start.startsWith(bytes));
  if (found) {
    const isSheet = EXCEL.test(name);
    throw new UserError(
      `${name} is ${isSheet ? "an Excel workbook" : found.what}.`,
      isSheet ? "Save the sheet as CSV (UTF-8) and choose that." : found.remedy,
    );
  }
  const zeros = head.reduce((count, byte) => count + (byte === 0 ? 1 : 0), 0);
  if (zeros > head.length / 8) {
    throw new UserError(
      `${name} is not UTF-8 text: ${zeros} of its first ${head.length} bytes are zero, as in UTF-16 or a binary file.`,
      "Save the file as UTF-8 text and choose it again.",
    );
  }
  if (
    /^\s*<(!doctype|html|\?xml|head|body|script)\b/i.test(start.replace(/^\u00EF\u00BB\u00BF/, ""))
  ) {
    throw new UserError(
      `${name} is a web page or XML, not data.`,
      `Download the file itself: on the hub, by its download link. ${ROWS}`,
    );
  }
}
