// Where a chat template writes a conversation's answers.
// The template is a program, so it is asked: rendered once more with a mark in place of each answer, it shows
// what it writes around them; rendered up to a question, it shows where the model takes over.
import { trimEnd, trimStart } from "../formats/white-space.ts";
import { UserError } from "../base/error.ts";
import { isJsonObject, type JsonObject } from "../formats/json.ts";
import type { ChatMessage, ChatTemplate, ChatTemplateOptions } from "../formats/chat-template.ts";

/** A conversation's text, and in it each answer of the assistant. Positions are UTF-16 units. */
export interface RenderedAnswers {
  text: string;
  answers: Answer[];
}

export interface Answer {
  /** Where the prompt ends and the model takes over. */
  start: number;
  /** Where the answer's own words end; undefined where the template did something to them. */
  wordsEnd: number | undefined;
  /** Where all that the answer added to the text ends. */
  findEnd: () => number;
}

interface Stretch {
  start: number;
  end: number;
}

type Options = Omit<ChatTemplateOptions, "addGenerationPrompt">;

/** Renders `messages` and finds the answers in the text. */
export function renderAnswers(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  options: Options,
): RenderedAnswers {
  const render = (list: readonly ChatMessage[], addGenerationPrompt: boolean) =>
    template.render(list, { ...options, addGenerationPrompt });
  const subjects = messages.flatMap((message, i) =>
    message.role === "assistant" ? [subjectOf(message, i)] : [],
  );
  const indices = subjects.map(({ index }) => index);
  const marked = [...messages];
  for (const { index, marked: message } of subjects) marked[index] = message;
  const text = render(messages, false);
  const skeleton = splitAtMarks(render(marked, false), subjects);
  const contents = subjects.map(({ words }) => words);
  const words = skeleton && matchSkeleton(text, skeleton, contents);
  if (skeleton === undefined || words === undefined)
    return { text, answers: answersByPrefix(text, messages, indices, render) };
  const answers = words.map(({ start, end }, k): Answer => {
    const { index = 0, mark = "", isCall = false } = subjects[k] ?? {};
    const before = skeleton[k] ?? "";
    const written = joinMarked(skeleton.slice(0, k + 1), subjects);
    const lead = () => {
      // Nothing was asked: what stands before the answer is the prompt. Templates may want a message.
      if (index === 0) return 0;
      const prompt = render(marked.slice(0, index), true);
      return written.startsWith(prompt)
        ? written.length - prompt.length
        : before.length - endOfPrompt(before, prompt);
    };
    return {
      start: start - Math.min(lead(), before.length),
      wordsEnd: isCall ? undefined : end,
      findEnd: () => {
        const whole = render(marked.slice(0, index + 1), false);
        const [, added = ""] = whole.split(mark);
        return skeleton[k + 1]?.startsWith(added) === true ? end + added.length : end;
      },
    };
  });
  return { text, answers };
}

/** An answer and the mark that stands for it: for its words, or for the name of the first tool that it calls. */
interface Subject {
  readonly index: number;
  readonly mark: string;
  /** The message with the mark in it. */
  readonly marked: ChatMessage;
  /** What the mark stands for. */
  readonly words: string;
  readonly isCall: boolean;
}

function subjectOf(message: ChatMessage, index: number): Subject {
  const calls = message["tool_calls"];
  const [first, ...rest] = Array.isArray(calls) ? (calls as readonly JsonObject[]) : [];
  const called = first?.["function"];
  if (!isJsonObject(called) || typeof called["name"] !== "string") {
    const { thinking, words } = splitThinking(message.content);
    const mark = markOf(index);
    return { index, mark, marked: { ...message, content: thinking + mark }, words, isCall: false };
  }
  // Letters alone: a name is written as JSON, as Python's repr or as it is.
  const mark = `zqcall${index}of8f1c`;
  const renamed = { ...first, function: { ...called, name: mark } };
  const marked = { ...message, tool_calls: [renamed, ...rest] };
  return { index, mark, marked, words: called["name"], isCall: true };
}

/** Texts with the marks between them again. */
function joinMarked(parts: readonly string[], subjects: readonly Subject[]): string {
  return parts.map((part, i) => (i === 0 ? part : (subjects[i - 1]?.mark ?? "") + part)).join("");
}

