// Conversations with tools: read from the forms that files have, rendered by chat templates, learned where a model
// would have to write them.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Conversation } from "../../src/data/conversation.ts";
import { encodeByChatTemplate, encodeExample } from "../../src/data/encode.ts";
import { mapRow } from "../../src/data/formats.ts";
import { applyTemplate, promptTemplate } from "../../src/data/templates.ts";
import { PROMPT_TEMPLATES } from "../../src/data/template-table.ts";
import { compileChatTemplate } from "../../src/formats/chat-template.ts";
import { TOOL_TEMPLATES } from "./tool-templates.ts";
import { toyTokenizer } from "./toy-tokenizer.ts";

const tool = {
  type: "function",
  function: {
    name: "weather",
    description: "of a place",
    parameters: { type: "object", properties: { place: { type: "string" } } },
  },
};
const call = (place: string, id = "call_abc1") => ({
  id,
  type: "function",
  function: { name: "weather", arguments: JSON.stringify({ place }) },
});

const row = (value: object) => ({ value, row: 4, line: 4 });
const map = (value: object) => mapRow("openai", row(value), "d");

const OPENAI = {
  tools: [tool],
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Oslo?" },
    { role: "assistant", content: null, tool_calls: [call("Oslo")] },
    { role: "tool", tool_call_id: "call_abc1", content: '{"t": 3}' },
    { role: "assistant", content: "Three degrees." },
    { role: "user", content: "Thanks" },
    { role: "assistant", content: "Welcome." },
  ],
};

/** What is learned, and three dots for everything else. */
function learned(conversation: Conversation, source: string): string {
  const end = ">".codePointAt(0)! + 10;
  const isSpecial = (id: number) => id === end || id === "§".codePointAt(0)! + 10;
  const tokenizer = { ...toyTokenizer, bosToken: "^", eosToken: "§", isSpecial };
  const template = compileChatTemplate(source);
  const { inputIds, labels } = encodeByChatTemplate(conversation, tokenizer, template, {
    maxLength: 9999,
  });
  const texts = Array.from(labels, (label, i) =>
    label < 0 ? "\u0000" : toyTokenizer.decode([inputIds[i]!]),
  );
  return texts.join("").replaceAll(/\0+/g, "…");
}

describe("answers, calls among them, are learned with their ends, and nothing else", () => {
  test.each([
    [
      "qwen",
      '…<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call><|im_end|>…Three degrees.<|im_end|>…Welcome.<|im_end|>…',
    ],
    [
      "llama",
      '…{"name": "weather", "parameters": {"place": "Oslo"}}<|eot_id|>…Three degrees.<|eot_id|>…Welcome.<|eot_id|>',
    ],
    [
      "mistral",
      '…[TOOL_CALLS] [{"name": "weather", "arguments": {"place": "Oslo"}, "id": "call_abc1"}]§… Three degrees.§… Welcome.§',
    ],
    [
      "hermes",
      '…<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call><|im_end|>…Three degrees.<|im_end|>…Welcome.<|im_end|>…',
    ],
  ] as const)("%s", (name, expected) => {
    expect(learned(map(OPENAI), TOOL_TEMPLATES[name])).toBe(expected);
  });

  test("words before a call are learned with it, where the template writes them", () => {
    const messages = [
      { role: "user", content: "Oslo?" },
      { role: "assistant", content: "Let me look.", tool_calls: [call("Oslo"), call("Rome")] },
    ];
    expect(learned(map({ messages, tools: [tool] }), TOOL_TEMPLATES.qwen)).toBe(
      '…Let me look.\n<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call>\n<tool_call>\n{"name": "weather", "arguments": {"place": "Rome"}}\n</tool_call><|im_end|>…',
    );
    const unlearned = messages.map((message) => ({ ...message, weight: 0 }));
    expect(learned(map({ messages: unlearned, tools: [tool] }), TOOL_TEMPLATES.qwen)).toBe("…");
  });
});

