// What a data file is, by its name and its first bytes; files that hold no rows are refused by what they are.
import { UserError } from "../base/error.ts";
import { findDelimiter } from "../data/read-csv.ts";

export type DataKind = "json" | "table";

/** Bytes that `dataKind` looks at. */
export const SNIFFED_BYTES = 8192;

const ROWS = "Use a JSON list, JSONL (one JSON object a line), CSV or TSV.";

/** What no text begins with. */
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
    bytes: "\u001F\u008B",
    what: "a gzip archive",
    remedy: "Unpack it and choose the file inside.",
  },
  { bytes: "PAR1", what: "a Parquet file", remedy: `Export it as JSONL or CSV. ${ROWS}` },
  { bytes: "%PDF", what: "a PDF document", remedy: ROWS },
  { bytes: "SQLite format 3", what: "a SQLite database", remedy: `Export a table as CSV. ${ROWS}` },
  {
    bytes: "\u00FF\u00FE",
    what: "UTF-16 text",
    remedy: "Save the file as UTF-8 and choose it again.",
  },
  {
    bytes: "\u00FE\u00FF",
    what: "UTF-16 text",
    remedy: "Save the file as UTF-8 and choose it again.",
  },
];

const EXCEL = /\.xls[xm]?$/i;

/** Decides by the extension where it says so, else by how the text begins. `head` is the file's beginning. */
export function dataKind(name: string, head: Uint8Array): DataKind {
  refuseOther(name, head);
  const text = new TextDecoder("utf-8").decode(head).trimStart();
  if (/\.(csv|tsv)$/i.test(name)) return "table";
  if (/\.(json|jsonl|ndjson)$/i.test(name) || /^[[{]/.test(text)) return "json";
  // Text without a delimiter is prose; the reader's own words say how an empty file is refused.
  const [first = ""] = text.split(/[\r\n]/, 1);
  if (text === "" || first.includes(findDelimiter(text))) return "table";
  throw new UserError(`${name} is neither JSON nor a table.`, ROWS);
}

function refuseOther(name: string, head: Uint8Array): void {
  const start = String.fromCharCode(...head.subarray(0, 64));
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
