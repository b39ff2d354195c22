// Configs as text and as plain objects: read, checked against the table, changed by settings, written.
//
// Every problem of a config is found before any is reported, with its line.
import {
  isCollection,
  isMap,
  isScalar,
  LineCounter,
  type Node,
  parse,
  parseDocument,
  stringify,
} from "yaml";
import { messageOf, UsageError } from "../base/error.ts";
import { nearestName } from "../base/nearest.ts";
import type { Option } from "./option.ts";
import { ALL_OPTIONS, type TrainConfig } from "../config.ts";

const BY_PATH: ReadonlyMap<string, Option> = new Map(
  ALL_OPTIONS.map(({ path, option }) => [path, option]),
);

/** "lora" in "lora.r". */
const SECTIONS: ReadonlySet<string> = new Set(
  [...BY_PATH.keys()].flatMap((path) => (path.includes(".") ? [sectionOf(path)] : [])),
);

// A config is a page of text. Anything near this is some other file.
const MAX_CONFIG_BYTES = 1 << 20;

// Texts on one line, quoted where they must be: a block's last line breaks are easily one too many.
const YAML_STYLE = { lineWidth: 0, blockQuote: false } as const;

type Plain = Readonly<Record<string, unknown>>;

/**
 * Reads a config from YAML and applies settings, "lora.r=8", over it. Aliases are refused: a config
 * has no use for them, and a few lines of them can fill the memory.
 */
export function readConfig(
  yaml: string,
  place: string,
  settings: readonly string[] = [],
): TrainConfig {
  if (yaml.length > MAX_CONFIG_BYTES) {
    throw new UsageError(
      `${place} has ${yaml.length} characters; a config has at most ${MAX_CONFIG_BYTES}.`,
      "Check the path: this looks like another kind of file.",
    );
  }
  const lines = new LineCounter();
  const document = parseDocument(yaml, { lineCounter: lines, prettyErrors: false });
  const [fault] = document.errors;
  if (fault) {
    throw new UsageError(
      `${place}, line ${lines.linePos(fault.pos[0]).line} is not YAML: ${fault.message}.`,
      "Correct that line.",
    );
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    throw new UsageError(
      `${place} uses YAML aliases (*name): ${messageOf(error)}.`,
      "Write the values out.",
      { cause: error },
    );
  }
  const lineOf = (path: string) => {
    const start = keyNode(document.contents, path.split("."))?.range?.[0];
    return start === undefined ? undefined : lines.linePos(start).line;
  };
  if (settings.length === 0) return parseConfig(value, place, lineOf);
  const changed = readSettings(settings);
  if (!isPlain(value)) return parseConfig(value, place, lineOf);
  // A line is no longer to blame for what a setting has replaced.
  return parseConfig(nest([...flatten(value, ""), ...changed]), place, (path) =>
    changed.has(path) ? undefined : lineOf(path),
  );
}

/** A config with settings, "lora.r=8", applied over it. */
export function applySettings(config: TrainConfig, settings: readonly string[]): TrainConfig {
  return parseConfig(nest([...flatten(config, ""), ...readSettings(settings)]), "The settings");
}

/**
 * Reads a plain object into a config: fills defaults, checks types and ranges. An absent or null
 * value is its default, under compat XTuner's. Unknown names are errors: a typo must not pass in silence.
 */
export function parseConfig(
  value: unknown,
  place: string,
  lineOf: (path: string) => number | undefined = () => undefined,
): TrainConfig {
  if (!isPlain(value)) {
    throw new UsageError(
      `${place} is ${value === null || value === undefined ? "empty" : "not a list of named options"}.`,
      'Write one option a line, as in "lr: 2e-4".',
    );
  }
  const problems: { line: number; text: string }[] = [];
  const report = (path: string, problem: string) => {
    const line = lineOf(path);
    const text = line === undefined ? problem : `line ${line}: ${problem}`;
    problems.push({ line: line ?? 0, text });
  };
  const given = flatten(value, "");
  for (const path of given.keys()) {
    if (!BY_PATH.has(path)) report(path, explainUnknown(path));
  }
  const isXtuner = given.get("compat") === "xtuner-0.1.17";
  const checked = ALL_OPTIONS.map(({ path, option }): [string, unknown] => {
    const own = given.get(path) ?? undefined;
    if (own === undefined) {
      if (option.isRequired) report(path, `${path} is missing (${option.help})`);
      return [path, (isXtuner ? option.inXtuner : undefined) ?? option.default];
    }
    const read = option.read(own);
    if (read === undefined) report(path, `${path} is ${excerpt(own)}, and takes ${option.takes}`);
    return [path, read];
  });
  if (problems.length > 0) {
    const inOrder = problems.toSorted((a, b) => a.line - b.line);
    throw configError(
      place,
      inOrder.map(({ text }) => text),
    );
  }
  // Every path of the table now holds a value of its option's own type.
  return nest(checked) as unknown as TrainConfig;
}

