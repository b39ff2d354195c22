// Jinja chat templates, as models carry them, rendered to text.
// The template comes from a model folder, so it is data that may be hostile: it gets only the globals
// below, its loops over `range` have a budget, and its size and output are capped.

import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { messageOf, UserError } from "../base/error.ts";
import { formatCount } from "../base/format.ts";

export interface ChatMessage {
  role: string;
  content: string;
}

export interface ChatTemplateOptions {
  bosToken?: string | undefined;
  eosToken?: string | undefined;
  /** Ends the text with the start of an assistant's turn. */
  addGenerationPrompt: boolean;
  /** What `strftime_now` says. A fixed day by default, so that data renders the same tomorrow. */
  date?: Date;
}

export interface ChatTemplate {
  render(messages: readonly ChatMessage[], options: ChatTemplateOptions): string;
}

const TEMPLATE_LIMIT_CHARS = 256 * 1024;
const OUTPUT_LIMIT_CHARS = 16 * 1024 * 1024;
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
  let program: ReturnType<typeof parse>;
  let names: Set<string>;
  try {
    const tokens = tokenize(source, { lstrip_blocks: true, trim_blocks: true });
    names = new Set(tokens.filter(({ type }) => type === "Identifier").map(({ value }) => value));
    program = parse(tokens);
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
        const environment = createEnvironment(messages, options);
        // Looking up a variable that is not declared costs the library an exception with its stack.
        for (const name of names) {
          if (!environment.variables.has(name)) environment.set(name, undefined);
        }
        const result = new Interpreter(environment).run(program);
        text = result.type === "StringValue" ? (result.value as string) : "";
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

/** Renders one conversation. To render many, compile once. */
export function renderChatTemplate(
  template: string,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
): string {
  return compileChatTemplate(template).render(messages, options);
}

function createEnvironment(
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
): Environment {
  let rangeLeft = RANGE_BUDGET;
  const globals = {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    raise_exception: (reason: unknown) => {
      throw new TemplateRefusal(String(reason));
    },
    range: (first: number, last?: number, step = 1) => {
      const [start, stop] = last === undefined ? [0, first] : [first, last];
      const count = Math.max(0, Math.ceil((stop - start) / step));
      if (!(count <= rangeLeft)) {
        throw new TemplateRefusal(`its loops pass ${formatCount(RANGE_BUDGET)} rounds`);
      }
      rangeLeft -= count;
      return Array.from({ length: count }, (_, i) => start + i * step);
    },
    strftime_now: (format: string) => formatDate(options.date ?? FIXED_DATE, format),
    messages: messages.map(({ role, content }) => ({ role, content })),
    bos_token: options.bosToken ?? "",
    eos_token: options.eosToken ?? "",
    add_generation_prompt: options.addGenerationPrompt,
  };
  const environment = new Environment();
  for (const [name, value] of Object.entries(globals)) environment.set(name, value);
  return environment;
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

/** The directives that chat templates use, in English and UTC. */
function formatDate(date: Date, format: string): string {
  const part = (options: Intl.DateTimeFormatOptions) =>
    date.toLocaleDateString("en-US", { ...options, timeZone: "UTC" });
  const directives: Record<string, () => string> = {
    Y: () => String(date.getUTCFullYear()),
    m: () => two(date.getUTCMonth() + 1),
    d: () => two(date.getUTCDate()),
    B: () => part({ month: "long" }),
    b: () => part({ month: "short" }),
    A: () => part({ weekday: "long" }),
    a: () => part({ weekday: "short" }),
    H: () => two(date.getUTCHours()),
    M: () => two(date.getUTCMinutes()),
    S: () => two(date.getUTCSeconds()),
  };
  return format.replaceAll(
    /%([A-Za-z])/g,
    (whole, letter: string) => directives[letter]?.() ?? whole,
  );
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
