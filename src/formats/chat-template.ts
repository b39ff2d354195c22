// Jinja chat templates, as models carry them, rendered to text.
// The template comes from a model folder, so it is data that may be hostile: it gets only the globals
// below, its loops over `range` have a budget, and its size and output are capped.
import { parse, tokenize } from "@huggingface/jinja";
import { messageOf, UserError } from "../base/error.ts";
import { formatCount } from "../base/format.ts";
import { type Node, renderProgram } from "./jinja-interpreter.ts";
import { type Callable, toText, toValue, type Value } from "./jinja-values.ts";
import { isSpace } from "./white-space.ts";

export interface ChatMessage {
  role: string;
  content: string;
  /** What else a template may look at: `tool_calls`, `tool_call_id`, `reasoning_content`, … */
  [field: string]: unknown;
}

export interface ChatTemplateOptions {
  bosToken?: string | undefined;
  eosToken?: string | undefined;
  /** Ends the text with the start of an assistant's turn. */
  addGenerationPrompt: boolean;
  /** JSON schemas of functions that the model may call. */
  tools?: readonly unknown[] | undefined;
  /** Further names for the template, such as `enable_thinking`. */
  variables?: Readonly<Record<string, unknown>> | undefined;
  /** What `strftime_now` says. A fixed day by default, so that data renders the same tomorrow. */
  date?: Date;
}

export interface ChatTemplate {
  render(messages: readonly ChatMessage[], options: ChatTemplateOptions): string;
}

const TEMPLATE_LIMIT_CHARS = 256 * 1024;
const OUTPUT_LIMIT_CHARS = 16 * 1024 * 1024;
const WHITE_SPACE_LIMIT = 1000;
const RANGE_BUDGET = 100_000;

/** The day that Meta's templates fall back to where no clock is offered. */
const FIXED_DATE = new Date(Date.UTC(2024, 6, 26));

class TemplateRefusal extends Error {}

/** Parses a template once, to render many conversations. */
export function compileChatTemplate(source: string): ChatTemplate {
  if (source.length > TEMPLATE_LIMIT_CHARS) {
    throw new UserError(
      `The chat template has ${formatCount(source.length)} characters; the limit is ${formatCount(TEMPLATE_LIMIT_CHARS)}.`,
      "Choose one of the named prompt templates instead.",
    );
  }
  refuseWhiteSpace(source);
  let program: Node;
  try {
    // Python's Jinja reads any line end as "\n".
    const lines = source.replaceAll(/\r\n?/g, "\n");
    const tokens = tokenize(lines, { lstrip_blocks: true, trim_blocks: true });
    program = parse(tokens) as unknown as Node;
  } catch (error) {
    throw new UserError(
      `The model's chat template is not Jinja that can be read: ${messageOf(error)}.`,
      "Choose one of the named prompt templates instead.",
      { cause: error },
    );
  }
  return {
    render(messages, options) {
      let text: string;
      try {
        text = renderProgram(program, globalsOf(messages, options));
      } catch (error) {
        throw explain(error);
      }
      if (text.length > OUTPUT_LIMIT_CHARS) {
        throw new UserError(
          `The chat template wrote ${formatCount(text.length)} characters; the limit is ${formatCount(OUTPUT_LIMIT_CHARS)}.`,
          "Shorten the conversation or choose one of the named prompt templates.",
        );
      }
      return text;
    },
  };
}

/** The lexer looks for a tag from every place of a run of white space to its end. */
function refuseWhiteSpace(source: string): void {
  let run = 0;
  for (let i = 0; i < source.length; i++) {
    run = isSpace(source.charCodeAt(i)) || source[i] === "\uFEFF" ? run + 1 : 0;
    if (run <= WHITE_SPACE_LIMIT) continue;
    throw new UserError(
      `The chat template has more than ${formatCount(WHITE_SPACE_LIMIT)} characters of white space in a row.`,
      "Choose one of the named prompt templates instead.",
    );
  }
}

/** The names that transformers gives a template, so that `is defined` says the same. */
function globalsOf(
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
): Record<string, Value> {
  let rangeLeft = RANGE_BUDGET;
  const range: Callable = (args) => {
    const [first, last, by] = args.map((value) => Number(value));
    const [start, stop, step] =
      last === undefined ? [0, first ?? 0, 1] : [first ?? 0, last, by ?? 1];
    const count = Math.max(0, Math.ceil((stop - start) / step));
    if (!(count <= rangeLeft)) {
      throw new TemplateRefusal(`its loops pass ${formatCount(RANGE_BUDGET)} rounds`);
    }
    rangeLeft -= count;
    return Array.from({ length: count }, (_, i) => start + i * step);
  };
  return {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    raise_exception: ([reason]) => {
      throw new TemplateRefusal(toText(reason));
    },
    range,
    strftime_now: ([format]) => formatDate(options.date ?? FIXED_DATE, toText(format)),
    messages: messages.map(toValue),
    tools: toValue(options.tools ?? null),
    documents: null,
    add_generation_prompt: options.addGenerationPrompt,
    ...(options.bosToken === undefined ? {} : { bos_token: options.bosToken }),
    ...(options.eosToken === undefined ? {} : { eos_token: options.eosToken }),
    ...Object.fromEntries(
      Object.entries(options.variables ?? {}).map(([name, value]) => [name, toValue(value)]),
    ),
  };
}

function explain(error: unknown): UserError {
  if (error instanceof TemplateRefusal) {
    return new UserError(
      `The model's chat template refuses this conversation: ${error.message}.`,
      "Change the conversation's roles to what the model expects, or choose a named prompt template.",
    );
  }
  return new UserError(
    `The model's chat template cannot be rendered: ${messageOf(error)}.`,
    "Choose one of the named prompt templates instead.",
    { cause: error },
  );
}

const MONTHS =
  "January February March April May June July August September October November December".split(
    " ",
  );
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** The directives that chat templates use, in English and UTC. */
function formatDate(date: Date, format: string): string {
  const month = MONTHS[date.getUTCMonth()] ?? "";
  const day = DAYS[date.getUTCDay()] ?? "";
  const directives: Record<string, () => string> = {
    Y: () => String(date.getUTCFullYear()),
    m: () => two(date.getUTCMonth() + 1),
    d: () => two(date.getUTCDate()),
    B: () => month,
    b: () => month.slice(0, 3),
    A: () => day,
    a: () => day.slice(0, 3),
    H: () => two(date.getUTCHours()),
    M: () => two(date.getUTCMinutes()),
    S: () => two(date.getUTCSeconds()),
    y: () => two(date.getUTCFullYear() % 100),
    I: () => two(date.getUTCHours() % 12 || 12),
    p: () => (date.getUTCHours() < 12 ? "AM" : "PM"),
    j: () => String(dayOfYear(date)).padStart(3, "0"),
  };
  return format.replaceAll(/%([A-Za-z%])/g, (whole, letter: string) =>
    letter === "%" ? "%" : (directives[letter]?.() ?? whole),
  );
}

function dayOfYear(date: Date): number {
  return Math.round((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 0)) / 86_400_000 - 0.5);
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
