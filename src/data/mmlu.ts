// MMLU's questions: rows of a file, the subjects they are of, and the categories that subjects belong to.
//
// A row is XTuner's: `input` is the question with its four answers, `output` the letter of the right one,
// `subject` one of the 57.
import { UserError } from "../base/error.ts";
import { nearestName } from "../base/nearest.ts";
import { isJsonObject } from "../formats/json.ts";
import type { DataRow } from "./read.ts";

export const LETTERS = ["A", "B", "C", "D"] as const;

export interface Question {
  readonly input: string;
  /** Index of the right one among `LETTERS`. */
  readonly answer: number;
  readonly subject: Subject;
  /** File and row, for messages. */
  readonly where: string;
}

/** Each subject's subcategory, as the benchmark's authors have sorted them. */
export const SUBCATEGORY_OF = {
  abstract_algebra: "math",
  anatomy: "health",
  astronomy: "physics",
  business_ethics: "business",
  clinical_knowledge: "health",
  college_biology: "biology",
  college_chemistry: "chemistry",
  college_computer_science: "computer science",
  college_mathematics: "math",
  college_medicine: "health",
  college_physics: "physics",
  computer_security: "computer science",
  conceptual_physics: "physics",
  econometrics: "economics",
  electrical_engineering: "engineering",
  elementary_mathematics: "math",
  formal_logic: "philosophy",
  global_facts: "other",
  high_school_biology: "biology",
  high_school_chemistry: "chemistry",
  high_school_computer_science: "computer science",
  high_school_european_history: "history",
  high_school_geography: "geography",
  high_school_government_and_politics: "politics",
  high_school_macroeconomics: "economics",
  high_school_mathematics: "math",
  high_school_microeconomics: "economics",
  high_school_physics: "physics",
  high_school_psychology: "psychology",
  high_school_statistics: "math",
  high_school_us_history: "history",
  high_school_world_history: "history",
  human_aging: "health",
  human_sexuality: "culture",
  international_law: "law",
  jurisprudence: "law",
  logical_fallacies: "philosophy",
  machine_learning: "computer science",
  management: "business",
  marketing: "business",
  medical_genetics: "health",
  miscellaneous: "other",
  moral_disputes: "philosophy",
  moral_scenarios: "philosophy",
  nutrition: "health",
  philosophy: "philosophy",
  prehistory: "history",
  professional_accounting: "other",
  professional_law: "law",
  professional_medicine: "health",
  professional_psychology: "psychology",
  public_relations: "politics",
  security_studies: "politics",
  sociology: "culture",
  us_foreign_policy: "politics",
  virology: "health",
  world_religions: "philosophy",
} as const;

export type Subject = keyof typeof SUBCATEGORY_OF;
export type Subcategory = (typeof SUBCATEGORY_OF)[Subject];

/** Each subcategory's category. */
export const CATEGORY_OF = {
  physics: "STEM",
  chemistry: "STEM",
  biology: "STEM",
  "computer science": "STEM",
  math: "STEM",
  engineering: "STEM",
  history: "humanities",
  philosophy: "humanities",
  law: "humanities",
  politics: "social sciences",
  culture: "social sciences",
  economics: "social sciences",
  geography: "social sciences",
  psychology: "social sciences",
  other: "other (business, health, misc.)",
  business: "other (business, health, misc.)",
  health: "other (business, health, misc.)",
} as const satisfies Record<Subcategory, string>;

export type Category = (typeof CATEGORY_OF)[Subcategory];

/** The question of a row. Refuses one that lacks a part, with its place. */
export function readQuestion({ value, row, line }: DataRow, place: string): Question {
  const where = `${place}, row ${row} (line ${line})`;
  if (!isJsonObject(value)) {
    throw new UserError(`${where}: it is not a JSON object.`, "Make each row an object.");
  }
  const text = (key: string): string => {
    const field = value[key];
    if (typeof field === "string") return field;
    const keys = Object.keys(value).join(", ") || "none";
    throw new UserError(
      `${where}: "${key}" is ${key in value ? "not a text" : "missing"}; its keys: ${keys}.`,
      "A question has an input, an output (A, B, C or D) and a subject, all of them texts.",
    );
  };
  const output = text("output");
  const answer = LETTERS.findIndex((letter) => letter === output);
  if (answer < 0) {
    throw new UserError(
      `${where}: "output" is ${JSON.stringify(output.slice(0, 60))}.`,
      "Write the right answer's letter alone: A, B, C or D.",
    );
  }
  return { input: text("input"), answer, subject: readSubject(text("subject"), where), where };
}

function readSubject(name: string, where: string): Subject {
  const subjects = Object.keys(SUBCATEGORY_OF) as Subject[];
  const found = subjects.find((subject) => subject === name);
  if (found !== undefined) return found;
  const near = nearestName(name, subjects);
  throw new UserError(
    `${where}: "${name.slice(0, 60)}" is no subject of MMLU.`,
    near === undefined
      ? `Use its own names of subjects, such as ${subjects.slice(0, 3).join(", ")}.`
      : `The nearest is ${near}.`,
  );
}
