// A config as any command takes it: a file or a ready-made one's name, with the settings of the command line.
import { basename, extname } from "node:path";
import { readConfig } from "../config-read.ts";
import type { TrainConfig } from "../config.ts";
import { loadConfigText } from "./config-zoo.ts";

export interface ConfigChanges {
  /** Options of Hone's own: "lora.r=8". */
  readonly set?: readonly string[];
  /** XTuner's --cfg-options; on a YAML config the same as `set`. */
  readonly cfgOptions?: readonly string[];
}

/** Something about a config that its reader should know; nothing that keeps it from running. */
export interface ConfigNote {
  readonly severity: "warning" | "info";
  readonly text: string;
}

export interface LoadedConfig {
  readonly config: TrainConfig;
  /** The file as it was written, and its name; a run keeps it under compat. */
  readonly source: { readonly name: string; readonly text: string };
  /** For messages. */
  readonly place: string;
  /** Names the work directory: the file's name without its extension. */
  readonly stem: string;
  readonly notes: readonly ConfigNote[];
}

/** The config of that path, or the ready-made one of that name, changed as the command line says. */
export function loadConfig(nameOrPath: string, changes: ConfigChanges = {}): LoadedConfig {
  const { text, place, stem } = loadConfigText(nameOrPath);
  const { set = [], cfgOptions = [] } = changes;
  const config = readConfig(text, place, [...cfgOptions, ...set]);
  const name = extname(place) === "" ? `${stem}.yaml` : basename(place);
  return { config, source: { name, text }, place, stem, notes: [] };
}
