// The ready-made configs that come with Hone, the page's presets among them, and configs by path.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { UsageError, UserError } from "../base/error.ts";
import { nearestName } from "../base/nearest.ts";
import { PRESETS, presetText, type PresetName } from "../config-presets.ts";
import { findPublic } from "./package-files.ts";

export interface ReadyConfig {
  readonly name: string;
  /** The config's first line of comment. */
  readonly about: string;
  readonly text: string;
  /** Absent for the presets, which are no files. */
  readonly path?: string;
}

const ABOUT_PRESETS: Readonly<Record<PresetName, string>> = {
  quick: "A first look in minutes: few steps, short rows",
  balanced: "A good result in reasonable time",
  thorough: "Longer rows, more epochs, a larger adapter",
};

/** All ready-made configs: the presets, then those in files, by name. */
export function listConfigs(): readonly ReadyConfig[] {
  const presets = PRESETS.map((name) => {
    const about = ABOUT_PRESETS[name];
    return { name, about, text: presetText(name, about) };
  });
  const folder = findPublic("configs");
  if (folder === undefined) return presets;
  const files = readdirSync(folder)
    .filter((file) => file.endsWith(".yaml"))
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((file) => {
      const path = join(folder, file);
      const text = readFileSync(path, "utf8");
      const [first = ""] = text.split("\n", 1);
      return { name: basename(file, ".yaml"), about: first.replace(/^#\s*/, ""), text, path };
    });
  return [...presets, ...files];
}

/** The ready-made config of that name, or a refusal with the nearest one. */
export function findConfig(name: string): ReadyConfig {
  const configs = listConfigs();
  const found = configs.find((config) => config.name === name);
  if (found) return found;
  const nearest = nearestName(
    name,
    configs.map((config) => config.name),
  );
  throw new UsageError(
    `There is no ready-made config "${name}".`,
    nearest === undefined
      ? "Run hone list-cfg to see their names."
      : `The nearest is ${nearest}; hone list-cfg shows all.`,
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
  const { name, text, path = `the preset ${name}` } = findConfig(nameOrPath);
  return { text, place: path, stem: name };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UserError(
      `Could not read the config ${path}: ${error instanceof Error ? error.message : String(error)}.`,
      "Name a YAML file, or a .py file of XTuner.",
      { cause: error },
    );
  }
}