/** YAML that reads back to the same config, with each option's help above it. */
export function serializeConfig(config: TrainConfig): string {
  const values = flatten(config, "");
  let section = "";
  return ALL_OPTIONS.map(({ path, option }) => {
    const indent = path.includes(".") ? "  " : "";
    const heading = indent !== "" && section !== sectionOf(path) ? `${sectionOf(path)}:\n` : "";
    section = sectionOf(path);
    const unit = option.unit === undefined ? "" : ` (${option.unit})`;
    const key = path.slice(indent === "" ? 0 : section.length + 1);
    const lines = stringify({ [key]: values.get(path) }, YAML_STYLE).replace(/\n$/, "");
    return `${heading}${indent}# ${option.help}${unit}\n${indented(lines, indent)}\n`;
  }).join("\n");
}

/** YAML's lines: to JavaScript's `^`, one begins after U+2028 too, which a value may have in it. */
function indented(lines: string, indent: string): string {
  return lines
    .split("\n")
    .map((line) => (line === "" ? "" : `${indent}${line}`))
    .join("\n");
}

/** Why `path` is not an option, with the name that was probably meant. */
function explainUnknown(path: string): string {
  const last = path.split(".").at(-1) ?? path;
  const known = ALL_OPTIONS.find(
    (placed) => placed.option.elsewhere?.includes(last) || placed.path.split(".").at(-1) === last,
  )?.path;
  if (known !== undefined) return `there is no option "${path}"; here it is "${known}"`;
  const near = nearestName(path, BY_PATH.keys());
  return `there is no option "${path}"${near === undefined ? "" : `; the nearest is "${near}"`}`;
}

function configError(place: string, problems: readonly string[]): UsageError {
  const [first = ""] = problems;
  return problems.length === 1
    ? new UsageError(`${place}: ${first}.`, "Correct it and start again.")
    : new UsageError(
        `${place} has ${problems.length} problems:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
        "Correct them and start again.",
      );
}

/** "key=value" texts by path; each value is read as its option's kind of field asks. */
function readSettings(settings: readonly string[]): Map<string, unknown> {
  return new Map(
    settings.map((setting): [string, unknown] => {
      const at = setting.indexOf("=");
      if (at < 1) {
        throw new UsageError(
          `The setting "${setting}" is not of the form key=value.`,
          "Write it as in --set lr=1e-4.",
        );
      }
      const path = setting.slice(0, at).trim();
      return [path, readSetting(setting.slice(at + 1), BY_PATH.get(path))];
    }),
  );
}

/** Texts stay as they are; the rest is a piece of YAML, where commas make a list of names or numbers. */
function readSetting(value: string, option: Option | undefined): unknown {
  const field = option?.field;
  if (field?.kind === "text") return value;
  const isList = value.trimStart().startsWith("[");
  if (field?.kind === "texts" && field.words.length === 0 && !isList) return value;
  const takesCommas = field?.kind === "pair" || field?.kind === "texts";
  const yaml = takesCommas && value.includes(",") && !isList ? `[${value}]` : value;
  try {
    return parse(yaml, { maxAliasCount: 0 });
  } catch {
    return value; // the table will say what it takes instead
  }
}

/** Leaves by path. A section's own fields are looked into; anything else is a value. */
function flatten(record: Plain, prefix: string): Map<string, unknown> {
  const leaves = new Map<string, unknown>();
  for (const [key, value] of Object.entries(record)) {
    const path = prefix + key;
    if (SECTIONS.has(path) && isPlain(value)) {
      for (const [inner, leaf] of flatten(value, `${path}.`)) leaves.set(inner, leaf);
    } else if (!(SECTIONS.has(path) && value === null)) {
      leaves.set(path, value);
    }
  }
  return leaves;
}

/** The inverse of `flatten`. Objects without a prototype, since the paths may be anybody's. */
function nest(leaves: Iterable<readonly [string, unknown]>): Plain {
  const record: Record<string, unknown> = Object.create(null);
  for (const [path, value] of leaves) {
    const section = sectionOf(path);
    if (section === path || !SECTIONS.has(section)) record[path] = value;
    else {
      const inner = (record[section] ??= Object.create(null)) as Record<string, unknown>;
      inner[path.slice(section.length + 1)] = value;
    }
  }
  return record;
}

function sectionOf(path: string): string {
  return path.split(".", 1)[0] ?? path;
}

/** The node of a key, for its line. */
function keyNode(node: unknown, path: readonly string[]): Node | undefined {
  const [key, ...rest] = path;
  if (!isMap(node)) return undefined;
  const found = node.items.find((item) => isScalar(item.key) && item.key.value === key);
  if (rest.length > 0 && isCollection(found?.value)) return keyNode(found.value, rest);
  return isScalar(found?.key) ? found.key : undefined;
}

function excerpt(value: unknown): string {
  const shown = written(value);
  return shown.length > 60 ? `${shown.slice(0, 60)}…` : shown;
}

/** As JSON, but for what JSON has no word for: numbers that are not finite. */
function written(value: unknown): string {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (Array.isArray(value)) return `[${value.map(written).join(",")}]`;
  return JSON.stringify(value) ?? String(value);
}

function isPlain(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
