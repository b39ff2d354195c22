// What a config says about data, as the functions of data/ take it: for training, and for all who look on.
import { UserError } from "../../base/error.ts";
import type { TrainConfig } from "../../config.ts";
import type { EncodeDatasetOptions, PackOptions } from "../../data/dataset.ts";
import { type FieldNames, formatNamed, formatsNamed } from "../../data/formats.ts";
import type { Tokenizer } from "../../formats/tokenizer.ts";
import type { ChosenTemplate } from "../model-folder.ts";

/** How rows become examples. */
export function encodeOptionsOf(
  config: TrainConfig,
  tokenizer: Tokenizer,
  { template }: Pick<ChosenTemplate, "template">,
): EncodeDatasetOptions {
  return {
    tokenizer,
    template,
    system: config.system,
    maxLength: config.max_length,
    format: config.dataset_format.includes(",")
      ? formatsNamed(config.dataset_format, config.data.length)
      : formatNamed(config.dataset_format),
    fields: fieldNamesOf(config),
    mapAsXtuner: config.compat === "xtuner-0.1.17",
    maxRows: config.max_dataset_length < 0 ? undefined : config.max_dataset_length,
    seed: config.seed,
    inputIdsWithOutput: config.input_ids_with_output,
    continueTexts: config.compat === "none",
  };
}

/** An empty name is found by itself. */
function fieldNamesOf(config: TrainConfig): FieldNames {
  const { field_messages: messages, message_field_role: role } = config;
  const content = config.message_field_content;
  return {
    ...(messages === "" ? {} : { messages }),
    ...(role === "" ? {} : { role }),
    ...(content === "" ? {} : { content }),
  };
}

/** How examples become rows. */
export function packOptionsOf(config: TrainConfig): Required<PackOptions> {
  return {
    maxLength: config.max_length,
    pack: config.pack_to_max_length,
    seed: config.seed,
    shuffleBeforePack: config.shuffle_before_pack,
    asXtuner: config.compat === "xtuner-0.1.17",
    evalSplit: config.eval_split,
  };
}

/** Refuses what XTuner's check_cfg does: its variable-length attention takes one packed row at a time. */
export function refuseVarlenRows(config: TrainConfig): void {
  if (config.compat === "none" || !config.use_varlen_attn) return;
  const what = "use_varlen_attn is true under compat, where XTuner takes it";
  if (config.batch_size !== 1) {
    throw new UserError(
      `${what} with batch_size 1 only, and batch_size is ${config.batch_size}.`,
      "Set batch_size to 1 (and accumulative_counts higher), or use_varlen_attn to false.",
    );
  }
  if (config.pack_to_max_length) return;
  throw new UserError(
    `${what} with packed rows only, and pack_to_max_length is false.`,
    "Set pack_to_max_length to true, or use_varlen_attn to false.",
  );
}

/** Refuses to train on questions without answers. */
export function refusePromptsOnly(config: TrainConfig): void {
  if (config.input_ids_with_output) return;
  throw new UserError(
    "input_ids_with_output is false, so no answer is in the tokens and nothing can be learned from them.",
    "Set it to true, or use the config to look at data only.",
  );
}
