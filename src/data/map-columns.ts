// Rows of columns, one question and one answer each: XTuner's map functions of that kind, and TRL's prompt and
// completion. Several put a system text of their own before the question.
import type { Turn } from "./conversation.ts";
import type { MapOptions, RowReader } from "./map-row.ts";
import { pairUp, withTools } from "./map-messages.ts";
import { SYSTEM_TEMPLATES } from "./template-table.ts";
import { trimEnd, trimStart } from "../formats/white-space.ts";

export type MapRow = (row: RowReader, options: MapOptions) => Turn[];

/** Two columns as they are. */
export function pair(input: string, output: string, system?: string): MapRow {
  return (row) => [
    {
      ...(system === undefined ? {} : { system }),
      input: row.words(present(row, input)),
      output: row.words(present(row, output)),
    },
  ];
}

/** Two columns with a line end between, and a third as the answer. */
export function joinedPair(first: string, second: string, output: string, system?: string): MapRow {
  return (row, options) => [
    {
      ...(system === undefined ? {} : { system }),
      input: joinLines(row, first, second, options),
      output: row.words(present(row, output)),
    },
  ];
}

/** A column that must be there; null is refused, since nobody meant it. */
function present(row: RowReader, column: string): string {
  if (!row.has(column) || row.value[column] === null) row.text(column);
  return column;
}

/** The line end stays even where the second is empty, as in XTuner. */
function joinLines(
  row: RowReader,
  first: string,
  second: string,
  { asXtuner }: MapOptions,
): string {
  if (asXtuner === true) return `${row.formatted(first)}\n${row.formatted(second)}`;
  return `${row.words(present(row, first))}\n${row.words(second)}`;
}

/** Alpaca; LLaMA-Factory's `system` and `history` too, which XTuner does not read. */
export function mapAlpaca(row: RowReader, options: MapOptions): Turn[] {
  const output = row.words(present(row, "output"));
  if (output === "<nooutput>") return [];
  const turn = { input: joinLines(row, "instruction", "input", options), output };
  if (options.asXtuner === true) return [turn];
  const system = row.optionalText("system");
  const turns = [...historyOf(row), turn];
  return system === "" ? turns : turns.map((said, i) => (i === 0 ? { system, ...said } : said));
}

/** Earlier exchanges: a list of pairs. */
function historyOf(row: RowReader): Turn[] {
  const history = row.value["history"];
  if (history === undefined || history === null) return [];
  const pairs = Array.isArray(history) ? (history as unknown[]) : [undefined];
  return pairs.map((said, i) => {
    const [input, output] = Array.isArray(said) && said.length === 2 ? (said as unknown[]) : [];
    if (typeof input === "string" && typeof output === "string") return { input, output };
    throw row.refuse(
      `history[${i}] is no pair of a question and an answer`,
      'Write "history" as [[question, answer], …].',
    );
  });
}

/** A color's name comes after what it describes: "Red: a deep red". */
export function mapColors(row: RowReader): Turn[] {
  const description = row.text("description").split(":").slice(1).join(":");
  return [
    {
      system: SYSTEM_TEMPLATES.colorist,
      input: trimEnd(trimStart(description)),
      output: row.text("color"),
    },
  ];
}

export function mapOpenOrca(row: RowReader): Turn[] {
  return [
    {
      system: row.optionalText("system_prompt"),
      input: row.words(present(row, "question")),
      output: row.words(present(row, "response")),
    },
  ];
}

/** TRL's prompt and completion: texts, or lists of messages, of which the completion's answers are learned. */
export function mapPromptCompletion(row: RowReader, options: MapOptions): Turn[] {
  const { prompt, completion } = row.value;
  if (!Array.isArray(prompt) && !Array.isArray(completion)) {
    return pair("prompt", "completion")(row, options);
  }
  const before = messagesIn(row, "prompt", "user");
  const after = messagesIn(row, "completion", "assistant");
  const turns = pairUp([...before, ...after], options, (index) => index >= before.length);
  return withTools(turns, row, options);
}

/** A column's messages; a text is one message of `role`. */
export function messagesIn(row: RowReader, column: string, role: string): RowReader[] {
  if (Array.isArray(row.value[column])) return row.list(column);
  return [row.part({ role, content: row.words(present(row, column)) }, column)];
}
