// Tools in a conversation: those that a row offers, the calls that an answer makes, and what came back.
// Files write them in several ways; all are brought into the one that chat templates are written for.
import type { ChatMessage } from "../formats/chat-template.ts";
import { isJsonObject, type JsonObject } from "../formats/json.ts";
import { asList, type RowReader } from "./map-row.ts";

/** The row's tools, each as `{type, function}`. Undefined where it offers none. */
export function toolsOf(row: RowReader): readonly unknown[] | undefined {
  const column = ["tools", "functions"].find(
    (name) => row.has(name) && !isNothing(row.value[name]),
  );
  if (column === undefined) return undefined;
  const tools = asList(row.value[column]);
  if (tools === undefined) {
    throw row.refuse(`"${column}" is no list of tools`, "Write a list, or the JSON text of one.");
  }
  if (tools.length === 0) return undefined;
  return tools.map((tool, i) => {
    if (!isJsonObject(tool)) {
      throw row.refuse(`${column}[${i}] is no object`, "Describe each tool by a JSON schema.");
    }
    const isBare = typeof tool["name"] === "string" && !isJsonObject(tool["function"]);
    return isBare && tool["type"] === undefined ? { type: "function", function: tool } : tool;
  });
}

/** The calls that an assistant's message makes, each as `{type, function: {name, arguments}}`. */
export function callsOf(message: RowReader): readonly unknown[] | undefined {
  if (!isNothing(message.value["tool_calls"])) {
    const calls = asList(message.value["tool_calls"]);
    if (calls === undefined) {
      throw message.refuse('"tool_calls" is no list', "Write a list of calls, or its JSON text.");
    }
    return calls.length === 0 ? undefined : calls.map((call) => callOf(call, message));
  }
  const call = message.value["function_call"];
  return isNothing(call) ? undefined : [callOf(parsed(call), message)];
}

/** The calls of a message whose whole content is calls, as ShareGPT's `function_call` has them. */
export function callsInText(text: string, message: RowReader): readonly unknown[] {
  const value = parsed(text);
  const calls = Array.isArray(value) ? (value as unknown[]) : [value];
  if (calls.length > 0) return calls.map((call) => callOf(call, message));
  throw message.refuse("it makes no call", "Remove that message.");
}

/** Parquet files and tables write what is absent as null, as an empty text or as an empty list. */
function isNothing(value: unknown): boolean {
  return value === undefined || value === null || value === "";
}

function parsed(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function callOf(call: unknown, message: RowReader): JsonObject {
  const whole = isJsonObject(call) ? call : {};
  const inner = isJsonObject(whole["function"]) ? whole["function"] : whole;
  const { name } = inner;
  if (typeof name !== "string" || name === "") {
    throw message.refuse(
      "a call of a tool has no name",
      'Write each call as {"name": …, "arguments": {…}}.',
    );
  }
  // Templates write arguments as JSON, so a text of JSON would come out quoted twice.
  const given = parsed(inner["arguments"] ?? inner["parameters"] ?? {});
  const id = whole["id"];
  return {
    ...(typeof id === "string" ? { id } : {}),
    type: "function",
    function: { name, arguments: given },
  };
}

/** A message that is neither a system's, a user's nor an answer, with what templates may look for in it. */
export function toolMessage(role: string, content: string, message: RowReader): ChatMessage {
  const kept = ["name", "tool_call_id"].filter((field) => typeof message.value[field] === "string");
  return {
    role,
    content,
    ...Object.fromEntries(kept.map((field) => [field, message.value[field]])),
  };
}
