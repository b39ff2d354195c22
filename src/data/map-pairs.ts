// Questions and answers under whatever names people give their columns, with a system text or a context beside.
// Nothing is put into the prompt that is not in the file.
import { isJsonObject, type JsonObject } from "../formats/json.ts";
import type { Turn } from "./conversation.ts";
import type { RowReader } from "./map-row.ts";

/** The more telling first. Compared without regard to case. */
const QUESTIONS =
  "question query instruction prompt problem user human input inputs source q questions 问题 提问 指令 输入";
const ANSWERS =
  "answer response output completion solution assistant reply target targets gpt bot a answers responses 回答 答案 回复 输出";
const SYSTEMS = "system system_prompt system_message";
const CONTEXTS = "context input passage background 上下文";

const split = (names: string): readonly string[] => names.split(" ");
const TABLE = {
  question: split(QUESTIONS),
  answer: split(ANSWERS),
  system: split(SYSTEMS),
  context: split(CONTEXTS),
};

/** Columns as the row spells them. */
export interface PairColumns {
  readonly question: string;
  readonly answer: string;
  readonly system?: string;
  readonly context?: string;
}

/** Which columns of a row ask and which answers, or undefined. */
export function pairColumns(row: JsonObject): PairColumns | undefined {
  const spelled = new Map(Object.keys(row).map((key) => [key.trim().toLowerCase(), key]));
  const find = (role: keyof typeof TABLE, other?: string) => {
    for (const name of TABLE[role]) {
      const key = spelled.get(name);
      if (key !== undefined && key !== other && isWords(row[key])) return key;
    }
    return undefined;
  };
  const answer = find("answer");
  const named = find("question", answer);
  const system = find("system");
  const context = find("context", named);
  // Counseling data has a context and a response, and nothing else.
  const question = named ?? context;
  if (question === undefined || answer === undefined) return undefined;
  return {
    question,
    answer,
    ...(system === undefined ? {} : { system }),
    ...(context === undefined || context === question ? {} : { context }),
  };
}

/** Whether a row has a system text or a context beside its question and answer. */
export function hasBeside(row: JsonObject): boolean {
  const beside = [...TABLE.system, ...TABLE.context].filter((name) => name !== "input");
  return Object.keys(row).some((key) => beside.includes(key.trim().toLowerCase()));
}

function isWords(value: unknown): boolean {
  return value === null || ["string", "number", "boolean"].includes(typeof value);
}

/** What a row has, for people. */
export function describePair(row: unknown): string {
  const columns = isJsonObject(row) ? pairColumns(row) : undefined;
  if (columns === undefined) return "a question and an answer";
  const { question, answer, ...beside } = columns;
  const also = Object.values(beside).map((column) => `"${column}"`);
  return `"${question}" and "${answer}"${also.length === 0 ? "" : `, with ${also.join(" and ")}`}`;
}

/** One question and its answer; a row without an answer has nothing to learn. */
export function mapPair(row: RowReader): Turn[] {
  const columns = pairColumns(row.value);
  if (columns === undefined) {
    const keys = Object.keys(row.value).slice(0, 30).join(", ") || "none";
    throw row.refuse(
      `no column of texts asks and none answers; its keys: ${keys}`,
      'Name the columns "question" and "answer".',
    );
  }
  const { question, answer, system, context } = columns;
  const output = row.words(answer);
  if (output.trim() === "") return [];
  const asked = row.words(question);
  const beside = context === undefined ? "" : row.words(context);
  return [
    {
      ...(system === undefined ? {} : { system: row.words(system) }),
      input: withContext(asked, beside, question),
      output,
    },
  ];
}

/** An instruction stands before what it is about, a question after what it asks about. */
function withContext(asked: string, context: string, column: string): string {
  if (context === "") return asked;
  const isInstruction = ["instruction", "prompt", "指令"].includes(column.trim().toLowerCase());
  return isInstruction ? `${asked}\n${context}` : `${context}\n${asked}`;
}
