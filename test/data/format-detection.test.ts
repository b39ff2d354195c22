// Which format a file's first rows are told to be, and why.
import { describe, expect, test } from "vitest";
import {
  DATASET_FORMATS,
  describeFormat,
  detectFormat,
  formatNamed,
  formatsNamed,
  mapRow,
} from "../../src/data/formats.ts";

const rows = (...values: unknown[]) =>
  values.map((value, i) => ({ value, row: i + 1, line: i + 1 }));
const detect = (...values: unknown[]) => detectFormat(rows(...values), "d.json");

const MESSAGES = [
  { role: "user", content: "q" },
  { role: "assistant", content: "a" },
];
const SHARED = [
  { from: "human", value: "q" },
  { from: "gpt", value: "a" },
];

describe("a row of each format is told", () => {
  test.each([
    ["openai", { messages: MESSAGES }],
    ["openai", { messages: [] }],
    ["openai", { prompt: "q", prompt_id: "7", messages: MESSAGES }],
    ["openai", { messages: JSON.stringify(MESSAGES) }],
    ["sharegpt", { id: "x", conversations: SHARED }],
    ["sharegpt", { conversations: MESSAGES }],
    ["sharegpt", { conversation: SHARED }],
    [
      "sharegpt",
      { conversations: "[{'from': 'human', 'value': 'it\\'s'}, {'from': 'gpt', 'value': 'a'}]" },
    ],
    ["standard", { conversation: [] }],
    ["standard", { conversation: [{ input: "q", output: "a" }] }],
    ["llava", { image: "i.png", conversations: [{ from: "human", value: "<image>\nq" }] }],
    [
      "msagent_react",
      { conversations: "[{'from': 'assistant', 'value': '<|startofthink|>{}<|endofthink|>'}]" },
    ],
    ["input_output", { segments: [{ label: true, text: "a" }] }],
    ["alpaca", { instruction: "", input: "", output: "" }],
    ["alpaca", { instruction: "q", output: "a", system: "s", history: [] }],
    ["alpaca_zh", { instruction_zh: "", input_zh: "", output_zh: "" }],
    ["openorca", { id: "1", system_prompt: "", question: "q", response: "a" }],
    ["stack_exchange", { question: "q", response: "a" }],
    ["sql", { context: "CREATE TABLE t (a INT)", question: "q", answer: "SELECT 1" }],
    ["question_answer", { context: "Once …", question: "q", answer: "a" }],
    ["question_answer", { question: "q", answer: 42 }],
    ["question_answer", { instruction: "q", context: "", response: "a", category: "x" }],
    ["question_answer", { Context: "I am sad.", Response: "Why?" }],
    ["question_answer", { problem: "q", solution: "a", lang: "c" }],
    ["question_answer", { 问题: "q", 回答: "a" }],
    ["question_answer", { system: "s", input: "q", output: "a" }],
    ["tiny_codes", { prompt: "q", programming_language: "C", response: "a" }],
    ["question_answer", { prompt: "q", response: "a" }],
    ["colors", { description: "Red: deep", color: "#f00000" }],
    ["prompt_completion", { prompt: "q", completion: "a" }],
    ["prompt_completion", { prompt: [MESSAGES[0]], completion: [MESSAGES[1]] }],
    ["default", { input: "", output: "" }],
    ["arxiv", { id: "1", abstract: "q", title: "a" }],
    ["oasst1", { text: "### Human: q### Assistant: a" }],
    ["text", { text: "once", url: "x" }],
    ["text", { content: "once" }],
  ] as const)("%s %j", (format, value) => {
    expect(detect(value).format).toBe(format);
    expect(detect(value, { ...value, more: 3 }).format).toBe(format);
  });
});

/** Not trained on unless another format is named. */
const REFUSED = ["preference", "unpaired_preference"] as const;
const READ = DATASET_FORMATS.filter((format) => REFUSED.every((name) => name !== format));

test.each(READ)("the example of %s is read by it", (format) => {
  const conversation = mapRow(format, rows(describeFormat(format).example)[0]!, "d");
  expect(conversation.map(({ output }) => output)).not.toContain("");
  expect(conversation.length).toBeGreaterThan(0);
});

test.each(REFUSED)("the example of %s is told, and refused", (format) => {
  expect(() => detect(describeFormat(format).example)).toThrow(/takes a method such as/);
});

test("formats that only their name chooses put words before the question, or have another's columns", () => {
  const named = READ.filter(
    (format) =>
      format === "preference_chosen" || detect(describeFormat(format).example).format !== format,
  );
  expect(named).toEqual([
    "code_alpaca",
    "crime_kg_assitan",
    "law_reference",
    "llava_image_only",
    "medical",
    "msagent_react",
    "pretrain",
    "wizardlm",
    "preference_chosen",
  ]);
});

