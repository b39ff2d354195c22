// Patterns of tokenizer.json mean in JavaScript what they mean in Oniguruma.
import { expect, test } from "vitest";
import { escapeRegex, translateRegex } from "../../src/formats/tokenizer-regex.ts";

const matches = (pattern: string, text: string) => text.match(translateRegex(pattern)) ?? [];

test.each([
  // U+0085 is white space and U+FEFF is not, unlike in JavaScript.
  [String.raw`\s+`, "a\x85\u3000b\ufeffc", ["\x85\u3000"]],
  [String.raw`\S+`, "a\x85b\ufeffc", ["a", "b\ufeffc"]],
  [String.raw`[^\S\n]+`, "a \t\n b", [" \t", " "]],
  // Case is ignored in the group only; the long s and the Kelvin sign are cases of s and k.
  ["(?i:'s|'k)x?", "'sX'Sx'\u017Fx'\u212A", ["'s", "'Sx", "'\u017Fx", "'\u212A"]],
  ["(?i)ab|c", "AB C", ["AB", "C"]],
  ["(a(?i)b)c", "aBc aBC", ["aBc"]],
  ["(?i:[a-c]+)", "aBcD", ["aBc"]],
  // Possessive and atomic: what is taken is not given back.
  ["a++a", "aaa", []],
  ["a?+a", "aaa", ["aa"]],
  ["(?>a|ab)c", "abc ac", ["ac"]],
  ["(?:ab){1,2}+c", "ababababc", ["ababababc"]],
  ["x{,2}y", "xxxy", ["xxy"]],
  [String.raw`\p{N}{1,3}`, "12345", ["123", "45"]],
  [String.raw`\s+(?!\S)|\s+`, "a   b ", ["  ", " ", " "]],
  // A dot and the anchors are by lines, which only \n ends.
  ["^.+$", "a\rb\nc", ["a\rb", "c"]],
  [String.raw`\Aa|b\z`, "a\na b\nb", ["a", "b"]],
  [String.raw`\bé\b`, "é éa", ["é"]],
  [String.raw`\w+`, "a_é٣²½⅓", ["a_é٣²½"]],
  [String.raw`\d+\D`, "٣4x", ["٣4x"]],
  [String.raw`[\p{Han}-]+`, "你-a", ["你-"]],
  [String.raw`\p{^L}+|\P{N}`, "a1", ["a", "1"]],
  [String.raw`[\[\]\-&"']+`, `a[]-&"'b`, [`[]-&"'`]],
  [String.raw`\x41[\x{42}-C]\u0044\.`, "ABD. ACD.", ["ABD.", "ACD."]],
])("%s", (pattern, text, found) => {
  expect([...matches(pattern, text)]).toEqual(found);
});

test("characters newer than Oniguruma's Unicode 16 have no property there", () => {
  // U+088F and U+A7CE came with Unicode 17.
  expect(matches(String.raw`\p{L}`, "\u088f\ua7ce")).toEqual([]);
  expect(matches(String.raw`[^\s\p{L}\p{N}]+`, "\u088f\ua7ce")).toEqual(["\u088f\ua7ce"]);
  expect(matches(String.raw`\P{L}`, "\u088f")).toEqual(["\u088f"]);
  // U+0295 became another kind of letter.
  expect(matches(String.raw`\p{Ll}`, "\u0295")).toEqual(["\u0295"]);
  expect(matches(String.raw`\p{Lo}`, "\u0295")).toEqual([]);
});

test.each([
  "(a",
  "a)",
  "[a",
  String.raw`\p{Nonsense}`,
  "[[:alpha:]]",
  "[a&&b]",
  "(?x)a",
  String.raw`(a)\1`,
  "a\\",
])("%s is refused", (pattern) => {
  expect(() => translateRegex(pattern)).toThrow(/^(it |a group )/);
});

test("any text can be looked for as it is", () => {
  const text = "a.*+?^${}()|[]\\/-&~!🙂 \n";
  expect(`x${text}y`.match(new RegExp(escapeRegex(text), "v"))?.[0]).toBe(text);
});
