// Plain text to rows: one file is one text for pre-training, however long. It comes in pieces, each but the
// last marked as continued, so that none of it has to be held.
import { UserError } from "../base/error.ts";
import { trimEnd, trimStart } from "../formats/white-space.ts";
import { type DataRow, decodeText, type TextChunks } from "./read.ts";

/** A row of a text's own form. */
interface TextRow {
  readonly text: string;
  /** The text goes on in the next row. */
  readonly continues?: true;
}

const PIECE_CHARS = 1 << 16;

/**
 * Reads a text in pieces that end with a line where there is one, without the white space around the whole.
 * Refuses one without a word.
 */
export async function* readTextRows(chunks: TextChunks, place: string): AsyncGenerator<DataRow> {
  let rest = "";
  let row = 0;
  let line = 1;
  let isBlank = true; // so far
  const take = (text: string, continues: boolean): DataRow => {
    const value: TextRow = continues ? { text, continues } : { text };
    const taken = { value, row: ++row, line };
    line += countLines(text);
    return taken;
  };
  for await (const chunk of decodeText(chunks, place)) {
    rest += chunk;
    if (isBlank) {
      const text = trimStart(rest);
      line += countLines(rest.slice(0, rest.length - text.length));
      rest = text;
      isBlank = text === "";
    }
    while (rest.length > 2 * PIECE_CHARS) {
      const newline = rest.lastIndexOf("\n", 2 * PIECE_CHARS);
      const cut = newline > 0 ? newline + 1 : wholeEnd(rest, PIECE_CHARS);
      yield take(rest.slice(0, cut), true);
      rest = rest.slice(cut);
    }
  }
  if (isBlank) throw new UserError(`${place} holds no text.`, "Choose a file with text in it.");
  yield take(trimEnd(rest), false);
}

function countLines(text: string): number {
  let count = 0;
  for (let i = text.indexOf("\n"); i !== -1; i = text.indexOf("\n", i + 1)) count++;
  return count;
}

/** Not between the halves of a character. */
function wholeEnd(text: string, end: number): number {
  return (text.charCodeAt(end) & 0xfc00) === 0xdc00 ? end - 1 : end;
}
