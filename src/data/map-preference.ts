// Pairs of a good and a bad answer. They are made for methods that this project does not have, so they are
// refused, unless somebody says that the good answers are to be learned.
import type { JsonObject } from "../formats/json.ts";
import type { Turn } from "./conversation.ts";
import { messagesIn } from "./map-columns.ts";
import { pairUp, withTools } from "./map-messages.ts";
import type { MapOptions, RowReader } from "./map-row.ts";

const PROMPTS = ["prompt", "question", "instruction", "input", "query"];

export function isPreference(row: JsonObject): boolean {
  return "chosen" in row && "rejected" in row;
}

/** TRL's unpaired preference: whether a completion is good is a column of its own. */
export function isUnpairedPreference(row: JsonObject): boolean {
  return "prompt" in row && "completion" in row && typeof row["label"] === "boolean";
}

export function refusePreference(row: RowReader): never {
  throw row.refuse(
    'it has answers that were "chosen" and "rejected"; to learn from the difference takes a method such as DPO, which is not here',
    "To learn the chosen answers, name the format: dataset_format: preference_chosen.",
  );
}

export function refuseUnpaired(row: RowReader): never {
  throw row.refuse(
    '"label" says which completions are good; to learn from that takes a method such as KTO, which is not here',
    "To learn all completions, name the format: dataset_format: prompt_completion. To learn the good ones, remove the others first.",
  );
}

/** The chosen answer, after its prompt. Of several answers the last is learned. */
export function mapChosen(row: RowReader, options: MapOptions): Turn[] {
  const column = PROMPTS.find((name) => row.has(name) && row.value[name] !== null);
  const chosen = messagesIn(row, "chosen", "assistant");
  const isWhole = chosen.some((message) =>
    ["user", "human"].includes(String(message.value["role"] ?? message.value["from"])),
  );
  if (!isWhole && column === undefined) {
    throw row.refuse(
      `there is no prompt beside "chosen"; its keys: ${Object.keys(row.value).join(", ")}`,
      `Add the question as "prompt", or write "chosen" as a list of messages with the user's.`,
    );
  }
  const before = isWhole || column === undefined ? [] : messagesIn(row, column, "user");
  const messages = [...systemOf(row, isWhole), ...before, ...chosen];
  const turns = pairUp(messages, options, (index) => index === messages.length - 1);
  return withTools(turns, row, options);
}

function systemOf(row: RowReader, isWhole: boolean): RowReader[] {
  const system = isWhole ? "" : row.optionalText("system");
  return system === "" ? [] : [row.part({ role: "system", content: system }, "system")];
}
