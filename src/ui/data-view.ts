// What the Data screen shows of data, as plain values: guesses, runs of tokens, pages of a table.
import { createSignal, type Signal } from "solid-js";
import type {
  ColumnMapping,
  FunnelReport,
  Message,
  PreviewToken,
  StoredData,
} from "../services/api.ts";

const INPUTS = [
  "question",
  "prompt",
  "input",
  "instruction",
  "query",
  "user",
  "q",
  "问题",
  "提问",
  "输入",
  "指令",
];
const OUTPUTS = [
  "answer",
  "completion",
  "response",
  "output",
  "reply",
  "assistant",
  "a",
  "target",
  "回答",
  "答案",
  "输出",
  "回复",
];
const SYSTEMS = ["system", "system_prompt", "系统"];

/** Which columns are probably what, by their names; else the first two. */
export function guessMapping(columns: readonly string[]): ColumnMapping {
  const find = (names: readonly string[], not?: string) =>
    names
      .map((name) => columns.find((column) => column.toLowerCase() === name && column !== not))
      .find((column) => column !== undefined);
  const output =
    find(OUTPUTS) ?? columns.find((column) => column !== find(INPUTS) && column !== columns[0]);
  const input = find(INPUTS, output) ?? columns.find((column) => column !== output);
  const system = find(SYSTEMS);
  return { input: input ?? "", output: output ?? "", ...(system === undefined ? {} : { system }) };
}

/** Neighboring tokens of one kind. */
export interface TokenRun {
  readonly isTrained: boolean;
  readonly tokens: readonly PreviewToken[];
}

export function runsOf(tokens: readonly PreviewToken[]): TokenRun[] {
  const runs: { isTrained: boolean; tokens: PreviewToken[] }[] = [];
  for (const token of tokens) {
    const last = runs.at(-1);
    if (last?.isTrained === token.isTrained) last.tokens.push(token);
    else runs.push({ isTrained: token.isTrained, tokens: [token] });
  }
  return runs;
}

/** A token's text with its white space visible; a part of a character is a ring. */
export function visibleText(text: string): string {
  if (text === "") return "◌";
  return text
    .replaceAll(" ", "·")
    .replaceAll("\r", "␍")
    .replaceAll("\t", "→")
    .replaceAll("\n", "↵\n");
}

/** What becomes of rows, as numbers in the order in which it happens. */
export interface FunnelNumbers {
  readonly read: number;
  readonly broken: number;
  readonly empty: number;
  readonly unlabeled: number;
  readonly duplicates: number;
  readonly kept: number;
  readonly heldOut: number;
  readonly train: number;
  readonly rows: number;
  /** Of training rows, in %. */
  readonly filled: number;
  /** Of all tokens, in %. */
  readonly learned: number;
}

export function funnelNumbers(report: FunnelReport, sets: readonly StoredData[]): FunnelNumbers {
  const sum = (count: (data: StoredData) => number) =>
    sets.reduce((total, data) => total + count(data), 0);
  const broken = sum((data) => data.broken);
  const room = report.trainRows * report.maxLength;
  return {
    read: report.rowsRead + broken,
    broken: broken + report.droppedBroken,
    empty: report.droppedEmpty,
    unlabeled: report.droppedUnlabeled,
    duplicates: sum((data) => data.duplicates),
    kept: report.kept,
    heldOut: report.evaluationExamples,
    train: report.trainExamples,
    rows: report.trainRows,
    filled: room > 0 ? (100 * report.trainTokens) / room : 0,
    learned: report.tokens > 0 ? (100 * report.labelTokens) / report.tokens : 0,
  };
}

/** Items of a long list that come a page at a time, the last asked for first. */
export interface Pages<T> {
  /** The item, or undefined until its page is there. */
  at(index: number): T | undefined;
}

const PAGE_ITEMS = 50;
const KEPT_PAGES = 40;
const PAGES_AT_ONCE = 2;
/** Pages asked for while a finger draws the bar along, and no longer looked at, are not fetched. */
const WAITING_PAGES = 6;

export function createPages<T>(
  load: (start: number, count: number) => Promise<readonly T[]>,
): Pages<T> {
  const pages = new Map<number, Signal<readonly T[] | undefined>>();
  let waiting: number[] = [];
  let underWay = 0;

  const next = () => {
    const number = waiting.pop();
    if (number === undefined) return;
    underWay++;
    const fetchPage = async () => {
      try {
        const items = await load(number * PAGE_ITEMS, PAGE_ITEMS);
        pages.get(number)?.[1](() => items);
      } catch {
        pages.delete(number); // asked for again when it is next looked at
      }
      underWay--;
      next();
    };
    void fetchPage();
  };
  const want = (number: number): Signal<readonly T[] | undefined> => {
    const page = createSignal<readonly T[]>();
    pages.set(number, page);
    for (const oldest of pages.keys()) {
      if (pages.size <= KEPT_PAGES) break;
      pages.delete(oldest);
    }
    waiting.push(number);
    for (const dropped of waiting.slice(0, -WAITING_PAGES)) pages.delete(dropped);
    waiting = waiting.slice(-WAITING_PAGES);
    if (underWay < PAGES_AT_ONCE) next();
    return page;
  };
  return {
    at(index) {
      const number = Math.floor(index / PAGE_ITEMS);
      const [items] = pages.get(number) ?? want(number);
      return items()?.[index % PAGE_ITEMS];
    },
  };
}

/** An example as it is being written, in a store that changes in place. */
export interface WrittenExample {
  system: string;
  turns: { user: string; assistant: string }[];
}

/** The conversations written; undefined where a question has no answer or the other way round. */
export function writtenRows(examples: readonly WrittenExample[]): Message[][] | undefined {
  const rows: Message[][] = [];
  for (const { system, turns } of examples) {
    const written = turns.filter(({ user, assistant }) => `${user}${assistant}`.trim() !== "");
    if (written.some(({ user, assistant }) => user.trim() === "" || assistant.trim() === "")) {
      return undefined;
    }
    if (written.length === 0) continue;
    rows.push([
      ...(system.trim() === "" ? [] : [{ role: "system" as const, content: system }]),
      ...written.flatMap(({ user, assistant }) => [
        { role: "user" as const, content: user },
        { role: "assistant" as const, content: assistant },
      ]),
    ]);
  }
  return rows;
}

/** A row's fields as the messages that a mapping makes of them. */
export function mappedMessages(
  fields: readonly (readonly [column: string, text: string])[],
  { system, input, output }: ColumnMapping,
): Message[] {
  const texts = new Map(fields);
  const said = (role: Message["role"], column: string | undefined): Message[] => {
    const content = column === undefined ? "" : (texts.get(column) ?? "");
    return content === "" ? [] : [{ role, content }];
  };
  return [...said("system", system), ...said("user", input), ...said("assistant", output)];
}
