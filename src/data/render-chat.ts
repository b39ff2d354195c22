// A conversation by a model's own chat template, with tools where it has them. Files and templates differ in how
// they write tools, so a template that refuses one way is asked again with the others.
import { UserError } from "../base/error.ts";
import type { ChatMessage, ChatTemplate, ChatTemplateOptions } from "../formats/chat-template.ts";
import { isJsonObject, type JsonObject } from "../formats/json.ts";
import { type RenderedAnswers, renderAnswers } from "./answers.ts";
import { type Conversation, messagesOf, usesTools } from "./conversation.ts";

type Options = Pick<ChatTemplateOptions, "bosToken" | "eosToken">;

/** The conversation's text and where its answers are. Refuses tools of which the template writes nothing. */
export function renderConversation(
  template: ChatTemplate,
  conversation: Conversation,
  options: Options,
): RenderedAnswers {
  const messages = messagesOf(conversation);
  if (!usesTools(conversation)) return renderAnswers(template, messages, options);
  const tools = conversation[0]?.tools;
  const tried = new Set<string>();
  let fault: unknown;
  for (const write of WAYS) {
    const written = write(messages);
    const key = JSON.stringify(written);
    if (tried.has(key)) continue;
    tried.add(key);
    try {
      checkWritten(template, written, { ...options, tools });
      return renderAnswers(template, written, { ...options, tools });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      fault ??= error;
    }
  }
  throw fault;
}

type Write = (messages: readonly ChatMessage[]) => readonly ChatMessage[];

const asTheyAre: Write = (messages) => messages;

/** Most templates know results of tools by this role; some by the one that a file has. */
const asRoleTool: Write = (messages) =>
  messages.map((message) => (isSaid(message) ? message : { ...message, role: "tool" }));

/** Mistral's templates want ids of nine characters, which join calls and their results. */
const withShortIds: Write = (messages) => {
  let calls = 0;
  const waiting: { known: unknown; id: string }[] = [];
  return messages.map((message) => {
    if (Array.isArray(message["tool_calls"])) {
      const list = message["tool_calls"] as readonly JsonObject[];
      const numbered = list.map((call) => {
        const id = `call${String(++calls).padStart(5, "0")}`;
        waiting.push({ known: call["id"], id });
        return { ...call, id };
      });
      return { ...message, tool_calls: numbered };
    }
    if (isSaid(message)) return message;
    const given = message["tool_call_id"];
    const at = waiting.findIndex(({ known }) => known !== undefined && known === given);
    const [answered] = waiting.splice(Math.max(0, at), 1);
    return answered === undefined ? message : { ...message, tool_call_id: answered.id };
  });
};

/** Some templates join arguments to their text as they are. */
const withTextArguments: Write = (messages) =>
  messages.map((message) => {
    if (!Array.isArray(message["tool_calls"])) return message;
    const list = message["tool_calls"] as readonly JsonObject[];
    return { ...message, tool_calls: list.map(writeArguments) };
  });

function writeArguments(call: JsonObject): JsonObject {
  const inner = call["function"];
  if (!isJsonObject(inner) || typeof inner["arguments"] === "string") return call;
  return { ...call, function: { ...inner, arguments: JSON.stringify(inner["arguments"]) } };
}

const both =
  (first: Write, second: Write): Write =>
  (messages) =>
    second(first(messages));

const WAYS: readonly Write[] = [
  asTheyAre,
  asRoleTool,
  withShortIds,
  both(asRoleTool, withShortIds),
  withTextArguments,
  both(asRoleTool, withTextArguments),
];

function isSaid({ role }: ChatMessage): boolean {
  return role === "system" || role === "user" || role === "assistant";
}

// Letters, which a template that quotes or escapes leaves as they are.
const MARK = "zqmark8f1c";

/** Refuses a template that leaves out the tools offered, or what they gave back. */
function checkWritten(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  options: Options & Pick<ChatTemplateOptions, "tools">,
): void {
  const marks: { mark: string; what: string }[] = [];
  const note = (what: string): string => {
    const mark = `${MARK}n${marks.length}e`;
    marks.push({ mark, what });
    return mark;
  };
  const marked = messages.map((message, i) => {
    if (isSaid(message)) return message;
    const mark = note(`message ${i + 1}, which is a tool's`);
    return { ...message, content: mark };
  });
  const tools = options.tools?.map((tool, i) => {
    const mark = i === 0 && nameOf(tool) !== undefined ? note("the tools that are offered") : "";
    return mark === "" ? tool : withName(tool, mark);
  });
  if (marks.length === 0) return;
  const text = template.render(marked, { ...options, tools, addGenerationPrompt: false });
  const lost = marks.find(({ mark }) => !text.includes(mark));
  if (lost === undefined) return;
  throw new UserError(
    `The model's chat template writes nothing of ${lost.what}.`,
    "Use a model whose template knows tools, or remove them from the data.",
  );
}

function nameOf(tool: unknown): string | undefined {
  const inner = isJsonObject(tool) && isJsonObject(tool["function"]) ? tool["function"] : tool;
  const name = isJsonObject(inner) ? inner["name"] : undefined;
  return typeof name === "string" ? name : undefined;
}

function withName(tool: unknown, name: string): unknown {
  if (!isJsonObject(tool)) return tool;
  return isJsonObject(tool["function"])
    ? { ...tool, function: { ...tool["function"], name } }
    : { ...tool, name };
}