describe("the forms that files have are one", () => {
  const expected = map(OPENAI);
  const [system, ...others] = OPENAI.messages;

  test("tools and arguments as objects or as the text of JSON, wrapped or bare", () => {
    const calls = [{ id: "call_abc1", name: "weather", arguments: { place: "Oslo" } }];
    const messages = OPENAI.messages.map((message) =>
      message.tool_calls === undefined ? message : { ...message, tool_calls: calls },
    );
    expect(map({ messages, tools: [tool.function] })).toEqual(expected);
    const text = JSON.stringify(OPENAI.tools);
    expect(map({ messages: JSON.stringify(OPENAI.messages), tools: text })).toEqual(expected);
    expect(expected[0]?.toolCalls).toEqual([
      {
        id: "call_abc1",
        type: "function",
        function: { name: "weather", arguments: { place: "Oslo" } },
      },
    ]);
  });

  test("no tools are none, however that is written", () => {
    const messages = [system, others[0], { role: "assistant", content: "No.", tool_calls: null }];
    const plain = [{ system: "Be brief.", input: "Oslo?", output: "No." }];
    for (const tools of [null, [], "[]", ""]) expect(map({ messages, tools })).toEqual(plain);
  });

  test("OpenAI's function_call, and ShareGPT's function_call and observation", () => {
    const legacy = map({
      functions: [tool.function],
      messages: [
        { role: "user", content: "Oslo?" },
        { role: "assistant", content: null, function_call: call("Oslo").function },
        { role: "function", name: "weather", content: { t: 3 } },
        { role: "assistant", content: "Three." },
      ],
    });
    const shared = mapRow(
      "sharegpt",
      row({
        tools: JSON.stringify([tool.function]),
        conversations: [
          { from: "human", value: "Oslo?" },
          { from: "function_call", value: '{"name": "weather", "arguments": {"place": "Oslo"}}' },
          { from: "observation", value: '{"t":3}' },
          { from: "gpt", value: "Three." },
        ],
      }),
      "d",
    );
    expect(shared.map(({ toolCalls }) => toolCalls)).toEqual(
      legacy.map(({ toolCalls }) => toolCalls),
    );
    const text = learned(shared, TOOL_TEMPLATES.qwen);
    expect(text).toBe(learned(legacy, TOOL_TEMPLATES.qwen));
    expect(text).toContain('{"name": "weather", "arguments": {"place": "Oslo"}}');
    // Without ids in the file they are made, for templates that want them.
    expect(learned(shared, TOOL_TEMPLATES.mistral)).toContain('"id": "call00001"}]§… Three.§');
  });

  test("arguments that a template joins as text are handed to it as text", () => {
    const joined = TOOL_TEMPLATES.qwen.replace(
      "{{- tool_call.arguments | tojson }}",
      "{{- '' + tool_call.arguments }}",
    );
    expect(learned(expected, joined)).toContain('"arguments": {"place":"Oslo"}}');
  });
});

describe("what cannot be written is refused", () => {
  test("by every named template", () => {
    for (const name of Object.keys(PROMPT_TEMPLATES)) {
      expect(() => applyTemplate(map(OPENAI), promptTemplate(name))).toThrow(/no place for them/);
    }
  });

  const CHATML =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
  const withoutTools = { messages: OPENAI.messages };
  test.each([
    ["tools", OPENAI, CHATML, /writes nothing of the tools that are offered/],
    ["calls", withoutTools, CHATML, /writes nothing of the calls of tools that message 3 makes/],
    [
      "results",
      { messages: [...OPENAI.messages.slice(0, 2), ...OPENAI.messages.slice(3)] },
      CHATML.replace(
        "<{{ m.role }}>{{ m.content }}",
        "{% if m.role != 'tool' %}{{ m.content }}{% endif %}",
      ),
      /writes nothing of message 3, which is a tool's/,
    ],
    [
      "what the template itself refuses",
      {
        messages: [
          { role: "user", content: "q" },
          { role: "assistant", tool_calls: [call("a"), call("b")] },
        ],
      },
      TOOL_TEMPLATES.llama,
      /only supports single tool-calls/,
    ],
  ])("by a model's template that has no place for %s", (_, value, source, fault) => {
    expect(() => learned(map(value), source)).toThrow(fault);
  });

  test.each([
    ["tools that are no list", { ...OPENAI, tools: "x" }, /"tools" is no list of tools/],
    [
      "a call without a name",
      { messages: [OPENAI.messages[1], { role: "assistant", tool_calls: [{}] }] },
      /row 4 .*messages\[1\]: a call of a tool has no name/,
    ],
    [
      "calls that are no list",
      { messages: [OPENAI.messages[1], { role: "assistant", tool_calls: 3 }] },
      /"tool_calls" is no list/,
    ],
    [
      "an answer that says and does nothing",
      { messages: [OPENAI.messages[1], { role: "assistant", content: null }] },
      /"content" is null/,
    ],
  ])("and so are %s", (_, value, fault) => {
    expect(() => map(value)).toThrow(fault);
  });

  test("and under XTuner's rules every role that it does not know", () => {
    expect(() => mapRow("openai", row(OPENAI), "d", undefined, { asXtuner: true })).toThrow(
      /messages\[2\]: "content" is null|messages\[3\]: the role "tool" is unknown to XTuner/,
    );
  });
});

