// What an unpickled file is made of: plain values, and things that stand for what is never made.
// Nothing here has a method that a pickle could reach.

/** A Python tuple; a list is an array, a dict a Map. */
export class PickleTuple {
  readonly items: readonly PickleValue[];

  constructor(items: readonly PickleValue[]) {
    this.items = items;
  }
}

/** A name that a pickle mentions: a class or a function of Python. It stands for itself and does nothing. */
export class PickleGlobal {
  /** With its module: "torch.FloatStorage". */
  readonly name: string;
  readonly rule: GlobalRule;

  constructor(name: string, rule: GlobalRule) {
    this.name = name;
    this.rule = rule;
  }
}

/** What would be an object of a class that holds data: what it was to be made of, and nothing made. */
export class PickleRecord {
  readonly name: string;
  readonly args: PickleValue;
  /** What `__setstate__` would be given. */
  state: PickleValue = null;
  /** Of a class that extends list or dict. */
  readonly items: PickleValue[] = [];

  constructor(name: string, args: PickleValue) {
    this.name = name;
    this.args = args;
  }
}

/** What a rule made of its arguments, such as a tensor's description. Only who wrote the rule looks inside. */
export interface PickleMade {
  readonly made: string;
}

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleTuple
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | Set<PickleValue>
  | PickleGlobal
  | PickleRecord
  | PickleMade;

/** What becomes of a name that is allowed. All others are refused where they are mentioned. */
export type GlobalRule =
  /** May be mentioned, as an argument of another. */
  | { readonly kind: "name" }
  /** Calling it, or making an object of it, gives a record. */
  | { readonly kind: "record" }
  /** Calling it gives what our own code makes of the arguments; it refuses by throwing a `PickleRefusal`. */
  | {
      readonly kind: "function";
      readonly call: (args: readonly PickleValue[], budget: PickleBudget) => PickleValue;
    };

/** Names with their module, as in "collections.OrderedDict". */
export type GlobalRules = ReadonlyMap<string, GlobalRule>;

/** Charges for work that is more than the bytes of the pickle would let one expect. */
export interface PickleBudget {
  /** To be called with the bytes about to be made. */
  spend(amount: number): void;
}

/** Why something is refused, as the end of a sentence; where it stands is added by the reader. */
export class PickleRefusal extends Error {
  override readonly name = "PickleRefusal";
}

/** What a value is, in a word or two, for messages. */
export function describePickled(value: PickleValue | undefined): string {
  if (value === undefined) return "nothing";
  if (value === null) return "None";
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    return String(value);
  }
  if (typeof value === "string") return showText(value);
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Map) return `a dict of ${value.size}`;
  if (value instanceof Set) return `a set of ${value.size}`;
  if (value instanceof PickleTuple) return `a tuple of ${value.items.length}`;
  if (value instanceof PickleGlobal || value instanceof PickleRecord) return value.name;
  return `a ${value.made}`;
}

/** A text out of a file that may be anything, short and on one line. */
export function showText(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
