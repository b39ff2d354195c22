// What is wrong or doubtful about a data set, each with what to do about it.
import { UserError } from "../../base/error.ts";
import { countOf, formatCount } from "../../base/format.ts";
import type { TrainConfig } from "../../config.ts";
import type { EncodedExample, ExampleList } from "../../data/encode.ts";
import type { EncodeFunnel } from "../../data/funnel.ts";
import { countUnlabeled } from "../../data/pack.ts";
import { encodePrompt } from "../../data/prompt.ts";
import type { DatasetView } from "./dataset-view.ts";
import { chooseTemplate } from "../model-folder.ts";

export interface Finding {
  /** An error: nothing, or hardly what is meant, would be learned. */
  readonly severity: "error" | "warning";
  readonly problem: string;
  readonly remedy: string;
}

export interface Survey {
  /** Numbers of examples, from 1 in the order of the files, with their tokens before they are cut. */
  readonly longest: readonly { readonly example: number; readonly tokens: number }[];
  /** Examples that are equal to an earlier one. */
  readonly copies: number;
  /** Examples that begin with BOS twice. */
  readonly doubleBos: number;
}

const LONGEST = 3;

/** Looks at every example once. */
export function surveyExamples(examples: ExampleList, bosId: number | undefined): Survey {
  const hashes = new Float64Array(examples.length);
  let count = 0;
  let doubleBos = 0;
  let longest: { example: number; tokens: number }[] = [];
  for (let i = 0; i < examples.length; i++) {
    const example = examples.at(i);
    if (example === undefined) continue;
    const { inputIds, tokensLost } = example;
    hashes[count++] = hashOf(example);
    if (bosId !== undefined && inputIds[0] === bosId && inputIds[1] === bosId) doubleBos++;
    const tokens = inputIds.length + tokensLost;
    if (longest.length === LONGEST && tokens <= (longest.at(-1)?.tokens ?? 0)) continue;
    longest = [...longest, { example: i + 1, tokens }]
      .toSorted((a, b) => b.tokens - a.tokens)
      .slice(0, LONGEST);
  }
  const sorted = hashes.subarray(0, count).toSorted();
  const copies = sorted.reduce((sum, hash, i) => sum + Number(i > 0 && hash === sorted[i - 1]), 0);
  return { longest, copies, doubleBos };
}

/** FNV-1a over an example's numbers, 53 bits of it: equal for equal examples, and by chance for no others. */
function hashOf({ inputIds, labels, tokensLost }: EncodedExample): number {
  let a = 0x811c9dc5;
  let b = 0x01000193;
  const mix = (number: number) => {
    a = Math.imul(a ^ number, 0x01000193);
    b = Math.imul(b ^ number, 0x85ebca6b) ^ (b >>> 13);
  };
  mix(inputIds.length);
  mix(tokensLost);
  for (const id of inputIds) mix(id);
  for (const label of labels) mix(label);
  return (a >>> 0) * 0x200000 + (b >>> 11);
}

export function findFaults(view: DatasetView, config: TrainConfig, survey: Survey): Finding[] {
  const { funnel } = view.encoded;
  const { doubtful, firstDoubt = "" } = funnel;
  return [
    ...rowFaults(funnel),
    ...when(doubtful > 0, "warning", () => [
      `Mapped to hardly what is meant: ${countOf(doubtful, "row")}. The first: ${firstDoubt}`,
      "Correct them, or choose another dataset_format.",
    ]),
    ...(config.input_ids_with_output ? endFaults(funnel) : []),
    ...exampleFaults(view, survey),
    ...templateFaults(view, config),
    ...compatFaults(view, config),
  ];
}

function rowFaults(funnel: EncodeFunnel): Finding[] {
  const n = formatCount;
  const { droppedBroken, droppedEmpty, droppedUnlabeled, truncated, kept, maxLength } = funnel;
  return [
    ...when(droppedBroken > 0, "error", () => [
      `${countOf(droppedBroken, "row")} cannot be read. The first: ${firstLine(funnel.firstBroken)}`,
      "Correct them: training refuses the file.",
    ]),
    ...when(droppedEmpty > 0, severityOf(droppedEmpty, kept), () => [
      `Without a conversation, and left out: ${countOf(droppedEmpty, "row")}.`,
      "Check that they have an answer by an assistant, and that dataset_format is the right one.",
    ]),
    ...when(droppedUnlabeled > 0, severityOf(droppedUnlabeled, kept), () => [
      `Without a token to learn within ${n(maxLength)} tokens, and left out: ${countOf(droppedUnlabeled, "row")}.`,
      "Raise max_length or shorten their prompts, or check that their answers are not marked as not learned.",
    ]),
    ...when(truncated > 0, "warning", () => [
      `Cut at ${n(maxLength)} tokens: ${n(truncated)} of ${countOf(kept, "example")}, which lose ${countOf(funnel.tokensLost, "token")}.`,
      "Raise max_length, or split the longest rows.",
    ]),
  ];
}

