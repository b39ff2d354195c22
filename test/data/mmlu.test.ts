// MMLU's groups and accuracies against XTuner's own metric, and rows that are no questions.
import { expect, test } from "vitest";
import { CATEGORY_OF, readQuestion, SUBCATEGORY_OF, type Subject } from "../../src/data/mmlu.ts";
import { formatCategories, formatDetails, scoreMmlu } from "../../src/data/mmlu-score.ts";
import fixture from "../fixtures/mmlu.json" with { type: "json" };

interface Case {
  results: [Subject, number, number][];
  average: number;
  categories: Record<string, number>;
  subcategories: Record<string, number>;
  subjects: Record<string, number>;
  table: string;
}

const CASES = fixture.cases as unknown as Case[];

test("subjects, subcategories and categories are the benchmark's", () => {
  const subcategories = Object.entries(fixture.subcategories).map(([subject, [one]]) => [
    subject,
    one,
  ]);
  expect(Object.entries(SUBCATEGORY_OF)).toEqual(subcategories);
  expect(subcategories).toHaveLength(57);
  const categories = Object.entries(fixture.categories).flatMap(([category, all]) =>
    all.map((subcategory) => [subcategory, category]),
  );
  expect(Object.entries(CATEGORY_OF)).toEqual(categories);
});

test.each(CASES.map((one): [number, Case] => [one.results.length, one]))(
  "%i answers have the accuracies and the table that XTuner's metric gives them",
  (_count, { results, table, ...expected }) => {
    const answered = results.map(([subject, predicted, answer]) => ({
      subject,
      predicted,
      answer,
    }));
    const scores = scoreMmlu(answered);
    // Python adds the subjects' accuracies up in another order.
    expect(scores.average).toBeCloseTo(expected.average, 10);
    expect(scores.categories).toEqual(expected.categories);
    expect(scores.subcategories).toEqual(expected.subcategories);
    expect(scores.subjects).toMatchObject(expected.subjects);
    expect(`\n${formatCategories(scores)}`).toBe(table);
    expect(scores.questions).toBe(results.length);
    expect(scores.correct).toBe(results.filter(([, p, a]) => p === a).length);
  },
);

test("a group counts questions, the average counts subjects", () => {
  const right = { subject: "anatomy", predicted: 1, answer: 1 } as const;
  const wrong = { subject: "virology", predicted: 1, answer: 0 } as const;
  const scores = scoreMmlu([right, wrong, wrong, wrong]);
  expect(scores.subcategories).toEqual({ health: 25 });
  expect(scores.average).toBe(50);
  expect(formatDetails(scores)).toContain("│ anatomy  │        100.0 │");
});

function sixteen(correct: number) {
  return Array.from({ length: 16 }, (_, i) => ({
    subject: "anatomy" as const,
    predicted: 0,
    answer: Number(i >= correct),
  }));
}

test("6.25 is written as Python writes it, 6.2, and 18.75 as 18.8", () => {
  expect(formatCategories(scoreMmlu(sixteen(1)))).toContain("          6.2 │");
  expect(formatCategories(scoreMmlu(sixteen(3)))).toContain("         18.8 │");
});

const GOOD = { input: "1 + 1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: ", output: "B", subject: "anatomy" };

test("a row is a question", () => {
  expect(readQuestion({ value: GOOD, row: 3, line: 4 }, "q.json")).toEqual({
    input: GOOD.input,
    answer: 1,
    subject: "anatomy",
    where: "q.json, row 3 (line 4)",
  });
});

test.each([
  [{ ...GOOD, output: "E" }, 'q.json, row 3 (line 4): "output" is "E"'],
  [{ ...GOOD, output: "B." }, "Write the right answer's letter alone"],
  [{ ...GOOD, output: 1 }, '"output" is not a text'],
  [{ input: "x", output: "A" }, '"subject" is missing; its keys: input, output'],
  [{ ...GOOD, subject: "anatomie" }, '"anatomie" is no subject of MMLU.\nThe nearest is anatomy.'],
  [{ ...GOOD, subject: "toString" }, "is no subject of MMLU"],
  [[GOOD], "it is not a JSON object"],
])("%j is refused", (value, words) => {
  expect(() => readQuestion({ value, row: 3, line: 4 }, "q.json")).toThrow(words);
});
