// Multiple-choice questions put to a model, as XTuner's MMLU test puts them: the prompt goes through once,
// and of the logits behind its last token those of the four letters are compared.
import { throwIfAborted, UserError } from "../../base/error.ts";
import { encodeExample } from "../../data/encode.ts";
import { LETTERS, type Question, readQuestion } from "../../data/mmlu.ts";
import { type Answered, scoreMmlu } from "../../data/mmlu-score.ts";
import { encodePrompt } from "../../data/prompt.ts";
import { readDataRows } from "../../data/read-data.ts";
import { applyTemplate } from "../../data/templates.ts";
import type { ChoicesReport, ChoicesRequest, DataSource } from "../../engine.ts";
import type { Tokenizer } from "../../formats/tokenizer.ts";
import type { Gpu } from "../../gpu/device.ts";
import { readAdapterFolder } from "../../model/files/adapter-files.ts";
import { abortable } from "../datasets/data-source.ts";
import {
  chooseTemplate,
  type ChosenTemplate,
  openModelFolder,
  readManifest,
} from "../model-folder.ts";
import { openGenerator } from "./open-generator.ts";
import type { Tuner } from "../tuning/tune.ts";

interface Prompt {
  readonly question: Question;
  readonly ids: Uint32Array;
  readonly isCut: boolean;
}

/** The template is the one asked for, else the adapter's, else the model's own. */
export async function askChoices(
  gpu: Gpu,
  request: ChoicesRequest,
  tuner?: Tuner,
): Promise<ChoicesReport> {
  const { signal } = request;
  const opened = await openModelFolder(request.model);
  const adapterFiles = request.adapter && (await readAdapterFolder(request.adapter, opened));
  const manifest = await readManifest(request.adapter ?? request.model);
  const chosen = chooseTemplate(
    request.promptTemplate ?? manifest?.promptTemplate ?? "auto",
    opened,
  );
  const letterIds = firstIds(opened.tokenizer);
  const toPrompt = createPromptEncoder(opened.tokenizer, chosen, {
    system: request.system ?? manifest?.system ?? "",
    maxLength: Math.min(request.maxLength, opened.architecture.maxPositions),
  });
  const prompts: Prompt[] = [];
  for (const source of request.data) {
    for await (const question of readQuestions(abortable(source, signal))) {
      prompts.push(toPrompt(question));
    }
  }

  const longest = prompts.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  const parts = { opened, adapterFiles, manifest, capacity: longest + 1 };
  const opening = await openGenerator(gpu, request, parts, tuner);
  const answers: Answered[] = [];
  try {
    for (const { question, ids, isCut } of prompts) {
      throwIfAborted(signal);
      const logits = await opening.generator.logits([...ids]);
      const predicted = largest(
        letterIds.map((id) => logits[id] ?? Number.NaN),
        question.where,
      );
      const { subject, answer } = question;
      answers.push({ subject, predicted, answer });
      request.onAnswer?.({
        row: answers.length,
        rows: prompts.length,
        subject,
        predicted: LETTERS[predicted] ?? "",
        answer: LETTERS[answer] ?? "",
        isCut,
      });
    }
  } finally {
    opening.free();
  }
  return { ...scoreMmlu(answers), cut: prompts.filter(({ isCut }) => isCut).length };
}

async function* readQuestions(source: DataSource): AsyncGenerator<Question> {
  for await (const row of readDataRows(source)) {
    yield readQuestion(row, source.name);
  }
}

/** Each letter's first token, encoded by itself. Refuses a tokenizer that begins two letters alike. */
function firstIds(tokenizer: Tokenizer): number[] {
  const ids = LETTERS.map((letter) => tokenizer.encode(letter)[0] ?? -1);
  if (new Set(ids).size === LETTERS.length) return ids;
  throw new UserError(
    `The tokenizer begins two of the letters ${LETTERS.join(", ")} with the same token (${ids.join(", ")}), so that answers cannot be told apart.`,
    "Measure this model with hone eval MODEL --data FILE, without --metric.",
  );
}

function createPromptEncoder(
  tokenizer: Tokenizer,
  { template }: ChosenTemplate,
  { system, maxLength }: { readonly system: string; readonly maxLength: number },
): (question: Question) => Prompt {
  const encode = (input: string): ArrayLike<number> => {
    const asked = { system, input, output: "" };
    if (!("render" in template)) {
      const whole = { maxLength: Number.MAX_SAFE_INTEGER, inputIdsWithOutput: false };
      return encodeExample(applyTemplate([asked], template), tokenizer, whole).inputIds;
    }
    const user = { role: "user", content: input } as const;
    const messages = system === "" ? [user] : [{ role: "system", content: system } as const, user];
    return encodePrompt(messages, tokenizer, template);
  };
  return (question) => {
    const ids = encode(question.input);
    if (ids.length === 0) {
      throw new UserError(`${question.where}: the question has no token.`, "Correct that row.");
    }
    // On the right, as XTuner does: the question's end and with it the answer's place are lost.
    const kept = Uint32Array.from(ids).subarray(0, maxLength);
    return { question, ids: kept, isCut: ids.length > maxLength };
  };
}

/** Index of the largest; of equal ones the first, as `torch.argmax`. */
function largest(values: readonly number[], where: string): number {
  if (values.every((value) => Number.isFinite(value))) {
    return values.reduce((best, value, i) => (value > (values[best] ?? value) ? i : best), 0);
  }
  throw new UserError(
    `${where}: the model's logits of the letters are ${values.join(", ")}.`,
    "Compute in 32 bits, with compute_dtype f32 or --torch-dtype fp32, or check the model's files.",
  );
}
