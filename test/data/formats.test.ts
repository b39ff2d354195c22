import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import {
  type DatasetFormatName,
  formatNamed,
  mapRow,
  XTUNER_DATASET_FORMATS,
} from "../../src/data/formats.ts";
import fixture from "../fixtures/data.json";
import random from "../fixtures/map-functions.json";

const row = (value: unknown, number = 1) => ({ value, row: number, line: number });

/** An empty text and none at all are the same. */
const plain = (conversation: readonly object[]) =>
  conversation.map((turn) => ({ system: "", input: "", ...turn }));

function outcome(format: DatasetFormatName, input: object) {
  try {
    return plain(mapRow(format, row(input), "d", undefined, { asXtuner: true }));
  } catch (error) {
    if (error instanceof UserError) return "refused";
    throw error;
  }
}

describe("rows map as XTuner's functions map them", () => {
  const cases = [fixture, random].flatMap(({ map_fns }) =>
    Object.entries(
      map_fns as unknown as Record<
        string,
        { in: object; out: object[] | { conversation: object[] } | null }[]
      >,
    ),
  );

  test("all twenty are here", () => {
    const names = new Set(cases.map(([name]) => formatNamed(name)));
    expect(XTUNER_DATASET_FORMATS.filter((name) => !names.has(name))).toEqual([]);
    expect(names.size).toBe(20);
  });

  test.each(cases)("%s", (name, rows) => {
    const format = formatNamed(name)!;
    expect(rows.length).toBeGreaterThan(0);
    for (const { in: input, out } of rows) {
      expect(outcome(format, input)).toEqual(
        out === null ? "refused" : plain("conversation" in out ? out.conversation : out),
      );
    }
  });

  test("every conversation of the fixture is itself in standard form", () => {
    for (const { out } of Object.values(fixture.map_fns).flat()) {
      expect(plain(mapRow("standard", row(out), "d"))).toEqual(plain(out.conversation));
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
    messages({ role: "narrator", content: "x" }),
    /d, row 7 \(line 7\), messages\[0\]: the role "narrator" is unknown\.\nUse one of: system, .*assistant/,
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
