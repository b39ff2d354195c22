// What --cfg-options changed, as assignments that give the config's own text the same values in Python.
import { applyConfigOptions, isLookedAt } from "./cfg-options.ts";
import { createFindings } from "./findings.ts";
import { isDict, isList, isSymbol, type Namespace, type PyValue } from "./python-value.ts";

/**
 * The lines to put at the end of a config, in the options' order. An option that changes nothing becomes a
 * comment.
 */
export function writeConfigOptions(names: Namespace, options: readonly string[]): string[] {
  const lines: string[] = [];
  let before = names;
  for (const option of options) {
    const after = applyConfigOptions(before, [option], createFindings());
    const path = option.slice(0, option.indexOf("=")).split(".");
    lines.push(
      ...(isLookedAt(path[0] ?? "")
        ? assignmentOf(path, before, after)
        : [`# --cfg-options ${JSON.stringify(option)} changes nothing`]),
    );
    before = after;
  }
  return lines;
}

/** model['lora']['lora_alpha'] = 32, with copies before it where something else holds what it goes into. */
function assignmentOf(path: readonly string[], before: Namespace, after: Namespace): string[] {
  const [root = "", ...keys] = path;
  const lines: string[] = [];
  const shared = sharedIn(before);
  let isShared = false;
  let target = root;
  let held = before.get(root)?.value;
  let given = after.get(root)?.value;
  for (const key of keys) {
    // Where there was nothing, what the option made is written whole.
    if (held === undefined || !(isDict(held) || isList(held))) break;
    // What a copy holds is still the original's.
    isShared ||= shared.has(held);
    if (isShared) lines.push(`${target} = ${isDict(held) ? `dict(${target})` : `[*${target}]`}`);
    target += isDict(held) ? `[${quoted(key)}]` : `[${key}]`;
    held = itemOf(held, key);
    given = given === undefined ? undefined : itemOf(given, key);
  }
  lines.push(`${target} = ${writePython(given ?? null)}`);
  return lines;
}

function itemOf(container: PyValue, key: string): PyValue | undefined {
  if (isDict(container)) return container.entries.get(key)?.value;
  return isList(container) ? container.items[Number(key)] : undefined;
}

/** Lists and dicts that more than one name, list or dict holds. */
function sharedIn(names: Namespace): ReadonlySet<PyValue> {
  const seen = new Set<PyValue>();
  const shared = new Set<PyValue>();
  const waiting = [...names.values()].map(({ value }) => value);
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (!isDict(next) && !isList(next)) continue;
    if (seen.has(next)) {
      shared.add(next);
      continue;
    }
    seen.add(next);
    const inner = isList(next) ? next.items : [...next.entries.values()].map(({ value }) => value);
    for (const value of inner) waiting.push(value);
  }
  return shared;
}

/** A value of an option as Python writes it. */
function writePython(value: PyValue): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return quoted(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") return writeFloat(value);
  if (isSymbol(value)) return value.name;
  if (isDict(value)) {
    const entries = [...value.entries].map(
      ([key, entry]) => `${writePython(key)}: ${writePython(entry.value)}`,
    );
    return `{${entries.join(", ")}}`;
  }
  const items = value.items.map(writePython).join(", ");
  if (value.kind === "list") return `[${items}]`;
  return value.items.length === 1 ? `(${items},)` : `(${items})`;
}

function writeFloat(value: number): string {
  // Past the largest float a literal is infinite, in Python too.
  if (Number.isNaN(value)) return "1e999 - 1e999";
  if (!Number.isFinite(value)) return value < 0 ? "-1e999" : "1e999";
  const digits = Object.is(value, -0) ? "-0" : String(value);
  return /[.e]/.test(digits) ? digits : `${digits}.0`;
}

/** JSON's escapes are Python's too. */
function quoted(text: string): string {
  return /^[\w./ -]*$/.test(text) ? `'${text}'` : JSON.stringify(text);
}
