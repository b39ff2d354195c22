// Accuracy over MMLU's subjects and what they are grouped into, by XTuner's `MMLUMetric`: within a group
// every question counts the same, and the average counts every subject the same.
import {
  type Category,
  CATEGORY_OF,
  type Subcategory,
  SUBCATEGORY_OF,
  type Subject,
} from "./mmlu.ts";

/** One question and how it was answered, both as indices among the letters. */
export interface Answered {
  readonly subject: Subject;
  readonly predicted: number;
  readonly answer: number;
}

/** Accuracies in percent. Groups of which there was no question are absent. */
export interface MmluScores {
  readonly subjects: Readonly<Partial<Record<Subject, number>>>;
  readonly subcategories: Readonly<Partial<Record<Subcategory, number>>>;
  readonly categories: Readonly<Partial<Record<Category, number>>>;
  /** Mean of the subjects' accuracies; not a number where there was no question at all. */
  readonly average: number;
  readonly questions: number;
  readonly correct: number;
}

export function scoreMmlu(results: readonly Answered[]): MmluScores {
  const bySubject = Object.keys(SUBCATEGORY_OF) as Subject[];
  const subjects = percentages(results, bySubject, ({ subject }) => subject);
  const each = Object.values(subjects);
  return {
    subjects,
    subcategories: percentages(
      results,
      Object.keys(CATEGORY_OF) as Subcategory[],
      ({ subject }) => SUBCATEGORY_OF[subject],
    ),
    categories: percentages(
      results,
      [...new Set(Object.values(CATEGORY_OF))],
      ({ subject }) => CATEGORY_OF[SUBCATEGORY_OF[subject]],
    ),
    average: each.reduce((sum, accuracy) => sum + accuracy, 0) / each.length,
    questions: results.length,
    correct: results.filter(isCorrect).length,
  };
}

function isCorrect({ predicted, answer }: Answered): boolean {
  return predicted === answer;
}

/** In the order of `groups`; those without a question are left out. */
function percentages<Group extends string>(
  results: readonly Answered[],
  groups: readonly Group[],
  groupOf: (result: Answered) => Group,
): Partial<Record<Group, number>> {
  const counts = new Map<Group, { questions: number; correct: number }>();
  for (const result of results) {
    const { questions, correct } = counts.get(groupOf(result)) ?? { questions: 0, correct: 0 };
    counts.set(groupOf(result), {
      questions: questions + 1,
      correct: correct + Number(isCorrect(result)),
    });
  }
  const shares = groups.flatMap((group): [Group, number][] => {
    const count = counts.get(group);
    return count === undefined ? [] : [[group, (count.correct / count.questions) * 100]];
  });
  return Object.fromEntries(shares) as Partial<Record<Group, number>>;
}

/** XTuner's table of the categories, line by line as its log has it. */
export function formatCategories({ categories, average }: MmluScores): string {
  const rows = { ...categories, average };
  return formatTable(" MMLU Benchmark ", "Categories", rows);
}

/** The same for subcategories and for subjects, which XTuner logs without a table. */
export function formatDetails({ subjects, subcategories }: MmluScores): string {
  return [
    formatTable(" MMLU Subjects ", "Subjects", subjects),
    formatTable(" MMLU Subcategories ", "Subcategories", subcategories),
  ].join("\n");
}

const ACCURACY = "Accuracy (%)";

function formatTable(
  title: string,
  heading: string,
  rows: Readonly<Record<string, number>>,
): string {
  const names = [heading, ...Object.keys(rows)].map(({ length }) => length);
  const widths = [Math.max(...names), ACCURACY.length];
  const rule = (fill: string) => widths.map((width) => fill.repeat(width + 2));
  const line = (name: string, value: string) => [
    ` ${name.padEnd(widths[0] ?? 0)} `,
    ` ${value.padStart(widths[1] ?? 0)} `,
  ];
  const blank = widths.reduce((sum, width) => sum + width + 3, 1) - title.length;
  const before = Math.max(0, Math.ceil(blank / 2));
  const lines = [
    " ".repeat(before) + title + " ".repeat(Math.max(0, blank - before)),
    `┏${rule("━").join("┳")}┓`,
    `┃${line(heading, ACCURACY).join("┃")}┃`,
    `┡${rule("━").join("╇")}┩`,
    ...Object.entries(rows).map(([name, value]) => `│${line(name, oneDecimal(value)).join("│")}│`),
    `└${rule("─").join("┴")}┘`,
  ];
  return `${lines.join("\n")}\n`;
}

/** As Python's ".1f": a value halfway between two goes to the even one, where toFixed goes up. */
function oneDecimal(value: number): string {
  const tenths = Math.floor(value * 10);
  const isHalfway = Number.isInteger(value * 4) && !Number.isInteger(value * 2);
  if (!isHalfway) return value.toFixed(1);
  return ((tenths % 2 === 0 ? tenths : tenths + 1) / 10).toFixed(1);
}
