import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeExample } from "../../src/data/encode.ts";
import { encodePrompt } from "../../src/data/prompt.ts";
import { PROMPT_TEMPLATES, SYSTEM_TEMPLATES } from "../../src/data/template-table.ts";
import type { PromptTemplate } from "../../src/data/template-table.ts";
import { applyTemplate, promptTemplate, renderPrompt } from "../../src/data/templates.ts";
import data from "../fixtures/data.json";
import upstream from "../fixtures/templates.json";
import rendered from "../fixtures/templates-rendered.json";
import { toyTokenizer } from "./toy-tokenizer.ts";

test("all 26 templates and 8 system texts are upstream's, to the character", () => {
  const keys = {
    system: "SYSTEM",
    instruction: "INSTRUCTION",
    suffix: "SUFFIX",
    suffixAsEos: "SUFFIX_AS_EOS",
    sep: "SEP",
    stopWords: "STOP_WORDS",
  };
  const named = Object.entries(PROMPT_TEMPLATES).map(([name, template]) => [
    name,
    Object.fromEntries(
      Object.entries(template).map(([k, v]) => [keys[k as keyof typeof keys], v as unknown]),
    ),
  ]);
  expect(Object.fromEntries(named)).toEqual({
    ...upstream["v0.1.17"].PROMPT_TEMPLATE,
    ...upstream["added_by_v0.1.23"],
  });
  expect(named.length).toBe(26);
  expect(SYSTEM_TEMPLATES).toEqual(upstream["v0.1.17"].SYSTEM_TEMPLATE);
});

const CONVERSATION = [
  { system: "S", input: "u1", output: "a1" },
  { system: "", input: "u2", output: "a2" },
];

describe("a two-turn conversation renders, and is masked, as XTuner does it", () => {
  test.each(Object.entries(data.templates))("%s", (name, expected) => {
    const turns = applyTemplate(CONVERSATION, promptTemplate(name));
    const snake = turns.map(({ needEosToken, ...turn }) => ({
      ...turn,
      need_eos_token: needEosToken,
    }));
    expect(snake).toEqual(expected.conversation);

    const { inputIds, labels, labelTokens } = encodeExample(turns, toyTokenizer, {
      maxLength: 9999,
    });
    expect(inputIds.length).toBe(expected.n);
    expect(labelTokens).toBe(expected.n_loss);
    expect(segments(inputIds, labels)).toEqual(expected.segments);
  });
});

test.each(Object.entries(rendered.segments))(
  "three turns by %s, with braces, an empty turn and a system text",
  (name, expected) => {
    const template = promptTemplate(name);
    const turns = [
      { system: template.system === undefined ? "" : "S {x}", input: "u{round} 1", output: "a1 " },
      { system: "", input: "", output: "" },
      { input: "u3", output: "{a}" },
    ];
    const { inputIds, labels } = encodeExample(applyTemplate(turns, template), toyTokenizer, {
      maxLength: 9999,
    });
    expect(segments(inputIds, labels)).toEqual(expected);
  },
);

test("none writes nothing, leaves turns their own ends, and travels by its name", () => {
  const none = promptTemplate("none");
  const turn = { system: "S", input: "u", output: "a", needEosToken: false, sep: "|" };
  expect(applyTemplate([turn, { input: "v", output: "b" }], none)).toEqual([
    { ...turn, input: "Su" },
    { input: "v", output: "b" },
  ]);
  const asked = [
    { role: "user", content: "u" },
    { role: "assistant", content: "a" },
    { role: "user", content: "v" },
  ];
  expect(toyTokenizer.decode(encodePrompt(asked, toyTokenizer, none))).toBe("uav");
});

/** Runs of learned and masked text, as the fixture writes them. */
function segments(ids: Uint32Array, labels: Int32Array): [string, string][] {
  const runs: [string, string][] = [];
  ids.forEach((id, i) => {
    const kind = labels[i] === -100 ? "mask" : "loss";
    const text = id === 1 ? "<BOS>" : id === 2 ? "<EOS>" : String.fromCodePoint(id - 10);
    const last = runs.at(-1);
    if (last?.[0] === kind) last[1] += text;
    else runs.push([kind, text]);
  });
  return runs;
}

test("people's text is put in as it is, whatever it looks like", () => {
  const template = promptTemplate("chatglm2");
  fc.assert(
    fc.property(
      fc.string(),
      fc.constantFrom("{round}", "{input}", "{system}", "$&", "{x}", "}{", "{{"),
      (a, b) => {
        const input = a + b + a;
        const [turn] = applyTemplate([{ system: `${b}!`, input, output: "" }], template);
        expect(turn!.input).toBe(`${b}!\n[Round 1]\n\n问：${input}\n\n答：`);
      },
    ),
  );
});

test("a system text with no place in the template is refused", () => {
  const values = { system: "S", input: "i", round: 1 };
  expect(() => renderPrompt(promptTemplate("minicpm"), values)).toThrow(/no place for a system/);
  expect(renderPrompt(promptTemplate("minicpm"), { ...values, system: "" })).toBe("<用户> i <AI>");
});

test("an unknown template is refused with the names that exist", () => {
  expect(() => promptTemplate("toString")).toThrow(
    /no prompt template "toString".*\n.*internlm2_chat/,
  );
  const template: PromptTemplate = promptTemplate("default");
  expect(template.stopWords).toBeUndefined();
});
