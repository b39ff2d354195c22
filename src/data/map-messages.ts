// Lists of messages to turns: OpenAI's and TRL's `messages`, ShareGPT's `conversations`, under any of their names.
// What XTuner's `openai_map_fn` does with odd orders is kept, because a data set made for it must train the same.
import type { ChatMessage } from "../formats/chat-template.ts";
import type { JsonObject } from "../formats/json.ts";
import type { Turn } from "./conversation.ts";
import { asList, type FieldNames, type MapOptions, type RowReader } from "./map-row.ts";
import { callsInText, callsOf, toolMessage, toolsOf } from "./map-tools.ts";

/** Columns that hold messages. */
const LISTS = ["messages", "conversations", "conversation", "dialogue", "dialog", "chat"];
const ROLES = ["role", "from", "speaker"];
const CONTENTS = ["content", "value", "text"];

/** The column of a row that holds its messages: the one named, or the first of the usual ones. */
export function messagesColumn(row: JsonObject, fields: FieldNames = {}): string | undefined {
  const names = fields.messages === undefined ? LISTS : [fields.messages];
  return names.find((name) => Object.hasOwn(row, name) && asList(row[name]) !== undefined);
}

/** A row's messages as turns; its tools are on the first. */
export function mapMessages(row: RowReader, options: MapOptions): Turn[] {
  const { fields, asXtuner } = options;
  const column = asXtuner === true ? undefined : messagesColumn(row.value, fields);
  const messages = row.list(column ?? fields?.messages ?? "messages");
  return withTools(pairUp(messages, options), row, options);
}

/** The tools that a row offers, put on the first turn. */
export function withTools(turns: Turn[], row: RowReader, { asXtuner }: MapOptions): Turn[] {
  const tools = asXtuner === true ? undefined : toolsOf(row);
  const [first, ...rest] = turns;
  return first === undefined || tools === undefined ? turns : [{ ...first, tools }, ...rest];
}

type Kind = "system" | "user" | "assistant" | "call" | "tool";

const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ...["system", "developer"].map((role) => [role, "system"] as const),
  ...["user", "human", "prompter"].map((role) => [role, "user"] as const),
  ...["assistant", "gpt", "chatgpt", "bing", "bard", "model", "bot", "ai"].map(
    (role) => [role, "assistant"] as const,
  ),
  ...["function_call", "tool_call"].map((role) => [role, "call"] as const),
  ...["tool", "function", "ipython", "observation", "tool_response", "function_response"].map(
    (role) => [role, "tool"] as const,
  ),
]);

const ROLES_OF_XTUNER = ["system", "user", "assistant"];

/**
 * Messages to turns. Assistants before anyone else are left out, users' messages in a row are joined with nothing
 * between, a system message waits for the next assistant and is replaced by a later one, and what has no answer
 * falls away. `learns` says which answers are learned where they do not say so themselves.
 */
export function pairUp(
  messages: readonly RowReader[],
  options: MapOptions,
  learns: (index: number) => boolean = () => true,
): Turn[] {
  const turns: Turn[] = [];
  let system = "";
  let said: ChatMessage[] = [];
  let isLeading = true;
  for (const [index, message] of messages.entries()) {
    const { role, kind } = roleOf(message, options);
    const isAnswer = kind === "assistant" || kind === "call";
    if (isLeading && isAnswer) continue;
    isLeading = false;
    if (kind === "system") system = contentOf(message, options);
    else if (kind === "user") said.push({ role: "user", content: contentOf(message, options) });
    else if (kind === "tool") said.push(toolMessage(role, resultOf(message, options), message));
    else {
      turns.push({
        system,
        ...heard(said),
        ...answerOf(message, kind, options),
        ...lossOf(message, options, learns(index)),
      });
      system = "";
      said = [];
    }
  }
  return turns;
}

function roleOf(
  message: RowReader,
  { fields, asXtuner }: MapOptions,
): { role: string; kind: Kind } {
  const role = message.text(fieldOf(message, fields?.role, ROLES));
  const kind = KINDS.get(role.toLowerCase());
  if (kind === undefined || (asXtuner === true && !ROLES_OF_XTUNER.includes(role))) {
    const known = asXtuner === true ? ROLES_OF_XTUNER : [...KINDS.keys()];
    throw message.refuse(
      `the role "${role}" is unknown${asXtuner === true ? " to XTuner" : ""}`,
      `Use one of: ${known.join(", ")}.`,
    );
  }
  return { role, kind };
}

