// Multiple-choice questions: the letter with the largest logit, prompts cut as XTuner cuts them.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { encodeExample } from "../../../src/data/encode.ts";
import { promptTemplate, renderPrompt } from "../../../src/data/templates.ts";
import { type ChoiceAnswer, createEngine } from "../../../src/engine.ts";
import { openModelFolder } from "../../../src/engine/model-folder.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { temporaryFolder, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
afterAll(() => engine.close());
const model = openFolder(writeTinyModel());

/** Five-shot questions begin alike; some end within a chunk of the cache, some in a later one. */
const SHOTS = "The following are questions about anatomy.\n\n1 + 1?\nA. 1\nB. 2\nAnswer: B\n\n";
const inputs = Array.from(
  { length: 7 },
  (_, i) => `${SHOTS}${"Why? ".repeat(9 * i)}${i}\nAnswer: `,
);
const rows = inputs.map((input, i) => ({ input, output: "ABCD"[i % 4], subject: "anatomy" }));

async function ask(questions: readonly object[], request: object = {}) {
  const path = join(temporaryFolder(), "questions.json");
  writeFileSync(path, JSON.stringify(questions));
  const answers: ChoiceAnswer[] = [];
  const report = await engine.askChoices({
    model,
    data: [await openDataSource(path)],
    maxLength: 400,
    promptTemplate: "default",
    onAnswer: (answer) => answers.push(answer),
    ...request,
  });
  return { report, answers };
}

describe("the letter answered is the likeliest by the chat's logits", () => {
  test.each(["default", "auto"])("with the template %s", async (promptTemplateName) => {
    const { tokenizer } = await openModelFolder(model);
    const ids = ["A", "B", "C", "D"].map((letter) => tokenizer.encode(letter)[0] ?? -1);
    const request = { promptTemplate: promptTemplateName };
    const { report, answers } = await ask(rows, request);
    const chat = await engine.openChat({ model, contextTokens: 400, ...request });
    try {
      const expected: string[] = [];
      for (const content of inputs) {
        const logits = await chat.logits([{ role: "user", content }]);
        const own = ids.map((id) => logits[id] ?? Number.NaN);
        expected.push("ABCD"[own.indexOf(Math.max(...own))] ?? "");
      }
      expect(answers.map(({ predicted }) => predicted)).toEqual(expected);
      expect(new Set(expected).size).toBeGreaterThan(1); // or the test would prove little
      const correct = answers.filter(({ predicted, answer }) => predicted === answer).length;
      expect(report).toMatchObject({ questions: rows.length, correct, cut: 0 });
      expect(report.average).toBeCloseTo((100 * correct) / rows.length);
    } finally {
      chat.close();
    }
  });
});

test("logits are the same to the bit whatever prompt came before", async () => {
  const chat = await engine.openChat({ model, contextTokens: 400, promptTemplate: "default" });
  try {
    const logits = (content: string) => chat.logits([{ role: "user", content }]);
    const chosen = inputs.slice(3, 6);
    const fresh: Float32Array[] = [];
    for (const input of chosen) {
      await logits("Something else."); // after which nothing in the cache can be used
      fresh.push(await logits(input));
    }
    const sampling = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0 };
    const message = { role: "user", content: `${chosen[1]}!` } as const;
    await chat.reply([message], { ...sampling, maxNewTokens: 4, stopWords: [] });
    for (const i of [2, 0, 1, 1]) expect(await logits(chosen[i] ?? "")).toEqual(fresh[i]);
  } finally {
    chat.close();
  }
});

test("a long prompt is cut on the right, and counted", async () => {
  const { tokenizer } = await openModelFolder(model);
  const input = renderPrompt(promptTemplate("default"), { input: inputs[6] ?? "", round: 1 });
  const whole = encodeExample([{ input, output: "" }], tokenizer, {
    maxLength: 400,
    inputIdsWithOutput: false,
  });
  expect(whole.inputIds[0]).toBe(tokenizer.bosId);
  const maxLength = whole.inputIds.length - 1;
  const { report, answers } = await ask(rows, { maxLength });
  expect(answers.map(({ isCut }) => isCut)).toEqual(rows.map((_, i) => i === 6));
  expect(report.cut).toBe(1);
});

test("an aborted test ends with an AbortedError", async () => {
  const controller = new AbortController();
  const answered = ask(rows, {
    signal: controller.signal,
    onAnswer: ({ row }: ChoiceAnswer) => row === 2 && controller.abort(),
  });
  await expect(answered).rejects.toMatchObject({ name: "AbortedError" });
});

function onProgress(): void {
  expect.unreachable();
}

test("a file without questions, or with another kind of row, is refused before the model is loaded", async () => {
  await expect(ask([], { onProgress })).rejects.toThrow("holds no rows");
  await expect(ask([{ input: "x", output: "y" }], { onProgress })).rejects.toThrow(
    '"output" is "y"',
  );
});
