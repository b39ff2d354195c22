// Regular expressions of tokenizer.json, which are Oniguruma's, as JavaScript's.
// The dialects differ in what \s, \d and \w are, in possessive quantifiers, in inline flags, and in the
// version of Unicode. What is not known here is refused: a split that is almost right gives wrong ids.

/** White_Space of Unicode. JavaScript's \s has U+FEFF besides and lacks U+0085. */
const SPACE = String.raw`\t-\r\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;

/**
 * What Unicode 17 assigned and Oniguruma 6.9.10 (Unicode 16), which the Rust tokenizers use, takes for
 * unassigned. JavaScript engines know it sooner or later, so it is taken out of every property.
 */
const NEWER = String.raw`\u{88f}\u{c5c}\u{cdc}\u{1acf}-\u{1add}\u{1ae0}-\u{1aeb}\u{20c1}\u{2b96}\u{a7ce}-\u{a7cf}\u{a7d2}\u{a7d4}\u{a7f1}\u{fbc3}-\u{fbd2}\u{fd90}-\u{fd91}\u{fdc8}-\u{fdce}\u{10940}-\u{10959}\u{10ec5}-\u{10ec7}\u{10ed0}-\u{10ed8}\u{10efa}-\u{10efb}\u{11b60}-\u{11b67}\u{11db0}-\u{11ddb}\u{11de0}-\u{11de9}\u{16ea0}-\u{16eb8}\u{16ebb}-\u{16ed3}\u{16ff2}-\u{16ff6}\u{187f8}-\u{187ff}\u{18d09}-\u{18d1e}\u{18d80}-\u{18df2}\u{1ccfa}-\u{1ccfc}\u{1ceba}-\u{1ced0}\u{1cee0}-\u{1cef0}\u{1e6c0}-\u{1e6de}\u{1e6e0}-\u{1e6f5}\u{1e6fe}-\u{1e6ff}\u{1f6d8}\u{1f777}-\u{1f77a}\u{1f8d0}-\u{1f8d8}\u{1fa54}-\u{1fa57}\u{1fa8a}\u{1fa8e}\u{1fac8}\u{1facd}\u{1faea}\u{1faef}\u{1fbfa}\u{2b73a}-\u{2b73f}\u{2cea2}-\u{2cead}\u{323b0}-\u{33479}`;

/** Oniguruma's \w, which has six Latin-1 characters more than the definition. */
const WORD = String.raw`[[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\xb2\xb3\xb9\xbc-\xbe]--[${NEWER}]]`;

export class PatternError extends Error {}

/** Published ones have a few hundred characters; groups nested without end would use up the stack. */
const LONGEST_PATTERN = 4096;

/** A pattern of tokenizer.json as a global JavaScript regular expression. */
export function translateRegex(pattern: string): RegExp {
  if (pattern.length > LONGEST_PATTERN) throw new PatternError("it is too long");
  return new RegExp(new Translation(pattern).translate(), "gv");
}

/** Any text as a pattern for itself. */
export function escapeRegex(text: string): string {
  return Array.from(text, literal).join("");
}

function literal(char: string): string {
  return /^[A-Za-z0-9_]$/.test(char) ? char : `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
}

function rangeOf(first: string, last: string): string {
  return `${literal(first)}-${literal(last)}`;
}

class Translation {
  readonly #chars: string[];
  #at = 0;
  #possessives = 0;
  #ignoreCase = false;

  constructor(pattern: string) {
    this.#chars = Array.from(pattern);
  }

  translate(): string {
    const result = this.#alternatives();
    if (this.#at < this.#chars.length) throw new PatternError("it has a ) too many");
    return result;
  }

  /** Up to the end or the `)` that closes the group. */
  #alternatives(): string {
    const outerIgnoreCase = this.#ignoreCase;
    let result = "";
    while (this.#at < this.#chars.length && this.#chars[this.#at] !== ")") {
      if (this.#take("|")) result += "|";
      else result += this.#quantified(this.#atom());
    }
    this.#ignoreCase = outerIgnoreCase;
    return result;
  }

  #take(expected: string): boolean {
    if (
      !this.#chars
        .slice(this.#at, this.#at + expected.length)
        .join("")
        .startsWith(expected)
    ) {
      return false;
    }
    this.#at += expected.length;
    return true;
  }

  #next(): string {
    const char = this.#chars[this.#at++];
    if (char === undefined) throw new PatternError("it ends too early");
    return char;
  }