/** The field named, or the first of the usual ones that the message has. */
function fieldOf(message: RowReader, named: string | undefined, usual: readonly string[]): string {
  return named ?? usual.find((name) => message.has(name)) ?? usual[0] ?? "";
}

/** What stands before an answer: users' text, or all messages where there are others among them. */
function heard(said: readonly ChatMessage[]): Pick<Turn, "input" | "context"> {
  const users = said.filter(({ role }) => role === "user");
  const input = users.map(({ content }) => content).join("");
  return { input, ...(users.length === said.length ? {} : { context: said }) };
}

function answerOf(
  message: RowReader,
  kind: "assistant" | "call",
  options: MapOptions,
): Pick<Turn, "output" | "toolCalls"> {
  if (kind === "call") {
    return { output: "", toolCalls: callsInText(contentOf(message, options), message) };
  }
  const toolCalls = options.asXtuner === true ? undefined : callsOf(message);
  if (toolCalls === undefined) return { output: contentOf(message, options) };
  const content = message.value[fieldOf(message, options.fields?.content, CONTENTS)];
  const isSilent = content === undefined || content === null;
  return { output: isSilent ? "" : contentOf(message, options), toolCalls };
}

/** A text, or OpenAI's list of parts where every part is text. */
function contentOf(message: RowReader, { fields }: MapOptions): string {
  const field = fieldOf(message, fields?.content, CONTENTS);
  if (!Array.isArray(message.value[field])) return message.text(field);
  const parts = message.list(field).map((part) => {
    if (part.value["type"] === "text") return part.text("text");
    throw part.refuse(
      `it is a part of type ${JSON.stringify(part.value["type"])}`,
      "Keep text parts only; images and audio cannot be trained on.",
    );
  });
  return parts.join("");
}

/** What a tool gave back: a text, or anything else as JSON. */
function resultOf(message: RowReader, options: MapOptions): string {
  const content = message.value[fieldOf(message, options.fields?.content, CONTENTS)];
  if (typeof content === "string" || content === undefined || content === null) {
    return contentOf(message, options);
  }
  const isParts =
    Array.isArray(content) &&
    content.every((part: unknown) => (part as JsonObject | null)?.["type"] === "text");
  return isParts ? contentOf(message, options) : JSON.stringify(content);
}

/** Fields by which a message says whether its answer is learned: OpenAI's, XTuner's from 0.1.23 on, axolotl's. */
const WEIGHTS = ["weight", "loss", "train", "training"];

function lossOf(
  message: RowReader,
  { asXtuner }: MapOptions,
  learns: boolean,
): Pick<Turn, "outputWithLoss"> {
  const given =
    asXtuner === true
      ? []
      : WEIGHTS.flatMap((field) => {
          const weight = message.has(field) ? weightOf(message, field) : undefined;
          return weight === undefined ? [] : [{ field, weight }];
        });
  const [first, ...others] = given;
  if (first === undefined) return learns ? {} : { outputWithLoss: false };
  const other = others.find(({ weight }) => weight !== first.weight);
  if (other === undefined) return { outputWithLoss: first.weight };
  throw message.refuse(
    `"${first.field}" says that the answer is ${first.weight ? "" : "not "}learned, and "${other.field}" the opposite`,
    "Keep one of the two.",
  );
}

function weightOf(message: RowReader, field: string): boolean | undefined {
  const weight = message.value[field];
  if (weight === undefined || weight === null) return undefined;
  if (weight === 0 || weight === 1 || typeof weight === "boolean") return Boolean(weight);
  if (typeof weight === "string" && /^(true|false)$/i.test(weight)) {
    return weight.toLowerCase() === "true";
  }
  throw message.refuse(
    `"${field}" is ${JSON.stringify(weight)}`,
    "Use 0 or false (not learned), 1 or true (learned), or leave it out.",
  );
}
