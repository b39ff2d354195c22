// Every dataset format: what its rows look like, how they are told from others, and what maps them.
// XTuner's twenty come first, under XTuner's names and in its order.
import { isJsonObject, type JsonObject } from "../formats/json.ts";
import type { Turn } from "./conversation.ts";
import {
  joinedPair,
  mapAlpaca,
  mapColors,
  mapOpenOrca,
  mapPromptCompletion,
  pair,
} from "./map-columns.ts";
import {
  describeText,
  mapLlava,
  mapLlavaImageOnly,
  mapOasst1,
  mapPretrain,
  mapSegments,
  mapStandard,
  mapText,
  mapWizardLm,
  textColumn,
} from "./map-conversations.ts";
import { mapMessages, messagesColumn } from "./map-messages.ts";
import { hasAgentMarks, mapMsAgent } from "./map-msagent.ts";
import { describePair, hasBeside, mapPair, pairColumns } from "./map-pairs.ts";
import {
  isPreference,
  isUnpairedPreference,
  mapChosen,
  refusePreference,
  refuseUnpaired,
} from "./map-preference.ts";
import { asList, type MapOptions, type RowReader } from "./map-row.ts";
import { SYSTEM_TEMPLATES } from "./template-table.ts";

export interface DatasetFormat {
  /** What a row of it has, for people: `a "messages" list`. */
  readonly looks: string;
  /** The same of one row, where rows of it differ. */
  readonly describe?: (row: unknown) => string;
  /** A row, as a pattern. */
  readonly example: JsonObject;
  /** Whether a row looks like it. Absent where only a name can choose the format. */
  readonly matches?: (row: JsonObject) => boolean;
  readonly map: (row: RowReader, options: MapOptions) => Turn[];
  /** Nothing but text: no template is written around it. */
  readonly isPlainText?: true;
  /** Never trained on: its `map` says why. */
  readonly isRefused?: true;
}

const has =
  (...columns: string[]) =>
  (row: JsonObject) =>
    columns.every((column) => Object.hasOwn(row, column));

/** Whether columns are there and hold texts, numbers or truth values. */
const hasWords =
  (...columns: string[]) =>
  (row: JsonObject) =>
    columns.every((column) => ["string", "number", "boolean"].includes(typeof row[column]));

const { alpaca: _, ...SYSTEMS } = SYSTEM_TEMPLATES;

