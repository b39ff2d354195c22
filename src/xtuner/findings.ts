// What the reading of a config finds, line by line, and a dict of it as a section that is read key by key.
//
// Every key of a section is taken, or known to be harmless, or complained of: nothing passes in silence.
import { UsageError } from "../base/error.ts";
import { nearestName } from "../base/nearest.ts";
import {
  excerptOf,
  isDict,
  isList,
  isSymbol,
  kindOf,
  type PyDict,
  type PyEntry,
  type PyList,
  type PyValue,
} from "./python-value.ts";

export interface Finding {
  /** refused: the run would be another one; warning: it differs in something; info: a word on how it is read. */
  readonly severity: "refused" | "warning" | "info";
  /** 1-based; 0 for the file as a whole. */
  readonly line: number;
  readonly text: string;
}

export interface Findings {
  readonly all: readonly Finding[];
  refuse(line: number, text: string): void;
  warn(line: number, text: string): void;
  inform(line: number, text: string): void;
}

/** More than this no config has that anybody wrote. */
const MOST_FINDINGS = 200;
const MOST_CHARACTERS = 1000;

export function createFindings(): Findings {
  const all: Finding[] = [];
  const known = new Set<string>();
  const add = (severity: Finding["severity"], line: number, whole: string) => {
    const text = shorten(whole, MOST_CHARACTERS);
    // Data sets read from one variable would complain of it once each.
    const key = `${severity} ${line} ${text}`;
    if (known.has(key)) return;
    if (all.length === MOST_FINDINGS) {
      throw new UsageError(
        `The config has more than ${MOST_FINDINGS} things to say something about, the last in line ${line}: ${text}.`,
        "Check the path: this looks like another kind of file.",
      );
    }
    known.add(key);
    all.push({ severity, line, text });
  };
  return {
    all,
    refuse: (line, text) => add("refused", line, text),
    warn: (line, text) => add("warning", line, text),
    inform: (line, text) => add("info", line, text),
  };
}

export interface Section {
  /** "model.llm", for messages. */
  readonly path: string;
  /** Where the dict begins. */
  readonly line: number;
  readonly findings: Findings;
  /** The entry, which counts as read from now on; undefined where it is absent. */
  take(key: string): PyEntry | undefined;
  /** Values of one kind: undefined where absent or None, and where they are another kind, which is refused. */
  number(key: string): number | undefined;
  flag(key: string): boolean | undefined;
  text(key: string): string | undefined;
  list(key: string): PyList | undefined;
  section(key: string): Section | undefined;
  /** The dotted name of something imported, or such a name as a text, which is how a dumped config has it. */
  name(key: string): string | undefined;
  lineOf(key: string): number;
  /** Complains of each key that was not taken, but for those named and those that are None. */
  close(harmless?: readonly string[], verdict?: "refuse" | "warn"): void;
}

/** A dict as a section. */
export function openSection(dict: PyDict, path: string, findings: Findings): Section {
  const taken = new Set<string>();
  const prefix = path === "" ? "" : `${path}.`; // the file's own names have no dict before them
  const lineOf = (key: string) => dict.entries.get(key)?.line ?? dict.line;
  const take = (key: string) => {
    taken.add(key);
    return dict.entries.get(key);
  };
  const read = <T>(key: string, what: string, accept: (value: PyValue) => T | undefined) => {
    const entry = take(key);
    if (entry === undefined || entry.value === null) return undefined;
    const value = accept(entry.value);
    if (value === undefined) {
      findings.refuse(entry.line, `${prefix}${key} is ${excerptOf(entry.value)}, not ${what}`);
    }
    return value;
  };
  return {
    path,
    line: dict.line,
    findings,
    take,
    lineOf,
    number: (key) => read(key, "a number", asNumber),
    flag: (key) => read(key, "True or False", asFlag),
    text: (key) => read(key, "a text", (value) => (typeof value === "string" ? value : undefined)),
    list: (key) => read(key, "a list", (value) => (isList(value) ? value : undefined)),
    name: (key) => read(key, "the name of something", nameOf),
    section: (key) =>
      read(key, "a dict", (value) =>
        isDict(value) ? openSection(value, prefix + key, findings) : undefined,
      ),
    close(harmless = [], verdict = "warn") {
      const known = [...taken, ...harmless];
      for (const [key, { value, line }] of dict.entries) {
        const name = String(key);
        if (known.includes(name) || value === null) continue;
        const near = name.length > MOST_NAME ? undefined : nearestName(name, known);
        const hint = near === undefined ? "" : ` (${near}?)`;
        findings[verdict](
          line,
          `${prefix}${shorten(name, MOST_NAME)}${hint} has no equivalent here`,
        );
      }
    },
  };
}

const MOST_NAME = 60;

/** A text's beginning, for messages. */
export function shorten(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** "torch.float16" of a symbol, or of a text. */
export function nameOf(value: PyValue): string | undefined {
  if (isSymbol(value)) return value.name;
  return typeof value === "string" && /^[\w.]+$/.test(value) ? value : undefined;
}

/** "AdamW" of "torch.optim.AdamW". */
export function lastOf(name: string): string {
  return name.split(".").at(-1) ?? name;
}

/** A number of either kind, as JavaScript has it. */
export function asNumber(value: PyValue): number | undefined {
  return typeof value === "number" || typeof value === "bigint" ? Number(value) : undefined;
}

function asFlag(value: PyValue): boolean | undefined {
  // 0 and 1 stand for flags in places, as they may in Python.
  if (value === 0n || value === 1n) return value === 1n;
  return typeof value === "boolean" ? value : undefined;
}

/** Texts of a list, or one alone; undefined where anything else is among them. */
export function asTexts(value: PyValue): string[] | undefined {
  const items = isList(value) ? value.items : [value];
  const texts = items.filter((item) => typeof item === "string");
  return texts.length === items.length ? texts : undefined;
}

/** What something that should be a dict is instead. */
export function notDict(path: string, value: PyValue): string {
  return `${path} is ${kindOf(value)}, not a dict`;
}
