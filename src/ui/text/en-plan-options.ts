// English: the options of a run. The table in config.ts has the words; here they are only arranged.
import type { Group, Option } from "../../config/option.ts";
import type { OptionPath } from "../../config/values.ts";
import { ALL_OPTIONS } from "../../config.ts";

export interface OptionWords {
  readonly label: string;
  /** A phrase without a full stop. */
  readonly help: string;
}

// Every path is in the table that the type is made from.
const words = Object.fromEntries(
  ALL_OPTIONS.map(({ path, option: { label, help } }) => [path, { label, help }]),
) as Readonly<Record<OptionPath, OptionWords>>;

const groups: Readonly<Record<Group, string>> = {
  model: "Model",
  data: "Data",
  training: "Training",
  lora: "Adapter (LoRA)",
  memory: "Memory",
  output: "Checkpoints and evaluation",
};

export const enOptions = {
  words,
  groups,
  unit: (unit: string): string => unit,
  /** What an option takes, as the end of a sentence. */
  takes: (option: Option): string => option.takes,
};
