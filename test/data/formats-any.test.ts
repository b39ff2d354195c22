// Formats on any JSON at all: a row is mapped or refused in words, and what a file is called is certain.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import {
  DATASET_FORMATS,
  describeFormat,
  detectFormat,
  isPlainText,
  mapRow,
  warnOfRow,
} from "../../src/data/formats.ts";

const WORDS = [
  "messages conversations conversation role from content value input output instruction system history",
  "question answer response prompt completion text segments label chosen rejected tools tool_calls function",
  "name arguments weight loss train abstract title context description color image continues",
]
  .join(" ")
  .split(" ");
const TEXTS = [
  "user",
  "assistant",
  "tool",
  "human",
  "gpt",
  "function_call",
  "### Human: a### Assistant: b",
  "[{'from': 'user', 'value': 'x'}, {'from': 'assistant', 'value': '<|startofthink|>{<|endofthink|>'}]",
  '[{"role": "user", "content": "x"}]',
  "[".repeat(5000),
  "<image>",
  "__proto__",
];

const key = fc.oneof(fc.constantFrom(...WORDS, "__proto__", "constructor"), fc.string());
const { any } = fc.letrec<{ any: unknown; leaf: unknown }>((tie) => ({
  leaf: fc.oneof(
    fc.constantFrom(null, true, false, 0, 1, 1.5, -0, 1e300, 2 ** 60),
    fc.constantFrom(...TEXTS),
    fc.string(),
  ),
  any: fc.oneof(
    { maxDepth: 5 },
    tie("leaf"),
    fc.array(tie("any"), { maxLength: 4 }),
    fc.dictionary(key, tie("any"), { maxKeys: 6 }),
  ),
}));
const row = fc
  .oneof(any, fc.dictionary(fc.constantFrom(...WORDS), any, { minKeys: 1, maxKeys: 6 }))
  // As it would come out of a file.
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown);

/** The result, or the words of a refusal; anything else is thrown on. */
function outcome(action: () => unknown): string {
  try {
    return JSON.stringify(action());
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

const at = (value: unknown, index = 0) => ({ value, row: index + 1, line: index + 1 });

test("every format maps any row to texts, or refuses it with its place", () => {
  fc.assert(
    fc.property(
      row,
      fc.constantFrom(...DATASET_FORMATS),
      fc.boolean(),
      (value, format, asXtuner) => {
        const said = outcome(() => {
          const turns = mapRow(format, at(value), "d", undefined, { asXtuner });
          for (const { input, output } of turns)
            expect([typeof input, typeof output]).toEqual(["string", "string"]);
          return turns;
        });
        expect(said).toMatch(/^\[|^d, row 1 \(line 1\)[,:]/);
        expect(outcome(() => warnOfRow(format, at(value), "d") ?? null)).toMatch(
          /^null|^"?d, row 1/,
        );
      },
    ),
    { numRuns: 3000 },
  );
});

test("detection always answers, always the same, and with a format that reads what it is said to read", () => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 6 }), (values) => {
      const rows = values.map(at);
      const first = outcome(() => detectFormat(rows, "d"));
      expect(outcome(() => detectFormat(rows, "d"))).toBe(first);
      expect(first).toMatch(/^\{"format"|^d has |^d mixes |^d, row /);
    }),
    { numRuns: 1000 },
  );
});

test("good rows are read as what they are, whatever one bad row among twenty holds", () => {
  const told = DATASET_FORMATS.filter((format) => {
    const example = at(describeFormat(format).example);
    return outcome(() => detectFormat([example], "d")).startsWith(`{"format":"${format}"`);
  });
  expect(told.length).toBeGreaterThan(12);
  fc.assert(
    fc.property(row, fc.constantFrom(...told), fc.nat(19), (bad, format, place) => {
      const values = Array.from({ length: 20 }, (_, i) =>
        at(i === place ? bad : describeFormat(format).example, i),
      );
      const found = detectFormat(values, "d");
      // Of two formats that read a row alike, the bad row may decide: it has a list of messages, though an empty one.
      const good = at(describeFormat(format).example);
      expect(mapRow(found.format, good, "d")).toEqual(mapRow(format, good, "d"));
    }),
    { numRuns: 500 },
  );
});

test("only text is plain", () => {
  expect(DATASET_FORMATS.filter(isPlainText)).toEqual(["pretrain", "text"]);
});
