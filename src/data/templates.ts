// Prompt templates: a conversation in standard form to one with the whole prompt in each input.
// Values are put in by plain replacement in one pass, so braces in people's text mean nothing.
import { UserError } from "../base/error.ts";
import { type Conversation, type Turn, usesTools } from "./conversation.ts";
import { NO_TEMPLATE, PROMPT_TEMPLATES, type PromptTemplate } from "./template-table.ts";

/** The template of that name, or a refusal that lists all names. "none" writes nothing around texts. */
export function promptTemplate(name: string): PromptTemplate {
  if (name === "none") return NO_TEMPLATE;
  if (Object.hasOwn(PROMPT_TEMPLATES, name)) {
    return PROMPT_TEMPLATES[name as keyof typeof PROMPT_TEMPLATES];
  }
  throw new UserError(
    `There is no prompt template "${name}".`,
    `Use one of: ${Object.keys(PROMPT_TEMPLATES).join(", ")}, or none.`,
  );
}

/**
 * XTuner's `template_map_fn`: system + instruction in `input`, the suffix after `output`. Without a template, what
 * turns say of their ends holds, and a system text stands right before its input. Refuses tools.
 */
export function applyTemplate(conversation: Conversation, template: PromptTemplate): Turn[] {
  if (usesTools(conversation)) throw noPlaceForTools();
  return conversation.map((turn, i) => {
    if (turn.isRaw === true || turn.isText === true) return turn;
    const values = { system: turn.system, input: turn.input, round: i + 1 };
    const input = renderPrompt(template, values);
    if (template === NO_TEMPLATE) return { ...turn, input };
    return {
      ...turn,
      input,
      output: turn.output + (template.suffix ?? ""),
      needEosToken: template.suffixAsEos !== true,
      sep: template.sep ?? "",
    };
  });
}

function noPlaceForTools(): UserError {
  return new UserError(
    "The conversation has tools in it, and the prompt template has no place for them.",
    "Use the model's own chat template (prompt_template: auto) where it knows tools, or remove them.",
  );
}

/** The text before an answer: the system text, where there is one, and the instruction. */
export function renderPrompt(
  template: PromptTemplate,
  values: { system?: string | undefined; input: string; round: number },
): string {
  const { system, input, round } = values;
  const instruction = fill(template.instruction, { input, round: String(round) });
  if (system === undefined || system === "") return instruction;
  if (template.system === undefined) {
    throw new UserError(
      "The prompt template has no place for a system message, and the data has one.",
      "Remove the system messages, or choose another prompt template.",
    );
  }
  return fill(template.system, { system }) + instruction;
}

function fill(template: string, values: Readonly<Record<string, string>>): string {
  return template.replaceAll(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}
