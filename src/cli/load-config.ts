// A config as any command takes it: a file or a ready-made one's name, with the settings of the command line.
import { basename, extname } from "node:path";
import { applySettings, readConfig } from "../config-read.ts";
import type { TrainConfig } from "../config.ts";
import { type ConfigNote, readXtunerConfig } from "../xtuner/read-xtuner-config.ts";
import { loadConfigText } from "./config-zoo.ts";

export interface ConfigChanges {
  /** Options of Hone's own: "lora.r=8". */
  readonly set?: readonly string[];
  /** XTuner's --cfg-options; on a YAML config the same as `set`. */
  readonly cfgOptions?: readonly string[];
}

export interface LoadedConfig {
  readonly config: TrainConfig;
  /** The file as it was written, and its name; a run keeps it under compat. */
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
  const loaded = { source: { name, text }, place, stem };
  if (extension !== ".py") {
    return { ...loaded, config: readConfig(text, place, [...cfgOptions, ...set]), notes: [] };
  }
  const { config, notes } = readXtunerConfig(text, place, { cfgOptions });
  return { ...loaded, config: set.length > 0 ? applySettings(config, set) : config, notes };
}
