// How a row becomes a conversation: by a format of the engine's, or by columns that somebody has named. The last is
// written as messages, which every reader understands.
import { type Conversation, messagesOf as chatOf } from "../data/conversation.ts";
import { detectFormat, mapRow } from "../data/formats.ts";
import { createRowReader } from "../data/map-row.ts";
import type { DataRow } from "../data/read.ts";
import { isJsonObject, type JsonObject } from "../formats/json.ts";
import type { ColumnMapping, ShownMessage } from "./api.ts";

export interface RowForm {
  readonly name: string;
  readonly reason: string;
  store(
    row: DataRow,
    place: string,
  ): { readonly value: JsonObject; readonly conversation: Conversation };
}

/** The form that most of the first rows have. Throws detection's own words where there is none. */
export function findForm(rows: readonly DataRow[], place: string): RowForm {
  const { format, reason } = detectFormat(rows, place);
  return {
    name: format,
    reason,
    store(row) {
      const conversation = mapRow(format, row, place);
      return { value: row.value as JsonObject, conversation };
    },
  };
}

/** The form of rows whose columns somebody has named. */
export function mappedForm({ system, input, output }: ColumnMapping): RowForm {
  return {
    name: "columns",
    reason: `the columns ${input} and ${output} were chosen`,
    store(row, place) {
      const fields = createRowReader(row.value, `${place}, row ${row.row} (line ${row.line})`);
      const said = {
        system: system === undefined ? "" : fields.words(system),
        user: fields.words(input),
      };
      const answer = fields.words(output);
      // Without an answer there is nothing to learn.
      const messages =
        answer.trim() === ""
          ? []
          : [
              ...(said.system === "" ? [] : [{ role: "system", content: said.system }]),
              { role: "user", content: said.user },
              { role: "assistant", content: answer },
            ];
      const value = { messages };
      return { value, conversation: mapRow("openai", { ...row, value }, place) };
    },
  };
}

/** Turns as messages for people: a tool's results are its own, and calls are written out. */
export function messagesOf(conversation: Conversation): ShownMessage[] {
  return chatOf(conversation).map(({ role, content, tool_calls: calls }) => {
    const known = (["system", "user", "assistant"] as const).find((name) => name === role);
    const written = [content, calls === undefined ? "" : JSON.stringify(calls)];
    return { role: known ?? "tool", content: written.filter((text) => text !== "").join("\n") };
  });
}

/** The first texts of a row's columns, for somebody to tell what is what. */
export function fieldsOf(value: unknown, columns: readonly string[]): [string, string][] {
  if (!isJsonObject(value)) return [];
  return columns.flatMap((column): [string, string][] => {
    if (!Object.hasOwn(value, column)) return [];
    const field = value[column];
    return [[column, typeof field === "string" ? field : (JSON.stringify(field) ?? "")]];
  });
}
