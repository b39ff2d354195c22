// The flags of every command that takes a config, and the words about what was read.
import type { Command } from "commander";
import type { DatasetRequest } from "../engine/datasets/dataset-view.ts";
import type { Output } from "./output.ts";
import { type ConfigChanges, loadConfig, type LoadedConfig } from "./load-config.ts";
import { formatsOfFiles, openData, openModel } from "./paths.ts";

/** The argument `<config>` with --set and --cfg-options. */
export function takesConfig(command: Command): Command {
  return command
    .argument("<config>", "a YAML or XTuner .py file, or the name of a ready-made config")
    .option("--set <key=value...>", "change options of the config, as in --set max_length=512")
    .option("--cfg-options <key=value...>", "the same in XTuner's words");
}

/** Loads a config and says what its reader should know of it. */
export function openConfig(output: Output, name: string, changes: ConfigChanges): LoadedConfig {
  const loaded = loadConfig(name, changes);
  const { yellow } = output.paint;
  for (const { severity, text } of loaded.notes) {
    output.say(severity === "warning" ? `${yellow("Warning:")} ${text}` : text);
    output.emit("note", { severity, text });
  }
  return loaded;
}

/** The data set of a config, with its model for the tokenizer. */
export async function openDataset(
  output: Output,
  name: string,
  changes: ConfigChanges,
): Promise<DatasetRequest & Pick<LoadedConfig, "notes">> {
  const { config, notes } = openConfig(output, name, changes);
  const files = await openData(config.data, config.split, output);
  const formats = { dataset_format: formatsOfFiles(config.dataset_format, files) };
  return {
    config: { ...config, ...formats },
    model: await openModel(config.model, output),
    data: files.flat(),
    notes,
  };
}
