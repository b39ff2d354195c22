import { describe, expect, test } from "vitest";
import type { Conversation } from "../../src/data/conversation.ts";
import { DATASET_FORMATS, detectFormat, mapRow } from "../../src/data/formats.ts";
import fixture from "../fixtures/data.json";

const row = (value: unknown, number = 1) => ({ value, row: number, line: number });

/** Back to XTuner's key names. */
function snake(conversation: Conversation) {
  return conversation.map(({ outputWithLoss, needEosToken, ...rest }) => ({
    ...rest,
    ...(outputWithLoss === undefined ? {} : { output_with_loss: outputWithLoss }),
    ...(needEosToken === undefined ? {} : { need_eos_token: needEosToken }),
  }));
}

describe("rows map as XTuner's functions map them", () => {
  const maps = fixture.map_fns as unknown as Record<
    string,
    { in: object; out: { conversation: object[] } }[]
  >;
  test.each(["openai", "alpaca", "alpaca_zh", "default"] as const)("%s", (format) => {
    const cases = maps[`${format}_map_fn`]!;
    expect(cases.length).toBeGreaterThan(0);
    for (const { in: input, out } of cases) {
      expect(snake(mapRow(format, row(input), "d"))).toEqual(out.conversation);
    }
  });

  test("every conversation of the fixture is itself in standard form", () => {
    for (const { out } of Object.values(maps).flat()) {
      const { conversation } = out;
      // An empty system text and none at all are the same.
      const expected = conversation.map((turn) =>
        Object.fromEntries(Object.entries(turn).filter(([k, v]) => k !== "system" || v !== "")),
      );
      expect(snake(mapRow("standard", row(out), "d"))).toEqual(expected);
    }
  });
});

test("Alpaca rows without an input keep the newline, and <nooutput> rows are empty", () => {
  expect(mapRow("alpaca", row({ instruction: "I", output: "o" }), "d")).toEqual([
    { input: "I\n", output: "o" },
  ]);
  const none = { instruction: "I", input: "", output: "<nooutput>" };
  expect(mapRow("alpaca", row(none), "d")).toEqual([]);
});

test("standard rows keep what says how to learn them", () => {
  const turn = {
    system: "S",
    input: "i",
    output: "o",
    output_with_loss: false,
    need_eos_token: false,
    sep: "|",
  };
  expect(mapRow("standard", row({ conversation: [turn] }), "d")).toEqual([
    { system: "S", input: "i", output: "o", outputWithLoss: false, needEosToken: false, sep: "|" },
  ]);
});

const messages = (...list: object[]) => row({ messages: list }, 7);

test("OpenAI's weight says whether an answer is learned, and text parts are joined", () => {
  const conversation = mapRow(
    "openai",
    messages(
      {
        role: "user",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
      { role: "assistant", content: "x", weight: 0 },
      { role: "user", content: "c" },
      { role: "assistant", content: "y", weight: 1 },
      { role: "user", content: "d" },
      { role: "assistant", content: "z" },
    ),
    "d",
  );
  expect(conversation).toEqual([
    { system: "", input: "ab", output: "x", outputWithLoss: false },
    { system: "", input: "c", output: "y", outputWithLoss: true },
    { system: "", input: "d", output: "z" },
  ]);
});

test.each([
  [
    "an unknown role",
    messages({ role: "tool", content: "x" }),
    /d, row 7 \(line 7\), messages\[0\]: the role "tool" is unknown/,
  ],
  [
    "a weight between",
    messages({ role: "user", content: "x" }, { role: "assistant", content: "y", weight: 0.5 }),
    /messages\[1\]: "weight" is 0.5/,
  ],
  [
    "no content",
    messages({ role: "user", content: null }),
    /"content" is null, where a text is needed/,
  ],
  [
    "an image",
    messages({ role: "user", content: [{ type: "image_url" }] }),
    /content\[0\]: it is a part of type "image_url"/,
  ],
  [
    "no messages",
    row({ text: "x" }, 7),
    /"messages" is missing, where a list is needed; its keys: text/,
  ],
  ["a row that is no object", row([1], 7), /row 7 .*not a JSON object/],
])("%s is refused with the row's place", (_, bad, fault) => {
  expect(() => mapRow("openai", bad, "d")).toThrow(fault);
});

describe("detection", () => {
  test.each([
    ["openai", { messages: [] }],
    ["alpaca", { instruction: "", input: "", output: "" }],
    ["alpaca_zh", { instruction_zh: "", input_zh: "", output_zh: "" }],
    ["default", { input: "", output: "" }],
    ["standard", { conversation: [] }],
  ] as const)("%s", (format, value) => {
    expect(detectFormat([row(value)], "d").format).toBe(format);
    expect(detectFormat([row(value), row({ ...value, id: 3 })], "d").format).toBe(format);
  });

  test("tells why", () => {
    const rows = [row({ messages: [] }), row({ messages: [] })];
    expect(detectFormat(rows, "d").reason).toBe(
      'rows 1 to 2 have a "messages" list of roles and contents',
    );
  });

  test("refuses what it does not know, with the keys that it found and the forms it knows", () => {
    const rows = [row({ messages: [] }), row({ text: "x", conversations: [] })];
    const detect = () => detectFormat(rows, "d.json");
    expect(detect).toThrow(/d\.json has rows with the keys messages, text, conversations/);
    for (const name of DATASET_FORMATS) expect(detect).toThrow(name);
    expect(() => detectFormat([row("x")], "d")).toThrow(/no JSON objects/);
  });
});