  #atom(): string {
    const char = this.#next();
    switch (char) {
      case "(":
        return this.#group();
      case "[":
        return this.#class();
      case "\\":
        return this.#escape();
      case ".":
        return String.raw`[^\n]`;
      case "^":
        return String.raw`(?<![^\n])`;
      case "$":
        return String.raw`(?![^\n])`;
      default:
        return this.#letter(char);
    }
  }

  /** One character that stands for itself, in either case where case is ignored. */
  #letter(char: string): string {
    const cases = this.#ignoreCase ? bothCases(char) : [char];
    return cases.length === 1 ? literal(char) : `[${cases.map(literal).join("")}]`;
  }

  #group(): string {
    let open = "(?:";
    if (this.#take("?")) {
      const kind = ["<=", "<!", "=", "!", ":", ">"].find((text) => this.#take(text));
      if (kind === undefined) return this.#flags();
      if (kind === ">") return this.#atomic(this.#closeGroup());
      open = `(?${kind}`;
    }
    return `${open}${this.#closeGroup()})`;
  }

  #closeGroup(): string {
    const inside = this.#alternatives();
    if (!this.#take(")")) throw new PatternError("a group is not closed");
    return inside;
  }

  /** `(?i:…)` and `(?i)`, which holds to the end of the group around it. */
  #flags(): string {
    const outerIgnoreCase = this.#ignoreCase;
    const on = !this.#take("-");
    if (!this.#take("i")) {
      throw new PatternError(`it has (?${this.#chars.slice(this.#at, this.#at + 3).join("")}`);
    }
    this.#ignoreCase = on;
    if (this.#take(")")) return "";
    if (!this.#take(":")) throw new PatternError("it has flags besides (?i");
    const inside = this.#closeGroup();
    this.#ignoreCase = outerIgnoreCase;
    return `(?:${inside})`;
  }

  /** A group that is not entered again once left: a lookahead's match is final, so it is matched by name. */
  #atomic(inside: string): string {
    const name = `possessive${this.#possessives++}`;
    return String.raw`(?:(?=(?<${name}>${inside}))\k<${name}>)`;
  }

  #quantified(atom: string): string {
    let result = atom;
    for (;;) {
      const quantifier = this.#quantifier();
      if (quantifier === undefined) return result;
      const repeated = result === atom ? result : `(?:${result})`;
      if (this.#take("?")) result = `${repeated}${quantifier}?`;
      // After {n,m} a + repeats the whole once more, after the others it is possessive.
      else if (!quantifier.startsWith("{") && this.#take("+")) {
        result = this.#atomic(repeated + quantifier);
      } else result = repeated + quantifier;
    }
  }

  #quantifier(): string | undefined {
    const char = this.#chars[this.#at];
    if (char === "*" || char === "+" || char === "?") {
      this.#at++;
      return char;
    }
    const rest = this.#chars.slice(this.#at, this.#at + 16).join("");
    const counts = /^\{(\d*)(,?)(\d*)\}/.exec(rest);
    if (counts === null || (counts[1] === "" && counts[3] === "")) return undefined;
    this.#at += counts[0].length;
    return `{${counts[1] === "" ? "0" : counts[1]}${counts[2]}${counts[3]}}`;
  }

  /** What follows a backslash outside a class. */
  #escape(): string {
    const char = this.#next();
    switch (char) {
      case "b":
        return String.raw`(?:(?<=${WORD})(?!${WORD})|(?<!${WORD})(?=${WORD}))`;
      case "A":
        return "(?<![^])";
      case "z":
        return "(?![^])";
      default: {
        const set = this.#shorthand(char);
        if (set !== undefined) return set;
        return this.#letter(this.#escapedCharacter(char));
      }
    }
  }

  /** \s, \p{L} and the like as a class. */
  #shorthand(char: string): string | undefined {
    switch (char) {
      case "s":
        return `[${SPACE}]`;
      case "S":
        return `[^${SPACE}]`;
      case "d":
        return propertySet("Nd", false);
      case "D":
        return propertySet("Nd", true);
      case "w":
        return WORD;
      case "W":
        return `[^${WORD}]`;
      case "p":
      case "P": {
        const name = /^\{(\^?)([\w=]+)\}/.exec(this.#chars.slice(this.#at, this.#at + 40).join(""));
        if (name === null) throw new PatternError(`it has \\${char} without a property`);
        this.#at += name[0].length;
        return propertySet(name[2] ?? "", (char === "P") !== (name[1] === "^"));
      }
      default:
        return undefined;
    }
  }

  #escapedCharacter(char: string): string {
    const control: Record<string, string> = {
      t: "\t",
      n: "\n",
      r: "\r",
      f: "\f",
      v: "\v",
      a: "\x07",
      e: "\x1b",
    };
    const known = control[char];
    if (known !== undefined) return known;
    if (char === "x" || char === "u") {
      const rest = this.#chars.slice(this.#at, this.#at + 12).join("");
      const digits = char === "x" ? /^(?:\{([0-9a-f]+)\}|([0-7][0-9a-f]))/i : /^([0-9a-f]{4})/i;
      const match = digits.exec(rest);
      if (match === null) throw new PatternError(`it has \\${char}${rest.slice(0, 4)}`);
      this.#at += match[0].length;
      return String.fromCodePoint(Number.parseInt(match[1] ?? match[2] ?? "", 16));
    }
    if (/[A-Za-z0-9]/.test(char)) throw new PatternError(`it has \\${char}`);
    return char;
  }

  #class(): string {
    let result = this.#take("^") ? "[^" : "[";
    for (let first = true; ; first = false) {
      const char = this.#next();
      if (char === "]" && !first) return `${result}]`;
      if (char === "[") {
        if (this.#chars[this.#at] === ":") throw new PatternError("it has a [:class:]");
        result += this.#class();
        continue;
      }
      if (char === "&" && this.#chars[this.#at] === "&") throw new PatternError("it has &&");
      if (char === "\\") {
        const escaped = this.#next();
        const set = this.#shorthand(escaped);
        result += set ?? this.#range(escaped === "b" ? "\b" : this.#escapedCharacter(escaped));
      } else result += this.#range(char);
    }
  }

  /** One character of a class, or the range that it begins. */
  #range(first: string): string {
    const [dash, after] = this.#chars.slice(this.#at, this.#at + 2);
    if (dash !== "-" || after === "]" || after === undefined) {
      return (this.#ignoreCase ? bothCases(first) : [first]).map(literal).join("");
    }
    this.#at++;
    const char = this.#next();
    const last = char === "\\" ? this.#escapedCharacter(this.#next()) : char;
    if (!this.#ignoreCase || !/^[a-z][a-z]$/i.test(first + last)) return rangeOf(first, last);
    return `${rangeOf(first.toLowerCase(), last.toLowerCase())}${rangeOf(first.toUpperCase(), last.toUpperCase())}`;
  }
}

function bothCases(char: string): string[] {
  const simple = [char, char.toLowerCase(), char.toUpperCase()].filter(
    (variant) => Array.from(variant).length === 1,
  );
  // The long s and the Kelvin sign fold to letters of ASCII.
  if (/s/i.test(char)) simple.push("\u017F");
  if (/k/i.test(char)) simple.push("\u212A");
  return [...new Set(simple)];
}

function propertySet(name: string, isNegated: boolean): string {
  let property = name;
  if (!isProperty(property)) property = `Script=${name}`;
  if (!isProperty(property)) throw new PatternError(`it has \\p{${name}}`);
  // U+0295 moved from small letters to other letters in Unicode 17.
  const added = property === "Ll" ? String.raw`\u{295}` : "";
  const removed = property === "Lo" ? String.raw`\u{295}` : "";
  const set = String.raw`[[\p{${property}}${added}]--[${NEWER}${removed}]]`;
  return isNegated ? `[^${set}]` : set;
}

function isProperty(name: string): boolean {
  try {
    return new RegExp(String.raw`\p{${name}}`, "v").test("") || true;
  } catch {
    return false;
  }
}