// ---------------------------------------------------------------- masks stay where they are

/** Learned runs, one for each answer: between two there is always a prompt. */
const runs = (conversation: Conversation, source: string) =>
  learned(conversation, source)
    .split("…")
    .filter((text) => text !== "");

const words = fc.string({
  unit: fc.constantFrom("a", "B", "é", "中", "🙂", " ", "\n", '"', "{", "}"),
});
const turn = fc.record({
  input: words.map((text) => `q${text}?`),
  output: words.map((text) => `a${text}.`),
  place: fc.option(words, { nil: undefined }),
});

function conversationOf(
  turns: readonly { input: string; output: string; place: string | undefined }[],
) {
  return map({
    tools: [tool],
    messages: turns.flatMap(({ input, output, place }) => [
      { role: "user", content: input },
      ...(place === undefined
        ? []
        : [
            { role: "assistant", content: "", tool_calls: [call(place, "123456789")] },
            { role: "tool", tool_call_id: "123456789", content: output },
          ]),
      { role: "assistant", content: output },
    ]),
  });
}

describe("an edit of one turn changes no other turn's mask", () => {
  const edited = fc
    .tuple(fc.array(turn, { minLength: 1, maxLength: 4 }), fc.nat(), turn)
    .map(([turns, at, fresh]) => ({ turns, at: at % turns.length, fresh }));

  test.each(Object.entries(TOOL_TEMPLATES))("by %s's template, with tools", (_, source) => {
    fc.assert(
      fc.property(edited, ({ turns, at, fresh }) => {
        const changed = turns.map((old, i) =>
          i === at
            ? { ...fresh, place: old.place === undefined ? undefined : (fresh.place ?? "x") }
            : old,
        );
        const before = runs(conversationOf(turns), source);
        const after = runs(conversationOf(changed), source);
        const owner = turns.flatMap(({ place }, i) => (place === undefined ? [i] : [i, i]));
        expect(before.length).toBe(owner.length);
        expect(after.length).toBe(owner.length);
        const others = (list: readonly string[]) => list.filter((_run, k) => owner[k] !== at);
        expect(others(after)).toEqual(others(before));
      }),
      { numRuns: 25 },
    );
  });

  test.each([...Object.keys(PROMPT_TEMPLATES), "none"])("by the named template %s", (name) => {
    fc.assert(
      fc.property(edited, ({ turns, at, fresh }) => {
        const encode = (list: typeof turns) => {
          const conversation = applyTemplate(list, promptTemplate(name));
          const { inputIds, labels } = encodeExample(conversation, toyTokenizer, {
            maxLength: 1e6,
          });
          let position = 0;
          // What each turn adds, which is encoded by itself.
          return conversation.map((_turn, i) => {
            const { inputIds: part } = encodeExample(conversation.slice(0, i + 1), toyTokenizer, {
              maxLength: 1e6,
            });
            const start = position;
            position = part.length;
            const ids = Array.from(inputIds).slice(start, position);
            return { ids, labels: Array.from(labels).slice(start, position) };
          });
        };
        const before = encode(turns);
        const after = encode(turns.map((old, i) => (i === at ? fresh : old)));
        expect(after.filter((_part, i) => i !== at)).toEqual(before.filter((_part, i) => i !== at));
        const { ids, labels } = after[at]!;
        const learnedText = toyTokenizer.decode(ids.filter((_id, i) => labels[i]! >= 0));
        expect(learnedText).toBe(fresh.output + (promptTemplate(name).suffix ?? ""));
      }),
      { numRuns: 5 },
    );
  });
});
