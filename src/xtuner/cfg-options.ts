// XTuner's --cfg-options: "key=value" texts over an evaluated config, by the rules of MMEngine's DictAction.
import { UsageError } from "../base/error.ts";
import { placesOf } from "./config-places.ts";
import type { Findings } from "./findings.ts";
import {
  isDict,
  isList,
  kindOf,
  type Namespace,
  type PyDict,
  type PyEntry,
  type PyValue,
} from "./python-value.ts";

/** Names that XTuner's runner looks at; any other only helped to write the config. */
const LOOKED_AT =
  /^(model|tokenizer|train_dataloader|val_dataloader|test_dataloader|optim_wrapper|param_scheduler|train_cfg|val_cfg|test_cfg|default_hooks|custom_hooks|randomness|load_from|resume|work_dir|env_cfg|visualizer|log_processor|log_level|launcher|val_evaluator|test_evaluator|sequence_parallel_size|auto_scale_lr|strategy|framework|training_args|bot_name)$/;

/** Whether an option of that first name changes anything. */
export function isLookedAt(name: string): boolean {
  return LOOKED_AT.test(name);
}

/** The config's names with the options over them. What they were made from stays as it was. */
export function applyConfigOptions(
  names: Namespace,
  options: readonly string[],
  findings: Findings,
): Namespace {
  if (options.length === 0) return names;
  let root: PyDict = { kind: "dict", entries: new Map(names), line: 0 };
  for (const option of options) {
    const at = option.indexOf("=");
    if (at < 1) {
      throw new UsageError(
        `The option "${option}" is not of the form key=value.`,
        "Write it as in --cfg-options optim_wrapper.optimizer.lr=1e-4.",
      );
    }
    const keys = option.slice(0, at).split(".");
    const [first = ""] = keys;
    if (keys.length > MOST_DEPTH) {
      throw new UsageError(
        `The option ${option.slice(0, 60)}… goes ${keys.length} levels deep; at most ${MOST_DEPTH} do.`,
        "Check the path before the =.",
      );
    }
    if (!LOOKED_AT.test(first)) {
      findings.warn(
        0,
        `--cfg-options ${option} sets the name ${first}, which was used before the option came, so it changes nothing, as in XTuner. ${placeHint(names, keys)}`,
      );
    }
    root = put(root, keys, { value: readOption(option.slice(at + 1)), line: 0 }, option) as PyDict;
  }
  return root.entries as ReadonlyMap<string, PyEntry>;
}

/** Where an option would have to go: to the places of the config that hold what the name stands for. */
function placeHint(names: Namespace, [first = "", ...rest]: readonly string[]): string {
  const places = placesOf(names, first, (name) => LOOKED_AT.test(name));
  if (places.length === 0) return "Name its place, as in optim_wrapper.optimizer.lr=1e-4";
  return `Its value is at ${places.map((place) => [place, ...rest].join(".")).join(" and ")}`;
}

/** A copy of `container` with the value at the end of the path; new dicts are made on the way. */
function put(
  container: PyValue,
  [key = "", ...rest]: readonly string[],
  entry: PyEntry,
  option: string,
): PyValue {
  if (isList(container) && container.kind === "list" && /^\d+$/.test(key)) {
    const index = Number(key);
    if (index >= container.items.length) {
      throw new UsageError(
        `--cfg-options ${option}: there is no item ${key}; the list has ${container.items.length}.`,
        "Count from 0.",
      );
    }
    const before = container.items[index] ?? null;
    const value = rest.length === 0 ? entry.value : put(before, rest, entry, option);
    return { ...container, items: container.items.with(index, value) };
  }
  if (!isDict(container)) {
    throw new UsageError(
      `--cfg-options ${option}: ${kindOf(container)} has no ${key}.`,
      "Check the path before the =; items of lists go by their number from 0.",
    );
  }
  const before = container.entries.get(key)?.value;
  const value =
    rest.length === 0
      ? entry.value
      : put(before === undefined ? emptyDict() : before, rest, entry, option);
  return { ...container, entries: new Map(container.entries).set(key, { ...entry, value }) };
}

function emptyDict(): PyDict {
  return { kind: "dict", entries: new Map(), line: 0 };
}

/** Brackets inside one another at most, and levels of a path; more is no setting. */
const MOST_DEPTH = 50;

/** "1", "1e-4", "True", "None", "a,b", "[1,(2,x)]" → what DictAction makes of it. */
export function readOption(text: string, depth = 0): PyValue {
  const bare = stripQuotes(text).replaceAll(" ", "");
  const isTuple = bare.startsWith("(") && bare.endsWith(")");
  const isBracketed = isTuple || (bare.startsWith("[") && bare.endsWith("]"));
  if (!isBracketed && !bare.includes(",")) return readScalar(bare);
  if (depth > MOST_DEPTH) {
    throw new UsageError("An option has brackets too deep.", "Write it flatter.");
  }
  const inner = isBracketed ? bare.slice(1, -1) : bare;
  const items = splitAtCommas(inner, text).map((item) => readOption(item, depth + 1));
  return { kind: isTuple ? "tuple" : "list", items, line: 0 };
}

/** Python's str.strip of both quotes: any number of them, at both ends. */
function stripQuotes(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && isQuote(text[from])) from++;
  while (to > from && isQuote(text[to - 1])) to--;
  return text.slice(from, to);
}

function isQuote(letter: string | undefined): boolean {
  return letter === "'" || letter === '"';
}

/** At commas outside brackets, which must be in balance, counted as DictAction counts them. */
function splitAtCommas(text: string, whole: string): string[] {
  const items: string[] = [];
  let round = 0;
  let square = 0;
  let from = 0;
  for (let i = 0; i <= text.length; i++) {
    const letter = text[i];
    if (letter === "(") round++;
    else if (letter === ")") round--;
    else if (letter === "[") square++;
    else if (letter === "]") square--;
    if (letter === undefined || (letter === "," && round === 0 && square === 0)) {
      items.push(text.slice(from, i));
      from = i + 1;
    }
  }
  if (round !== 0 || square !== 0) {
    throw new UsageError(
      `The brackets of ${whole} are not in balance.`,
      "Put quotes around an option with brackets, so that the shell leaves it alone.",
    );
  }
  // A comma at the end, or nothing at all, adds no item.
  if (items.at(-1) === "") items.pop();
  return items;
}

const INT = /^[+-]?\d+(_\d+)*$/;
const FLOAT = /^[+-]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)(e[+-]?\d+(_\d+)*)?$/i;

function readScalar(text: string): PyValue {
  const bare = text.trim();
  if (INT.test(bare) && bare.length <= 60) return BigInt(bare.replaceAll("_", "").replace("+", ""));
  if (FLOAT.test(bare)) return Number(bare.replaceAll("_", ""));
  if (/^[+-]?(inf|infinity)$/i.test(bare)) return bare.startsWith("-") ? -Infinity : Infinity;
  if (/^[+-]?nan$/i.test(bare)) return Number.NaN;
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  return text === "None" ? null : text;
}
