// A config as any command takes it: a file or a ready-made one's name, with the settings of the command line.
import { basename, extname } from "node:path";
import { UsageError } from "../base/error.ts";
import { applySettings, readConfig } from "../config/read.ts";
import type { TrainConfig } from "../config.ts";
import { type ConfigNote, readXtunerConfig } from "../xtuner/read-xtuner-config.ts";
import { iterationsToSteps } from "./config-counts.ts";
import { loadConfigText } from "./config-zoo.ts";

export interface ConfigChanges {
  /** Options of Hone's own: "lora.r=8". */
  readonly set?: readonly string[];
  /** XTuner's --cfg-options; on a YAML config the same as `set`. */
  readonly cfgOptions?: readonly string[];
}

export interface LoadedConfig {
  readonly config: TrainConfig;
  /** The file, and at its end what the command line changed, with its name; a run keeps it under compat. */
  readonly source: { readonly name: string; readonly text: string };
  /** For messages. */
  readonly place: string;
  /** Names the work directory: the file's name without its extension. */
  readonly stem: string;
  /** What its reader should know; nothing that keeps it from running. */
  readonly notes: readonly ConfigNote[];
}

/** The config of that path, or the ready-made one of that name, changed as the command line says. */
export function loadConfig(nameOrPath: string, changes: ConfigChanges = {}): LoadedConfig {
  const { text, place, stem } = loadConfigText(nameOrPath);
  const { set = [], cfgOptions = [] } = changes;
  const extension = extname(place);
  const name = [".py", ".yaml", ".yml"].includes(extension) ? basename(place) : `${stem}.yaml`;
  const loaded = { place, stem };
  if (extension !== ".py") {
    const all = [...cfgOptions, ...set];
    const source = { name, text: withChanges(text, all.map(settingWords)) };
    return { ...loaded, source, config: readConfig(text, place, all), notes: [] };
  }
  const { config, notes, changes: own } = readXtunerConfig(text, place, { cfgOptions });
  const placed: string[] = [];
  const lines: string[] = [];
  let assignments = own;
  for (const setting of set) {
    const at = placeOf(setting);
    try {
      if (at === undefined) throw new UsageError("No place.", "Say it in a comment.");
      const options = [...cfgOptions, ...placed, at];
      assignments = readXtunerConfig(text, place, { cfgOptions: options }).changes;
      placed.push(at);
    } catch (error) {
      // A None in the way, as in randomness = None, takes nothing inside it either.
      if (!(error instanceof UsageError)) throw error;
      lines.push(settingWords(setting));
    }
  }
  const source = { name, text: withChanges(text, [...assignments, ...lines]) };
  const changed = iterationsToSteps(set.length > 0 ? applySettings(config, set) : config, set);
  return { ...loaded, source, config: changed.config, notes: [...notes, ...changed.notes] };
}

/** The text with what the command line changed at its end: Python's lines, or comments. */
function withChanges(text: string, lines: readonly string[]): string {
  if (lines.length === 0) return text;
  const end = text === "" || text.endsWith("\n") ? "" : "\n";
  return `${text}${end}\n# Changed on the command line:\n${lines.join("\n")}\n`;
}

function settingWords(setting: string): string {
  return `# --set ${JSON.stringify(setting)}: config.yaml has it`;
}

/** Where XTuner's structure has an option of Hone's, for those that are numbers in both. */
const PLACES: Readonly<Record<string, string | undefined>> = {
  seed: "randomness.seed",
  "lora.r": "model.lora.r",
  "lora.lora_alpha": "model.lora.lora_alpha",
  "lora.lora_dropout": "model.lora.lora_dropout",
  lr: "optim_wrapper.optimizer.lr",
  batch_size: "train_dataloader.batch_size",
  accumulative_counts: "optim_wrapper.accumulative_counts",
};

/** "lora.r=8" → "model.lora.r=8"; undefined where the file has no such place. */
function placeOf(setting: string): string | undefined {
  const [, option = "", value = ""] = /^([\w.]+)=(\d+(?:\.\d+)?(?:e-?\d+)?)$/.exec(setting) ?? [];
  const place = Object.hasOwn(PLACES, option) ? PLACES[option] : undefined;
  return place && `${place}=${value}`;
}
