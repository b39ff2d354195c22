// A config as values by path ("lora.r"), for what changes and compares single options: presets and the form.
//
// Reading and writing YAML is config/read.ts's, which carries a parser; this carries nothing.
import { ALL_OPTIONS, type TrainConfig } from "../config.ts";

/** "lr", "lora.r", …: every path of the table. */
export type OptionPath = PathsOf<TrainConfig>;

type PathsOf<T> = {
  [Key in keyof T & string]: T[Key] extends string | number | boolean | readonly unknown[]
    ? Key
    : `${Key}.${PathsOf<T[Key]>}`;
}[keyof T & string];

export type ConfigValues = ReadonlyMap<string, unknown>;

/** All values of a config, in the table's order. */
export function valuesOf(config: TrainConfig): Map<string, unknown> {
  return new Map(
    ALL_OPTIONS.map(({ path, option }) => {
      // A config that an earlier release wrote may lack an option: it means the default.
      return [path, valueAt(config, path) ?? option.default];
    }),
  );
}

/** The config with these values, and defaults for the rest. The values must be ones that their options take. */
export function configOf(values: ConfigValues): TrainConfig {
  const config: Record<string, unknown> = {};
  for (const { path, option } of ALL_OPTIONS) {
    const value = values.get(path) ?? option.default;
    const [section = "", key] = path.split(".", 2);
    if (key === undefined) config[section] = value;
    else config[section] = { ...(config[section] as object | undefined), [key]: value };
  }
  // Every path of the table now holds a value.
  return config as unknown as TrainConfig;
}

/** One option whose value is not what it is compared with. */
export interface ChangedValue {
  readonly path: string;
  readonly value: unknown;
  readonly before: unknown;
}

/** The options in which `values` differ from `before`, in the table's order. */
export function changedValues(values: ConfigValues, before: ConfigValues): ChangedValue[] {
  return ALL_OPTIONS.map(({ path }) => ({
    path,
    value: values.get(path),
    before: before.get(path),
  })).filter((changed) => !isSameValue(changed.value, changed.before));
}

/** Values of options are texts, numbers, flags, and lists of them. */
export function isSameValue(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** "lora.r=8", as `--set` reads it back to the same value. */
export function formatSetting(path: string, value: unknown): string {
  // A list as JSON, which is YAML too: no comma or colon in its texts is taken for anything else.
  return `${path}=${Array.isArray(value) ? JSON.stringify(value) : String(value)}`;
}

/** "hone train quick --set model=seedling …": one setting a line, to be pasted into a POSIX shell. */
export function formatTrainCommand(config: string, settings: readonly string[]): string {
  const words = settings.map((setting) => `  ${quoteForShell(setting)}`);
  return [`hone train ${quoteForShell(config)}${words.length > 0 ? " --set" : ""}`, ...words].join(
    " \\\n",
  );
}

function quoteForShell(word: string): string {
  return /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

function valueAt(config: TrainConfig, path: string): unknown {
  let value: unknown = config;
  for (const key of path.split(".")) {
    value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  }
  return value;
}
