// How a row becomes a conversation: by a format that the engine knows, by one that only the page knows, or by
// a mapping of columns. The last two are written as messages, which every reader understands.
import { UserError } from "../base/error.ts";
import type { Conversation } from "../data/conversation.ts";
import { detectFormat, type DetectedFormat, mapRow } from "../data/formats.ts";
import type { DataRow } from "../data/read.ts";
import { isJsonObject, type JsonObject } from "../formats/json.ts";
import type { ColumnMapping, Message } from "./api.ts";

export interface RowForm {
  readonly name: string;
  readonly reason: string;
  /** What is stored of a row: the row itself, or its messages. Throws a UserError where it is not of the form. */
  store(
    row: DataRow,
    place: string,
  ): { readonly value: JsonObject; readonly conversation: Conversation };
}

/** The form that the first rows have in common. Throws detection's own words where there is none. */
export function findForm(rows: readonly DataRow[], place: string): RowForm {
  let detected: DetectedFormat;
  try {
    detected = detectFormat(rows, place);
  } catch (error) {
    const form = PAGE_FORMS.find((own) =>
      rows.every(({ value }) => isJsonObject(value) && own.matches(value)),
    );
    if (!form || rows.length === 0) throw error;
    const which = rows.length === 1 ? "row 1 has" : `rows 1 to ${rows.length} have`;
    return asMessages(form.name, `${which} ${form.looks}`, (row, refuse) => form.map(row, refuse));
  }
  const { format, reason } = detected;
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
  return asMessages("columns", `the columns ${input} and ${output} were chosen`, (row, refuse) => {
    const answer = columnText(row, output, refuse);
    // Without an answer there is nothing to learn.
    if (answer.trim() === "") return [];
    return [
      ["system", system === undefined ? "" : columnText(row, system, refuse)],
      ["user", columnText(row, input, refuse)],
      ["assistant", answer],
    ];
  });
}

type Refuse = (fact: string, remedy: string) => UserError;
type Said = readonly [role: Message["role"], content: string];

function asMessages(
  name: string,
  reason: string,
  map: (row: JsonObject, refuse: Refuse) => readonly Said[],
): RowForm {
  return {
    name,
    reason,
    store(row, place) {
      const refuse: Refuse = (fact, remedy) =>
        new UserError(`${place}, row ${row.row} (line ${row.line}): ${fact}.`, remedy);
      if (!isJsonObject(row.value))
        throw refuse("it is not a JSON object", "Make each row an object.");
      const messages = map(row.value, refuse)
        .filter(([role, content]) => role !== "system" || content !== "")
        .map(([role, content]) => ({ role, content }));
      const value = { messages };
      return { value, conversation: mapRow("openai", { ...row, value }, place) };
    },
  };
}

interface PageForm {
  readonly name: string;
  readonly looks: string;
  matches(row: JsonObject): boolean;
  map(row: JsonObject, refuse: Refuse): readonly Said[];
}

const SHAREGPT_ROLES: ReadonlyMap<unknown, Message["role"]> = new Map([
  ["system", "system"],
  ["human", "user"],
  ["user", "user"],
  ["gpt", "assistant"],
  ["chatgpt", "assistant"],
  ["bing", "assistant"],
  ["bard", "assistant"],
  ["model", "assistant"],
  ["assistant", "assistant"],
]);

/** Forms that are common on the hub, beside the engine's own. */
const PAGE_FORMS: readonly PageForm[] = [
  {
    name: "sharegpt",
    looks: 'a "conversations" list of "from" and "value"',
    matches: ({ conversations }) => Array.isArray(conversations),
    map({ conversations }, refuse) {
      if (!Array.isArray(conversations)) throw refuse('"conversations" is not a list', FIX);
      return conversations.map((said: unknown, i): Said => {
        if (!isJsonObject(said)) throw refuse(`conversations[${i}] is not an object`, FIX);
        const role = SHAREGPT_ROLES.get(said["from"]);
        if (role === undefined) {
          throw refuse(
            `conversations[${i}] is from ${JSON.stringify(said["from"]) ?? "nobody"}, who is unknown`,
            'Use "system", "human" and "gpt".',
          );
        }
        return [role, columnText(said, "value", refuse)];
      });
    },
  },
  {
    name: "prompt/completion",
    looks: '"prompt" and "completion" texts',
    matches: ({ prompt, completion }) =>
      typeof prompt === "string" && typeof completion === "string",
    map: (row, refuse) => [
      ["user", columnText(row, "prompt", refuse)],
      ["assistant", columnText(row, "completion", refuse)],
    ],
  },
];

const FIX = "Correct that row.";

/** A column's text; numbers and truth values read as they are written, nothing is the empty text. */
function columnText(row: JsonObject, column: string, refuse: Refuse): string {
  const value = Object.hasOwn(row, column) ? row[column] : undefined;
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw refuse(
    `"${column}" holds ${Array.isArray(value) ? "a list" : "an object"}, not a text`,
    FIX,
  );
}

/** Turns as the messages that they were. */
export function messagesOf(conversation: Conversation): Message[] {
  return conversation.flatMap(({ system = "", input, output }) => [
    ...(system === "" ? [] : [{ role: "system" as const, content: system }]),
    ...(input === "" ? [] : [{ role: "user" as const, content: input }]),
    { role: "assistant" as const, content: output },
  ]);
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