const TABLE = {
  alpaca: {
    looks: '"instruction", "input" and "output"',
    example: { instruction: "Translate to French.", input: "Good day", output: "Bonjour" },
    matches: has("instruction", "output"),
    map: mapAlpaca,
  },
  alpaca_zh: {
    looks: '"instruction_zh", "input_zh" and "output_zh"',
    example: { instruction_zh: "译成英文。", input_zh: "你好", output_zh: "Hello" },
    matches: has("instruction_zh", "output_zh"),
    map: joinedPair("instruction_zh", "input_zh", "output_zh"),
  },
  arxiv: {
    looks: '"abstract" and "title"',
    example: { abstract: "We study …", title: "On the study of …" },
    matches: hasWords("abstract", "title"),
    map: pair("abstract", "title", SYSTEMS.arxiv_gentile),
  },
  code_alpaca: {
    looks: '"prompt" and "completion", to be learned by a programmer',
    example: { prompt: "Print hello in Python.", completion: 'print("hello")' },
    map: pair("prompt", "completion", SYSTEMS.coder),
  },
  colors: {
    looks: '"description" (name: text) and "color" (#rrggbb)',
    example: { description: "Red: a deep, warm red", color: "#a40f16" },
    matches: ({ description, color }) =>
      typeof description === "string" && description.includes(":") && String(color).startsWith("#"),
    map: mapColors,
  },
  crime_kg_assitan: {
    looks: '"input" and "output", to be learned by a lawyer',
    example: { input: "借条没有写日期有效吗？", output: "有效。" },
    map: pair("input", "output", SYSTEMS.lawyer),
  },
  default: {
    looks: '"input" and "output"',
    example: { input: "Who are you?", output: "I am a little assistant." },
    matches: (row) => has("input", "output")(row) && !hasBeside(row),
    map: pair("input", "output"),
  },
  law_reference: {
    looks: '"question" and "answer", to be learned by a lawyer',
    example: { question: "试用期多长？", answer: "不超过六个月。" },
    map: pair("question", "answer", SYSTEMS.lawyer),
  },
  llava_image_only: {
    looks:
      'a "conversations" list of "human" and "gpt", each question with <image>; no image is read',
    example: {
      conversations: [
        { from: "human", value: "Describe it. <image>" },
        { from: "gpt", value: "A cat." },
      ],
    },
    map: mapLlavaImageOnly,
  },
  llava: {
    looks: 'a "conversations" list with <image> in it, and "image"; no image is read',
    example: {
      image: "cat.jpg",
      conversations: [
        { from: "human", value: "<image>\nWhat is it?" },
        { from: "gpt", value: "A cat." },
      ],
    },
    matches: (row) =>
      has("image", "conversations")(row) &&
      Array.isArray(row["conversations"]) &&
      row["conversations"].some(
        (message: unknown) => isJsonObject(message) && String(message["value"]).includes("<image>"),
      ),
    map: mapLlava,
  },
  medical: {
    looks: '"instruction", "input" and "output", to be learned by a doctor',
    example: { instruction: "头痛怎么办？", input: "", output: "多休息。" },
    map: joinedPair("instruction", "input", "output", SYSTEMS.medical),
  },
  msagent_react: {
    looks: 'a "conversations" list with <|startofthink|> in its answers, or Python\'s text of one',
    example: {
      conversations: "[{'from': 'user', 'value': 'Hi'}, {'from': 'assistant', 'value': 'Hello'}]",
    },
    matches: (row) =>
      asList(row["conversations"]) !== undefined && hasAgentMarks(row["conversations"]),
    map: mapMsAgent,
  },
  oasst1: {
    looks: '"text" with ### Human: and ### Assistant: in it',
    example: { text: "### Human: Hi### Assistant: Hello" },
    matches: ({ text }) => typeof text === "string" && /###\s*(Human|Assistant):/.test(text),
    map: mapOasst1,
  },
  openai: {
    looks: 'a "messages" list of roles and contents',
    example: {
      messages: [
        { role: "system", content: "Be short." },
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Hello" },
      ],
    },
    matches: (row) => messagesColumn(row) === "messages",
    map: mapMessages,
  },
  openorca: {
    looks: '"system_prompt", "question" and "response"',
    example: { system_prompt: "Be short.", question: "Hi", response: "Hello" },
    matches: has("system_prompt", "question", "response"),
    map: mapOpenOrca,
  },
  pretrain: {
    looks: '"text" to be learned whole, without the white space around it',
    example: { text: "Once upon a time …" },
    map: mapPretrain,
    isPlainText: true,
  },
  sql: {
    looks: '"context" (CREATE TABLE …), "question" and "answer"',
    example: {
      context: "CREATE TABLE head (age INTEGER)",
      question: "How many heads are older than 56?",
      answer: "SELECT COUNT(*) FROM head WHERE age > 56",
    },
    matches: (row) =>
      hasWords("context", "question", "answer")(row) &&
      /\bcreate\s+table\b/i.test(String(row["context"])),
    map: joinedPair("context", "question", "answer", SYSTEMS.sql),
  },
  stack_exchange: {
    looks: '"question" and "response"',
    example: { question: "How do I exit vim?", response: ":q" },
    matches: (row) =>
      hasWords("question", "response")(row) && !has("answer")(row) && !hasBeside(row),
    map: pair("question", "response"),
  },
  tiny_codes: {
    looks: '"prompt", "response" and "programming_language"',
    example: { prompt: "Sort a list.", programming_language: "Python", response: "sorted(x)" },
    matches: hasWords("prompt", "response", "programming_language"),
    map: pair("prompt", "response", SYSTEMS.coder),
  },
  wizardlm: {
    looks: 'a "conversations" list of "human" and "gpt"',
    example: {
      conversations: [
        { from: "human", value: "Hi" },
        { from: "gpt", value: "Hello" },
      ],
    },
    map: mapWizardLm,
  },

  standard: {
    looks: 'a "conversation" list of inputs and outputs',
    example: { conversation: [{ system: "Be short.", input: "Hi", output: "Hello" }] },
    matches: ({ conversation }) =>
      Array.isArray(conversation) &&
      (conversation.length === 0 ||
        conversation.some(
          (turn: unknown) => isJsonObject(turn) && ("output" in turn || "input" in turn),
        )),
    map: mapStandard,
  },
  sharegpt: {
    looks: 'a "conversations" list of "from" and "value"',
    describe: (row) =>
      `a "${isJsonObject(row) ? messagesColumn(row) : ""}" list of who speaks and what is said`,
    example: {
      conversations: [
        { from: "human", value: "Hi" },
        { from: "gpt", value: "Hello" },
      ],
    },
    matches: isShareGpt,
    map: mapMessages,
  },
  prompt_completion: {
    looks: '"prompt" and "completion", texts or lists of messages',
    example: { prompt: "Who are you?", completion: "I am a little assistant." },
    matches: (row) => isSaid(row["prompt"]) && isSaid(row["completion"]) && !hasBeside(row),
    map: mapPromptCompletion,
  },
  question_answer: {
    looks: "a question and an answer, under their usual names",
    describe: describePair,
    example: { question: "Who are you?", answer: "I am a little assistant." },
    matches: (row) => pairColumns(row) !== undefined,
    map: mapPair,
  },
  text: {
    looks: '"text" to be learned whole',
    describe: describeText,
    example: { text: "Once upon a time …" },
    matches: (row) => textColumn(row) !== undefined,
    map: mapText,
    isPlainText: true,
  },
  input_output: {
    looks: '"segments", each a "text" with a "label" that says whether it is learned',
    example: {
      segments: [
        { label: false, text: "Question: who are you?\n" },
        { label: true, text: "Answer: a little assistant.</s>" },
      ],
    },
    matches: ({ segments }) => Array.isArray(segments),
    map: mapSegments,
  },
  preference_chosen: {
    looks: '"prompt", "chosen" and "rejected", of which the chosen answer is learned',
    example: { prompt: "Who are you?", chosen: "A little assistant.", rejected: "Go away." },
    map: mapChosen,
  },
  preference: {
    looks: '"chosen" and "rejected" answers',
    example: { prompt: "Who are you?", chosen: "A little assistant.", rejected: "Go away." },
    matches: isPreference,
    map: refusePreference,
    isRefused: true,
  },
  unpaired_preference: {
    looks: '"prompt", "completion" and a "label" that says which are good',
    example: { prompt: "Who are you?", completion: "Go away.", label: false },
    matches: isUnpairedPreference,
    map: refuseUnpaired,
    isRefused: true,
  },
} satisfies Record<string, DatasetFormat>;

