// The ready-made configs that come with Hone, the page's presets among them, and configs by path.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { UsageError, UserError } from "../base/error.ts";
import { nearestName } from "../base/nearest.ts";
import { PRESETS, presetText, type PresetName } from "../config/presets.ts";
import { zooEntries, zooText } from "../xtuner/zoo.ts";
import { findPublic } from "./package-files.ts";

export interface ReadyConfig {
  readonly name: string;
  /** In a few words; the first line of the file. */
  readonly about: string;
  /** Absent for those that are no files: the presets, and what is written when it is asked for. */
  readonly path?: string;
}

const ABOUT_PRESETS: Readonly<Record<PresetName, string>> = {
  quick: "A first look in minutes: few steps, short rows",
  balanced: "A good result in reasonable time",
  thorough: "Longer rows, more epochs, a larger adapter",
};

/** All ready-made configs: those that stand for themselves, and each model by each data set. */
export function listConfigs(): readonly ReadyConfig[] {
  return [...ownConfigs(), ...zooEntries()];
}

/** The presets, and those in files by name. */
export function ownConfigs(): readonly ReadyConfig[] {
  const presets = PRESETS.map((name) => ({ name, about: ABOUT_PRESETS[name] }));
  return [...presets, ...filesOfConfigs()];
}

function filesOfConfigs(): readonly (ReadyConfig & { readonly path: string })[] {
  const folder = findPublic("configs");
  if (folder === undefined) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith(".yaml"))
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((file) => {
      const path = join(folder, file);
      const [first = ""] = readFileSync(path, "utf8").split("\n", 1);
      return { name: basename(file, ".yaml"), about: first.replace(/^#\s*/, ""), path };
    });
}

export interface FoundConfig {
  readonly name: string;
  readonly text: string;
  readonly path?: string;
}

/** The ready-made config of that name, in small letters or great, or a refusal with the nearest one. */
export function findConfig(given: string): FoundConfig {
  const name = given.toLowerCase();
  const preset = PRESETS.find((known) => known === name);
  if (preset !== undefined) return { name, text: presetText(preset, ABOUT_PRESETS[preset]) };
  const path = filesOfConfigs().find((config) => config.name === name)?.path;
  if (path !== undefined) return { name, text: readFileSync(path, "utf8"), path };
  const text = zooText(name);
  if (text !== undefined) return { name, text };
  const isFull = name.includes("_full_");
  const names = listConfigs().map((config) => config.name);
  const nearest = nearestName(isFull ? name.replace("_full_", "_qlora_") : given, names);
  throw new UsageError(
    isFull
      ? `There is no ready-made config "${given}": Hone trains adapters, not all weights.`
      : `There is no ready-made config "${given}".`,
    nearest === undefined
      ? "Run hone list-cfg to see what their names are made of."
      : `The nearest is ${nearest}; hone list-cfg -p TEXT lists those with TEXT in their names.`,
  );
}

export interface ConfigText {
  readonly text: string;
  /** For messages. */
  readonly place: string;
  /** Names the work directory. */
  readonly stem: string;
}

/** The text of a config by path, or of a ready-made one by name. */
export function loadConfigText(nameOrPath: string): ConfigText {
  const isPath = existsSync(nameOrPath);
  const looksLikePath = /[/\\]|\.(ya?ml|py)$/.test(nameOrPath);
  if (!isPath && looksLikePath) {
    throw new UserError(
      `There is no config ${nameOrPath}.`,
      "Check the path, or copy a ready-made one with hone copy-cfg NAME FOLDER.",
    );
  }
  if (isPath) {
    const stem = basename(nameOrPath, extname(nameOrPath));
    return { text: readText(nameOrPath), place: nameOrPath, stem };
  }
  const { name, text, path } = findConfig(nameOrPath);
  const kind = PRESETS.some((preset) => preset === name) ? "preset" : "ready-made config";
  return { text, place: path ?? `the ${kind} ${name}`, stem: name };
}

function readText(path: string): string {
  if (statSync(path).isDirectory()) {
    throw new UserError(
      `${path} is a folder, not a config.`,
      "Name a YAML file, or a .py file of XTuner.",
    );
  }
  const bytes = readBytes(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new UserError(
      `${path} is not UTF-8 text.`,
      "Save it as UTF-8 in your editor: Chinese Windows often saves GBK, and PowerShell UTF-16.",
      { cause: error },
    );
  }
}

function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UserError(
      `Could not read the config ${path}: ${error instanceof Error ? error.message : String(error)}.`,
      "Name a YAML file, or a .py file of XTuner.",
      { cause: error },
    );
  }
}
