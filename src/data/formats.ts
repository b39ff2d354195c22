// Dataset formats: a row of a file to a conversation. XTuner's map functions, quirks included, because
// a data set made for one must train the same; each quirk is named where it lives.

import { UserError } from "../base/error.ts";
import { isJsonObject } from "../formats/json.ts";
import type { Conversation, Turn } from "./conversation.ts";
import type { DataRow } from "./read.ts";

export type DatasetFormatName = "openai" | "alpaca" | "alpaca_zh" | "default" | "standard";

interface DatasetFormat {
  /** What a row of it looks like, for people. */
  looks: string;
  matches(row: Record<string, unknown>): boolean;
  map(row: RowReader): Turn[];
}

/** In the order in which detection tries them: the more telling first. */
const FORMATS: Record<DatasetFormatName, DatasetFormat> = {
  standard: {
    looks: 'a "conversation" list of inputs and outputs',
    matches: (row) => Array.isArray(row["conversation"]),
    map: (row) => row.list("conversation").map(mapStandardTurn),
  },
  openai: {
    looks: 'a "messages" list of roles and contents',
    matches: (row) => Array.isArray(row["messages"]),
    map: (row) => mapMessages(row.list("messages")),
  },
  alpaca_zh: {
    looks: '"instruction_zh", "input_zh" and "output_zh"',
    matches: (row) => "instruction_zh" in row && "output_zh" in row,
    map: (row) => [
      {
        input: `${row.text("instruction_zh")}\n${row.optionalText("input_zh")}`,
        output: row.text("output_zh"),
      },
    ],
  },
  alpaca: {
    looks: '"instruction", "input" and "output"',
    matches: (row) => "instruction" in row && "output" in row,
    map(row) {
      const output = row.text("output");
      if (output === "<nooutput>") return [];
      // The newline stays even where the input is empty, as in XTuner.
      const input = `${row.text("instruction")}\n${row.optionalText("input")}`;
      return [{ input, output }];
    },
  },
  default: {
    looks: '"input" and "output"',
    matches: (row) => "input" in row && "output" in row,
    map: (row) => [{ input: row.text("input"), output: row.text("output") }],
  },
};

export const DATASET_FORMATS = Object.keys(FORMATS) as readonly DatasetFormatName[];

/** The format of a name from a person; undefined for "auto", which looks at the rows. */
export function formatNamed(name: string): DatasetFormatName | undefined {
  if (name === "auto") return undefined;
  const found = DATASET_FORMATS.find((format) => format === name);
  if (found) return found;
  throw new UserError(
    `There is no dataset format "${name}".`,
    `Use auto or one of: ${DATASET_FORMATS.join(", ")}.`,
  );
}

export interface DetectedFormat {
  format: DatasetFormatName;
  /** Why, as the end of a sentence: "row 1 has …". */
  reason: string;
}

/** Chooses the format that all of `rows`, the first of a file, have in common. */
export function detectFormat(rows: readonly DataRow[], place: string): DetectedFormat {
  const format = DATASET_FORMATS.find((name) =>
    rows.every(({ value }) => isJsonObject(value) && FORMATS[name].matches(value)),
  );
  if (format !== undefined && rows.length > 0) {
    const which = rows.length === 1 ? "row 1 has" : `rows 1 to ${rows.length} have`;
    return { format, reason: `${which} ${FORMATS[format].looks}` };
  }
  const keys = new Set(
    rows.flatMap(({ value }) => (isJsonObject(value) ? Object.keys(value) : [])),
  );
  const found = keys.size > 0 ? `rows with the keys ${[...keys].join(", ")}` : "no JSON objects";
  const known = DATASET_FORMATS.map((name) => `${name} (${FORMATS[name].looks})`).join("; ");
  throw new UserError(
    `${place} has ${found}, which is no format known here.`,
    `Bring each row into one of these forms: ${known}.`,
  );
}

/** A row in standard form. Empty where the format says that the row holds nothing to learn. */
export function mapRow(format: DatasetFormatName, row: DataRow, place: string): Conversation {
  return FORMATS[format].map(
    createRowReader(row.value, `${place}, row ${row.row} (line ${row.line})`),
  );
}