export type DatasetFormatName = keyof typeof TABLE;

export const FORMATS: Readonly<Record<DatasetFormatName, DatasetFormat>> = TABLE;

/** How many of `FORMATS`, from the first on, are XTuner's. */
export const XTUNER_FORMATS = 20;

/** In which order formats are tried on a row: the more telling first. */
export const DETECTION_ORDER: readonly DatasetFormatName[] = [
  "preference",
  "unpaired_preference",
  "msagent_react",
  "llava",
  "standard",
  "openai",
  "sharegpt",
  "input_output",
  "alpaca_zh",
  "alpaca",
  "openorca",
  "sql",
  "tiny_codes",
  "colors",
  "prompt_completion",
  "stack_exchange",
  "default",
  "question_answer",
  "arxiv",
  "oasst1",
  "text",
];

/** A list of messages under another name than `messages`. */
function isShareGpt(row: JsonObject): boolean {
  const column = messagesColumn(row);
  if (column === undefined || column === "messages") return false;
  if (column === "conversations") return true;
  const [first] = asList(row[column]) ?? [];
  return isJsonObject(first) && ["role", "from", "speaker"].some((name) => name in first);
}

function isSaid(value: unknown): boolean {
  return Array.isArray(value) || ["string", "number", "boolean"].includes(typeof value);
}