/** Templates of models that think out loud treat the thoughts apart, so those stay as they are. */
function splitThinking(content: string): { thinking: string; words: string } {
  const [thinking = ""] = /^.*<\/think>\s*/s.exec(content) ?? [];
  return { thinking, words: content.slice(thinking.length) };
}

/** A text of the private use area, which no template changes and no conversation holds. */
function markOf(index: number): string {
  return `\u{F8FF}\u{E0F1}${index}\u{E0F2}\u{F8FF}`;
}

/** The text before, between and after the marks; undefined where a call is written several times. */
function splitAtMarks(text: string, subjects: readonly Subject[]): string[] | undefined {
  const parts: string[] = [];
  let rest = text;
  for (const { index, mark, isCall } of subjects) {
    const [before, ...after] = rest.split(mark);
    if (isCall && after.length > 1) return undefined;
    if (after.length !== 1) throw notOnce(index, isCall, after.length);
    parts.push(before ?? "");
    rest = after[0] ?? "";
  }
  return [...parts, rest];
}

function notOnce(index: number, isCall: boolean, times: number): UserError {
  if (isCall) {
    return new UserError(
      `The model's chat template writes nothing of the calls of tools that message ${index + 1} makes.`,
      "Use a model whose template knows tools, or remove them from the data.",
    );
  }
  return new UserError(
    `The model's chat template writes message ${index + 1}, an answer, ${times === 0 ? "not at all" : `${times} times`}. So it cannot be told which tokens are the answer.`,
    "Choose one of the named prompt templates instead.",
  );
}

/** Where each content lies in `text`, as it is or trimmed; undefined if the template did more to one. */
function matchSkeleton(
  text: string,
  skeleton: readonly string[],
  contents: readonly string[],
): Stretch[] | undefined {
  const found: Stretch[] = [];
  let at = 0;
  if (!text.startsWith(skeleton[0] ?? "")) return undefined;
  at += (skeleton[0] ?? "").length;
  for (const [k, content] of contents.entries()) {
    const after = skeleton[k + 1] ?? "";
    const isLast = k === contents.length - 1;
    const written = formsOf(content).find((form) =>
      isLast ? text.slice(at) === form + after : text.startsWith(form + after, at),
    );
    if (written === undefined) return undefined;
    found.push({ start: at, end: at + written.length });
    at += written.length + after.length;
  }
  return at === text.length ? found : undefined;
}

const isLineEnd = (unit: number) => unit === 0x0a;

/** What templates do to contents: nothing, or strip white space or line ends from either end. */
function formsOf(content: string): string[] {
  const lines = trimStart(content, isLineEnd);
  const left = trimStart(content);
  return [content, trimEnd(left), left, trimEnd(content), lines, trimEnd(lines, isLineEnd)];
}

/**
 * How much of `before`, the text that leads to an answer, is the prompt, where the prompt by itself begins
 * differently: as much as leaves the most that both end with.
 */
function endOfPrompt(before: string, prompt: string): number {
  let best = before.length;
  let most = 0;
  for (let end = before.length; end > 0; end--) {
    let same = 0;
    while (same < end && before[end - 1 - same] === prompt[prompt.length - 1 - same]) same++;
    if (same > most) {
      most = same;
      best = end;
    }
  }
  return best;
}

/** An answer is what a longer conversation's text gains: right where earlier text never changes. */
function answersByPrefix(
  text: string,
  messages: readonly ChatMessage[],
  indices: readonly number[],
  render: (list: readonly ChatMessage[], addGenerationPrompt: boolean) => string,
): Answer[] {
  return indices.map((index) => {
    const prompt = render(messages.slice(0, index), true);
    const whole = render(messages.slice(0, index + 1), false);
    for (const part of [prompt, whole]) {
      if (!text.startsWith(part)) throw unstable(part, text, index + 1);
    }
    return { start: prompt.length, wordsEnd: undefined, findEnd: () => whole.length };
  });
}

function unstable(before: string, after: string, messages: number): UserError {
  let same = 0;
  while (before[same] === after[same]) same++;
  const excerpt = (text: string) => JSON.stringify(text.slice(Math.max(0, same - 20), same + 20));
  return new UserError(
    `The model's chat template rewrites earlier text when message ${messages} is added: ${excerpt(before)} becomes ${excerpt(after)}. So it cannot be told which tokens are the answer.`,
    "Choose one of the named prompt templates instead.",
  );
}