/** Reads fields of one object, refusing what is missing or of the wrong kind with the row's place. */
interface RowReader {
  text(key: string): string;
  /** Absent and null are the empty text. */
  optionalText(key: string): string;
  flag(key: string): boolean | undefined;
  list(key: string): RowReader[];
  value(key: string): unknown;
  refuse(fact: string, remedy: string): UserError;
}

function createRowReader(value: unknown, where: string): RowReader {
  const refuse = (fact: string, remedy: string) => new UserError(`${where}: ${fact}.`, remedy);
  if (!isJsonObject(value)) throw refuse("it is not a JSON object", "Make each row an object.");
  const wrong = (key: string, wanted: string) => {
    const has = key in value ? `"${key}" is ${describeKind(value[key])}` : `"${key}" is missing`;
    const keys = Object.keys(value).join(", ") || "none";
    return refuse(`${has}, where ${wanted} is needed; its keys: ${keys}`, "Correct that row.");
  };
  const text = (key: string) => {
    const field = value[key];
    if (typeof field !== "string") throw wrong(key, "a text");
    return field;
  };
  return {
    text,
    optionalText: (key) => (value[key] === undefined || value[key] === null ? "" : text(key)),
    flag(key) {
      const field = value[key];
      if (field !== undefined && typeof field !== "boolean") throw wrong(key, "true or false");
      return field;
    },
    list(key) {
      const field = value[key];
      if (!Array.isArray(field)) throw wrong(key, "a list");
      return field.map((item, i) => createRowReader(item, `${where}, ${key}[${i}]`));
    },
    value: (key) => value[key],
    refuse,
  };
}

/**
 * OpenAI messages, as XTuner's `openai_map_fn`: assistants before anyone else are left out, user
 * messages in a row are joined with nothing between, a system message waits for the next assistant
 * and is replaced by a later one, and a user message without an answer falls away.
 */
function mapMessages(messages: readonly RowReader[]): Turn[] {
  const turns: Turn[] = [];
  let system = "";
  let input = "";
  let isLeading = true;
  for (const message of messages) {
    const role = message.text("role");
    if (isLeading && role === "assistant") continue;
    isLeading = false;
    if (role === "system") system = contentOf(message);
    else if (role === "user") input += contentOf(message);
    else if (role === "assistant") {
      turns.push({ system, input, output: contentOf(message), ...lossOf(message) });
      system = "";
      input = "";
    } else {
      throw message.refuse(
        `the role "${role}" is unknown`,
        'Use the roles "system", "user" and "assistant" only.',
      );
    }
  }
  return turns;
}

/** A text, or OpenAI's list of parts where every part is text. */
function contentOf(message: RowReader): string {
  if (!Array.isArray(message.value("content"))) return message.text("content");
  const parts = message.list("content").map((part) => {
    if (part.value("type") === "text") return part.text("text");
    throw part.refuse(
      `it is a part of type ${JSON.stringify(part.value("type"))}`,
      "Keep text parts only; images and audio cannot be trained on.",
    );
  });
  return parts.join("");
}

/** OpenAI's `weight` (0 or 1) on an assistant's message: whether its answer is learned. */
function lossOf(message: RowReader): Pick<Turn, "outputWithLoss"> {
  const weight = message.value("weight");
  if (weight === undefined || weight === null) return {};
  if (weight === 0 || weight === 1) return { outputWithLoss: weight === 1 };
  throw message.refuse(
    `"weight" is ${JSON.stringify(weight)}`,
    "Use 0 (not learned) or 1 (learned), or leave it out.",
  );
}

/** A turn already in standard form, with the keys that XTuner writes. */
function mapStandardTurn(turn: RowReader): Turn {
  const system = turn.optionalText("system");
  const outputWithLoss = turn.flag("output_with_loss");
  const needEosToken = turn.flag("need_eos_token");
  const sep = turn.optionalText("sep");
  return {
    ...(system === "" ? {} : { system }),
    input: turn.optionalText("input"),
    output: turn.optionalText("output"),
    ...(outputWithLoss === undefined ? {} : { outputWithLoss }),
    ...(needEosToken === undefined ? {} : { needEosToken }),
    ...(sep === "" ? {} : { sep }),
  };
}

function describeKind(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : `a ${typeof value}`;
}
