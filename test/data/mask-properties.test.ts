// What is learned of a turn is that turn's affair alone, by the chat templates of the families that people use.
// Named templates and conversations with tools are judged so beside their other tests, in tools.test.ts.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type EncodedExample, encodeByChatTemplate } from "../../src/data/encode.ts";
import { IGNORE_INDEX } from "../../src/data/pack.ts";
import { compileChatTemplate } from "../../src/formats/chat-template.ts";
import { createTokenizer, type Tokenizer } from "../../src/formats/tokenizer.ts";
import { toyTokenizer } from "./toy-tokenizer.ts";

const TEMPLATES = join(import.meta.dirname, "../interop/chat_templates");
const marks =
  /<\|[a-z_]+\|>|<(?:bos|eos|s|start_of_turn|end_of_turn)>|<\/(?:s|tool_calls)>|\[\/?[A-Z_]+\]/g;
const FIRST_MARK = 0x20_0000; // past all characters

const pieces = (text: string) => text.match(new RegExp(`${marks.source}|.`, "gsu")) ?? [];

/** One id for each mark of a template, and one for each other character. */
function markedTokenizer() {
  const known: string[] = [];
  const idOf = (piece: string) => {
    if (piece.length < 3) return piece.codePointAt(0)! + 10;
    if (!known.includes(piece)) known.push(piece);
    return FIRST_MARK + known.indexOf(piece);
  };
  return {
    ...toyTokenizer,
    bosToken: "<s>",
    eosToken: "</s>",
    isSpecial: (id: number) => id >= FIRST_MARK,
    encode: (text: string) => pieces(text).map(idOf),
    encodeWithSpans(text: string) {
      const found = pieces(text);
      let end = 0;
      const ends = found.map((piece) => (end += piece.length));
      return { ids: found.map(idOf), starts: [0, ...ends.slice(0, -1)], ends };
    },
    decode: (ids: ArrayLike<number>) =>
      Array.from(ids, (id) =>
        id < FIRST_MARK ? String.fromCodePoint(id - 10) : known[id - FIRST_MARK],
      ).join(""),
  };
}

const folder = join(import.meta.dirname, "../../public/models/seedling");
const jsonOf = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8")) as object;
const seedlingFiles = {
  tokenizer: jsonOf("tokenizer.json"),
  tokenizerConfig: jsonOf("tokenizer_config.json") as { chat_template: string },
};

const FAMILIES = [
  ...readdirSync(TEMPLATES)
    .filter((name) => !name.endsWith(".marked.jinja"))
    .map((name) => {
      const source = readFileSync(join(TEMPLATES, name), "utf8");
      return [name.replace(".jinja", ""), source, markedTokenizer()] as const;
    }),
  [
    "Seedling, with its own tokenizer",
    seedlingFiles.tokenizerConfig.chat_template,
    createTokenizer(seedlingFiles, "seedling"),
  ] as const,
];

const words = fc.string({
  unit: fc.constantFrom("a", "B", "é", "中", "🙂", " ", "\n", '"', "{", "<"),
});
const turns = fc.array(
  fc.record({
    input: words.map((text) => `q${text}?`),
    output: words.map((text) => `a${text}.`),
    outputWithLoss: fc.boolean(),
  }),
  { minLength: 1, maxLength: 4 },
);

type Turns = readonly { input: string; output: string; outputWithLoss: boolean }[];

test.each(FAMILIES)("%s: every turn has a mask of its own", (_, source, tokenizer) => {
  const template = compileChatTemplate(source);
  const encode = (list: Turns) =>
    encodeByChatTemplate(list, tokenizer, template, { maxLength: 1e6 });
  const learnAll = (list: Turns) => encode(list.map((one) => ({ ...one, outputWithLoss: true })));

  fc.assert(
    fc.property(turns, fc.nat(), turns, (given, index, [fresh]) => {
      const whole = learnAll(given);
      const parts = partsOf(whole, tokenizer);
      // Prompt and answer in turns: an answer is learned in one piece, with its end and nothing of a question.
      expect(parts.map(({ isLearned }) => isLearned).slice(0, 2 * given.length)).toEqual(
        given.flatMap(() => [false, true]),
      );
      expect(answers(parts).length).toBe(given.length);
      given.forEach(({ input, output }, i) => {
        const { text } = answers(parts)[i]!;
        expect(prompts(parts)[i]!.text).toContain(input);
        expect(text).toContain(output);
        expect(text).not.toContain("q");
        expect(text.slice(text.indexOf(output) + output.length)).not.toBe("");
      });

      // Another question and answer change what is shown and learned of their own turn, and nothing else.
      const at = index % given.length;
      const edited = partsOf(learnAll(given.with(at, fresh!)), tokenizer);
      const others = (list: readonly Part[]) =>
        list.filter((_part, i) => Math.floor(i / 2) !== at).map(({ text }) => text);
      expect(others(edited)).toEqual(others(parts));
      expect(answers(edited)[at]!.text).toContain(fresh!.output);

      // An answer that is not to be learned is shown as it was, and the others are learned as they were.
      const some = encode(given);
      const labels = whole.labels.slice();
      answers(parts).forEach(({ from, to }, i) => {
        if (!given[i]!.outputWithLoss) labels.fill(IGNORE_INDEX, from, to);
      });
      expect(some.inputIds).toEqual(whole.inputIds);
      expect(some.labels).toEqual(labels);
    }),
    { numRuns: 20 },
  );
});

interface Part {
  readonly isLearned: boolean;
  /** Tokens from … to. */
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

const prompts = (parts: readonly Part[]) => parts.filter(({ isLearned }) => !isLearned);
const answers = (parts: readonly Part[]) => parts.filter(({ isLearned }) => isLearned);

/** An example, cut where what is learned begins and ends. */
function partsOf(
  { inputIds, labels }: EncodedExample,
  { decode }: Pick<Tokenizer, "decode">,
): Part[] {
  const parts: Part[] = [];
  let from = 0;
  for (let to = 1; to <= inputIds.length; to++) {
    const isLearned = labels[from]! >= 0;
    if (to < inputIds.length && labels[to]! >= 0 === isLearned) continue;
    const text = decode(inputIds.slice(from, to), { skipSpecialTokens: false });
    parts.push({ isLearned, from, to, text });
    from = to;
  }
  return parts;
}