/** Lost rows are doubtful, and an error where they are more than what is left. */
function severityOf(lost: number, kept: number): Finding["severity"] {
  return lost > kept ? "error" : "warning";
}

function endFaults({ endless, endsLost, kept }: EncodeFunnel): Finding[] {
  const unwritten = endless - endsLost;
  const few =
    unwritten === kept
      ? "No answer"
      : `${formatCount(kept - unwritten)} of ${formatCount(kept)} answers`;
  return when(unwritten > 0, unwritten === kept ? "error" : "warning", () => [
    `${few} end with a token that is learned, so the model may not learn to stop.`,
    "Choose a prompt_template whose answers have an end, or a tokenizer with an eos_token.",
  ]);
}

function exampleFaults({ encoded, opened }: DatasetView, { copies, doubleBos }: Survey): Finding[] {
  const n = formatCount;
  const { kept } = encoded.funnel;
  const bos = opened.tokenizer.bosToken ?? "BOS";
  return [
    ...when(doubleBos > 0, "error", () => [
      `Beginning with ${bos} twice, once from their text and once from the tokenizer: ${countOf(doubleBos, "example")}.`,
      `Remove ${bos} from the data, or choose a template without it.`,
    ]),
    ...when(copies > 0, "warning", () => [
      `Copies of another: ${n(copies)} of ${countOf(kept, "example")}.`,
      "Remove them, unless the answer is to be learned by heart.",
    ]),
  ];
}

/** The prompt of a named template against the model's own. */
function templateFaults({ opened, chosen }: DatasetView, config: TrainConfig): Finding[] {
  const { tokenizer, architecture } = opened;
  const long = when(config.max_length > architecture.maxPositions, "warning", () => [
    `max_length is ${config.max_length}; the model was made for at most ${architecture.maxPositions} tokens.`,
    "Lower max_length.",
  ]);
  if (chosen.name === "auto" || tokenizer.chatTemplate === undefined) return long;
  const promptBy = (template: typeof chosen.template) => {
    const ids = encodePrompt([{ role: "user", content: "QUESTION" }], tokenizer, template);
    return tokenizer.decode(ids[0] === tokenizer.bosId ? ids.slice(1) : ids);
  };
  try {
    const [named, own] = [chosen.template, chooseTemplate("auto", opened).template].map(promptBy);
    // The model's own may begin with a system message.
    return [
      ...long,
      ...when(own?.endsWith(named ?? "") !== true, "warning", () => [
        `prompt_template ${chosen.name} writes ${JSON.stringify(named)}; the model's own template writes ${JSON.stringify(own)}.`,
        "Use prompt_template auto for a model that was tuned for chat; for a base model either will do.",
      ]),
    ];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return long; // a template that cannot be rendered is nobody's here
  }
}

/** What XTuner itself refuses, or turns into a loss that is no number. */
function compatFaults({ encoded, rows }: DatasetView, { compat }: TrainConfig): Finding[] {
  if (compat === "none") return [];
  const { files } = encoded.funnel;
  const others = files.filter(({ name }) => !/\.jsonl?$/i.test(name)).map(({ name }) => name);
  const silent = countUnlabeled(rows);
  return [
    ...when(others.length > 0, "warning", () => [
      `XTuner's check-custom-dataset takes JSON alone; ${others.join(", ")} is read here all the same.`,
      "Convert it to JSON for XTuner.",
    ]),
    ...when(silent > 0, "warning", () => [
      `Without a token to learn, so that XTuner's loss on them is no number: ${formatCount(silent)} of ${countOf(rows.length, "row")}.`,
      "Raise max_length, or leave compat out: such rows are left out then.",
    ]),
  ];
}

function when(
  isSo: boolean,
  severity: Finding["severity"],
  words: () => readonly [problem: string, remedy: string],
): Finding[] {
  if (!isSo) return [];
  const [problem, remedy] = words();
  return [{ severity, problem, remedy }];
}

function firstLine(text = ""): string {
  return text.split("\n")[0] ?? "";
}