describe("the reason", () => {
  test("says which rows have what", () => {
    expect(detect({ messages: [] }, { messages: [] }).reason).toBe(
      'rows 1 to 2 have a "messages" list of roles and contents',
    );
    expect(detect({ text: "x", url: "y" }).reason).toBe(
      'row 1 has "text" to be learned whole (not read: url)',
    );
    expect(detect({ Context: "c", Question: "q", Response: "a" }).reason).toBe(
      'row 1 has "Question" and "Response", with "Context"',
    );
  });

  test("one row of a format that finds nothing in all others does not decide", () => {
    const agent =
      "[{'from': 'user', 'value': 'x'}, {'from': 'assistant', 'value': '<|startofthink|>{<|endofthink|>'}]";
    const shared = { conversations: SHARED };
    expect(detect({ conversations: agent }).format).toBe("msagent_react");
    expect(detect(shared, shared, { conversations: agent }, shared).format).toBe("sharegpt");
  });

  test("one wrongly typed row sends no file elsewhere: the row and its fault are named", () => {
    const good = { messages: MESSAGES, text: "t" };
    const values = Array.from({ length: 20 }, (_, i) =>
      i === 6 ? { messages: "hm", text: "t" } : good,
    );
    expect(detect(...values)).toEqual({
      format: "openai",
      reason:
        '19 of rows 1 to 20 have a "messages" list of roles and contents; row 7 cannot be read: "messages" is a text, where a list is needed; its keys: messages, text',
    });
    expect(() => mapRow("openai", rows(...values)[6]!, "d")).toThrow(
      /row 7 .*"messages" is a text/,
    );
    expect(
      detect({ instruction: "q", output: 3 }, "x", { instruction: "q", output: {} }).reason,
    ).toBe(
      '1 of rows 1 to 3 has "instruction", "input" and "output"; row 2 cannot be read: it is not a JSON object',
    );
  });

  test("a more telling format that reads all rows is taken, where only some have its columns", () => {
    const bare = { question: "q", response: "a" };
    expect(detect(bare, bare, { ...bare, system_prompt: "s" }).format).toBe("openorca");
  });
});

test("rows of several formats are refused, with where each begins", () => {
  expect(() =>
    detect(
      { messages: MESSAGES },
      { instruction: "q", output: "a" },
      { messages: MESSAGES },
      { instruction: "q", output: "a" },
    ),
  ).toThrow(
    /mixes rows of several formats: 2 rows, the first row 1, have .*openai.*the first row 2, .*alpaca/s,
  );
});

test("what is no format is refused, with the keys that it found and the forms it knows", () => {
  expect(() => detect({ foo: 1, bar: {} })).toThrow(
    /d\.json has rows with the keys foo, bar, which is no format/,
  );
  expect(() => detect({ foo: 1 })).toThrow(/openai \(.*alpaca \(.*question_answer/s);
  expect(() => detect("x")).toThrow(/no JSON objects/);
  expect(() => detect()).toThrow(/no JSON objects/);
  expect(() => detect({ question: "q", answers: { text: ["a"] } })).toThrow(
    /keys question, answers/,
  );
});

test("preference data is refused with what it takes, and its chosen answers are learned where that is named", () => {
  const value = { prompt: "q", chosen: "good", rejected: "bad" };
  expect(() => detect(value)).toThrow(/DPO.*\n.*dataset_format: preference_chosen/);
  expect(mapRow("preference_chosen", rows(value)[0]!, "d")).toEqual([
    { system: "", input: "q", output: "good" },
  ]);
  const chosen = [...MESSAGES, { role: "user", content: "r" }, { role: "assistant", content: "b" }];
  expect(mapRow("preference_chosen", rows({ prompt: "q", chosen, rejected: [] })[0]!, "d")).toEqual(
    [
      { system: "", input: "q", output: "a", outputWithLoss: false },
      { system: "", input: "r", output: "b" },
    ],
  );
  expect(() => detect({ prompt: "q", completion: "a", label: true })).toThrow(/KTO/);
});

describe("names", () => {
  test.each([
    ["openai_map_fn", "openai"],
    ["xtuner.dataset.map_fns.alpaca_map_fn", "alpaca"],
    ["crime_kg_assitan", "crime_kg_assitan"],
    ["crime_kg_assitant_map_fn", "crime_kg_assitan"],
    ["crime_kg_assistant", "crime_kg_assitan"],
    [" completion ", "text"],
    ["auto", undefined],
  ] as const)("%s is %s", (name, format) => {
    expect(formatNamed(name)).toBe(format);
  });

  test("an unknown one is refused with those that exist", () => {
    expect(() => formatNamed("toString")).toThrow(
      /no dataset format "toString".*\n.*stack_exchange/,
    );
  });

  test("one for all data entries, or one for each", () => {
    expect(formatsNamed("openai", 2)).toEqual(["openai", "openai"]);
    expect(formatsNamed("auto, sql_map_fn", 2)).toEqual([undefined, "sql"]);
    expect(() => formatsNamed("auto,sql", 3)).toThrow(
      /names 2 formats, and there are 3 data entries/,
    );
  });
});

test("the names of fields choose the column, and the fields of its messages", () => {
  const value = {
    chat_log: [
      { who: "human", says: "q" },
      { who: "gpt", says: "a" },
    ],
    text: "t",
  };
  const fields = { messages: "chat_log", role: "who", content: "says" };
  const found = detectFormat(rows(value), "d", fields);
  expect(found.reason).toBe('field_messages says that "chat_log" holds the messages');
  expect(mapRow(found.format, rows(value)[0]!, "d", fields)).toEqual([
    { system: "", input: "q", output: "a" },
  ]);
  expect(() => detectFormat(rows({ text: "t" }), "d", fields)).toThrow(
    /no list in the column "chat_log"/,
  );
});
