// What one option of a run is: its value's type, how it is read and refused, and its words for people.
//
// An option carries all that a config file, a command line and a form need, so that none of them
// keeps a list of its own. `Field` is the part that a form can draw.

export type Group = "model" | "data" | "training" | "lora" | "memory" | "output";

export type Field =
  | { readonly kind: "text" }
  /** Texts as a list; one alone may stand without its list. */
  | { readonly kind: "texts"; readonly words: readonly string[] }
  | {
      readonly kind: "number";
      readonly min: number;
      readonly max: number;
      readonly isWhole: boolean;
      /** What may stand in place of a number in the range: "dynamic", -1. */
      readonly words: readonly (string | number)[];
    }
  | { readonly kind: "pair"; readonly min: number; readonly below: number }
  | { readonly kind: "flag"; readonly words: readonly string[] }
  | { readonly kind: "choice"; readonly words: readonly string[] };

/** What an option says of itself in the table. */
interface Description<T> {
  readonly default: T;
  /** The default under compat: xtuner-0.1.17, where it is another. */
  readonly inXtuner?: T;
  readonly group: Group;
  /** On the form. */
  readonly label: string;
  /** On the command line and in written configs: a phrase without a full stop. */
  readonly help: string;
  readonly unit?: string;
  /** A run cannot start without it; the default only fills the form. */
  readonly isRequired?: true;
  /** What other tools call it, for the hint when someone writes that here. */
  readonly elsewhere?: readonly string[];
}

export interface Option<T = unknown> extends Description<T> {
  readonly field: Field;
  /** What it takes, as the end of a sentence: "a whole number from 1 to 1024". */
  readonly takes: string;
  /** The value in its own type, or undefined where it is not one that the option takes. */
  read(value: unknown): T | undefined;
}

export function text(description: Description<string>): Option<string> {
  return {
    ...description,
    field: { kind: "text" },
    takes: description.isRequired ? "a text that is not empty" : "a text",
    read: (value) =>
      typeof value === "string" && !(description.isRequired && value.trim() === "")
        ? value
        : undefined,
  };
}

export function texts(description: Description<readonly string[]>): Option<readonly string[]> {
  return {
    ...description,
    field: { kind: "texts", words: [] },
    takes: description.isRequired ? "a text, or a list of at least one" : "a list of texts",
    read: (value) => readTexts(value, description.isRequired ? 1 : 0),
  };
}

/** A list of names, or one word that stands for a set of them. */
export function namesOr<Word extends string>(
  word: Word,
  description: Description<Word | readonly string[]>,
): Option<Word | readonly string[]> {
  return {
    ...description,
    field: { kind: "texts", words: [word] },
    takes: `${word}, or a list of at least one name`,
    read: (value) => (value === word ? word : readTexts(value, 1)),
  };
}

interface Range {
  readonly min: number;
  readonly max: number;
}

/** Any number from `min` to `max`, both included. */
export function number(range: Range, description: Description<number>): Option<number> {
  return numeric<never>(range, false, [], description);
}

export function whole(range: Range, description: Description<number>): Option<number> {
  return numeric<never>(range, true, [], description);
}

/** A whole number in the range, or one outside it with a meaning of its own: -1 for no limit. */
export function wholeOr(
  outside: number,
  range: Range,
  description: Description<number>,
): Option<number> {
  return numeric<number>(range, true, [outside], description);
}

export function numberOr<Word extends string>(
  word: Word,
  range: Range,
  description: Description<number | Word>,
): Option<number | Word> {
  return numeric<Word>(range, false, [word], description);
}

function numeric<Word extends string | number>(
  { min, max }: Range,
  isWhole: boolean,
  words: readonly Word[],
  description: Description<number | Word>,
): Option<number | Word> {
  const takes = `a ${isWhole ? "whole " : ""}number from ${min} to ${max}`;
  return {
    ...description,
    field: { kind: "number", min, max, isWhole, words },
    takes: [...words, takes].join(" or "),
    read(value) {
      const word = words.find((known) => known === value);
      if (word !== undefined) return word;
      if (typeof value !== "number" || !(value >= min && value <= max)) return undefined;
      return isWhole && !Number.isInteger(value) ? undefined : value;
    },
  };
}

/** Two numbers, each at least `min` and below `below`. */
export function pair(
  { min, below }: { readonly min: number; readonly below: number },
  description: Description<readonly [number, number]>,
): Option<readonly [number, number]> {
  const isInside = (value: unknown): value is number =>
    typeof value === "number" && value >= min && value < below;
  return {
    ...description,
    field: { kind: "pair", min, below },
    takes: `a list of two numbers, each at least ${min} and below ${below}`,
    read(value) {
      if (!Array.isArray(value) || value.length !== 2) return undefined;
      const [first, second]: unknown[] = value;
      return isInside(first) && isInside(second) ? [first, second] : undefined;
    },
  };
}

export function flag(description: Description<boolean>): Option<boolean> {
  return {
    ...description,
    field: { kind: "flag", words: [] },
    takes: "true or false",
    read: (value) => (typeof value === "boolean" ? value : undefined),
  };
}

export function flagOr<Word extends string>(
  word: Word,
  description: Description<boolean | Word>,
): Option<boolean | Word> {
  return {
    ...description,
    field: { kind: "flag", words: [word] },
    takes: `${word}, true or false`,
    read: (value) => (typeof value === "boolean" ? value : value === word ? word : undefined),
  };
}

export function choice<const Word extends string>(
  words: readonly Word[],
  description: Description<NoInfer<Word>>,
): Option<Word> {
  return {
    ...description,
    field: { kind: "choice", words },
    takes: words.length === 1 ? `only ${words[0]}` : `one of ${words.join(", ")}`,
    read: (value) => words.find((word) => word === value),
  };
}

function readTexts(value: unknown, fewest: number): readonly string[] | undefined {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  const isListOfTexts = list.every((item) => typeof item === "string" && item.trim() !== "");
  return isListOfTexts && list.length >= fewest ? (list as string[]) : undefined;
}
