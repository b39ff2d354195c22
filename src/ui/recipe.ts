// What follows from a recipe alone: its values over a preset's, its command line, and what is known of model and data.
import { type PresetFacts, presetFor, type PresetName } from "../config/presets.ts";
import {
  changedValues,
  configOf,
  type ConfigValues,
  formatSetting,
  formatTrainCommand,
  valuesOf,
} from "../config/values.ts";
import type { TrainConfig } from "../config.ts";
import type { StoredData, StoredModel } from "../services/api.ts";

/** Set from what is chosen elsewhere when a run is made; here they are only shown. */
export const SET_BY_THE_PAGE: ReadonlySet<string> = new Set([
  "model",
  "data",
  "work_dir",
  "load_from",
  "split",
  "field_messages",
  "message_field_role",
  "message_field_content",
  "test_data",
]);

/** All values of a preset: its settings over the table's defaults. */
export function presetValues(name: PresetName, facts: PresetFacts = {}): Map<string, unknown> {
  return valuesOf(configOf(new Map<string, unknown>(presetFor(name, facts))));
}

/** The command that trains the same in a terminal: the preset by name, and what differs from it there. */
export function commandOf(name: PresetName, config: TrainConfig): string {
  const settings = changedValues(valuesOf(config), presetValues(name)).map(({ path, value }) =>
    path === "data" && isOneName(value) ? `data=${value[0]}` : formatSetting(path, value),
  );
  return formatTrainCommand(name, settings);
}

/** A list of one text that cannot be taken for a list itself. */
function isOneName(value: unknown): value is readonly [string] {
  return Array.isArray(value) && value.length === 1 && !/^\s*\[/.test(String(value[0]));
}

// A token of English has four bytes, and one of Chinese three; field names and quotes are left over.
const BYTES_PER_TOKEN = 4;

/** What the presets look at. Tokens are guessed from bytes: nothing is encoded for it. */
export function factsOf(
  model: StoredModel | undefined,
  data: readonly StoredData[],
): PresetFacts & { readonly rows?: number } {
  const rows = data.reduce((sum, one) => sum + one.rows, 0);
  const bytes = data.reduce((sum, one) => sum + one.bytes, 0);
  return {
    ...(model?.facts && {
      parameters: model.facts.parameters,
      contextTokens: model.facts.contextTokens,
    }),
    ...(rows > 0 && {
      rows,
      tokensPerRow: Math.max(1, Math.round(bytes / rows / BYTES_PER_TOKEN)),
    }),
  };
}

/** The model as a command line can name it: the one that comes with Hone, or a folder of that name. */
export function modelArgument(model: StoredModel | undefined): string {
  if (!model) return "MODEL";
  if (model.origin.kind === "embedded") return "seedling";
  return model.name.split("/").at(-1) || model.id;
}

/** The data sets' files as the page saves them. */
export function dataArguments(data: readonly StoredData[]): readonly string[] {
  if (data.length === 0) return ["DATA.jsonl"];
  return data.map(({ name, id }) => {
    const own = name.trim() === "" ? id : name;
    return /\.(jsonl?|csv)$/i.test(own) ? own : `${own}.jsonl`;
  });
}

/** The config with the names of what was chosen in it. */
export function completeConfig(
  values: ConfigValues,
  model: StoredModel | undefined,
  data: readonly StoredData[],
): TrainConfig {
  return configOf(
    new Map([...values, ["model", modelArgument(model)], ["data", dataArguments(data)]]),
  );
}

const QUESTIONS = 3;
const QUESTION_CHARACTERS = 300;

/** Questions from all over these rows, none like another: what to ask the model as it learns. */
export function suggestQuestions(
  rows: readonly {
    readonly messages: readonly { readonly role: string; readonly content: string }[];
  }[],
): readonly string[] {
  const asked = rows
    .map(({ messages }) => messages.find(({ role }) => role === "user")?.content.trim() ?? "")
    .filter((text) => text !== "" && text.length <= QUESTION_CHARACTERS);
  // Questions that differ in case and punctuation only are one.
  const unlike = [...new Map(asked.toReversed().map((text) => [lettersOf(text), text])).values()];
  const inOrder = unlike.toReversed();
  const count = Math.min(QUESTIONS, inOrder.length);
  return inOrder.filter((_, index) =>
    Array.from({ length: count }, (_one, n) => Math.floor((n * inOrder.length) / count)).includes(
      index,
    ),
  );
}

function lettersOf(text: string): string {
  return text.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, "");
}
