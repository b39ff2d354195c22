// Data and a tokenizer to measure on: rows that all differ, in words that come as often as words do, and a
// byte-level vocabulary as large as Llama 3's. All made by a seed, so that anyone measures the same.
import { createRandom, type Random } from "../src/base/random.ts";
import { BYTE_CHARS, toByteChars } from "../src/formats/tokenizer-bytes.ts";

const SYLLABLES =
  "an ba co de el fi go hu in ja ka lo mi no or pe qua re si to un vi wa xe yo za tion ing er".split(
    " ",
  );
/** The commonest Chinese characters lie anywhere here; which they are makes no difference to speed. */
const HAN_START = 0x4e00;
const HAN_COUNT = 3000;

export interface Corpus {
  /** Texts of about so many words, a third of them Chinese. */
  text(words: number): string;
  /** Words by how often they come. */
  readonly words: readonly string[];
}

function createCorpus(seed: number, vocabulary = 30_000): Corpus {
  const random = createRandom(seed);
  const words = Array.from(new Set(Array.from({ length: vocabulary }, () => makeWord(random))));
  const pick = (count: number) => Math.floor(count ** random.next()) - 1; // Zipf's law
  const english = (count: number) => {
    const said = Array.from({ length: count }, () => {
      const word = words[pick(words.length)] ?? "";
      const chance = random.next();
      if (chance < 0.08) return `${word},`;
      if (chance < 0.12) return String(Math.floor(random.next() * 5000));
      return chance < 0.2 ? word.charAt(0).toUpperCase() + word.slice(1) : word;
    });
    return `${said.join(" ")}.`;
  };
  const chinese = (count: number) => {
    let text = "";
    for (let i = 0; i < count; i++) {
      text += String.fromCharCode(HAN_START + ((pick(HAN_COUNT) * 7919) % 20_000));
      if (i % 11 === 10) text += i % 22 === 21 ? "。" : "，";
    }
    return text;
  };
  return {
    words,
    text: (count) => (random.next() < 0.33 ? chinese(count) : english(count)),
  };
}

function makeWord(random: Random): string {
  const length = 1 + Math.floor(random.next() * 4);
  return Array.from({ length }, () => SYLLABLES[Math.floor(random.next() * SYLLABLES.length)]).join(
    "",
  );
}

/** JSONL whose rows all differ, 120 tokens each or so, in pieces as a disk gives them. */
export function* makeJsonl(
  form: "alpaca" | "openai",
  rows: number,
): Generator<Uint8Array<ArrayBuffer>> {
  const corpus = createCorpus(7);
  const encoder = new TextEncoder();
  let piece = "";
  for (let i = 0; i < rows; i++) {
    const [asked, given, answer] = [corpus.text(9), corpus.text(6), corpus.text(22)];
    const value =
      form === "alpaca"
        ? { instruction: asked, input: given, output: answer }
        : {
            messages: [
              { role: "user", content: asked },
              { role: "assistant", content: given },
              { role: "user", content: corpus.text(5) },
              { role: "assistant", content: answer },
            ],
          };
    piece += `${JSON.stringify(value)}\n`;
    if (piece.length < 1 << 16) continue;
    yield encoder.encode(piece);
    piece = "";
  }
  yield encoder.encode(piece);
}

const LLAMA_3_PATTERN = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

/** A tokenizer.json in the form of Llama 3's, with as many merges: words of the corpus, built from the left. */
export function makeLlamaTokenizer(merges = 128_000): object {
  const vocab = new Map<string, number>();
  const add = (token: string) => vocab.set(token, vocab.get(token) ?? vocab.size);
  for (const char of BYTE_CHARS) add(char);
  const list: string[] = [];
  const known = new Set<string>();
  const merge = (left: string, right: string) => {
    const pair = `${left} ${right}`;
    if (known.has(pair) || list.length >= merges) return;
    known.add(pair);
    list.push(pair);
    add(left + right);
  };
  const build = (text: string) => {
    const [first = "", ...rest] = toByteChars(text);
    rest.reduce((left, right) => (merge(left, right), left + right), first);
  };
  const { words } = createCorpus(7, 60_000);
  for (let point = 0; point < 20_000; point++) build(String.fromCharCode(HAN_START + point));
  for (const word of words) {
    if (list.length >= merges) break;
    build(` ${word}`);
    build(word.charAt(0).toUpperCase() + word.slice(1));
  }
  const special = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
  ];
  return {
    version: "1.0",
    added_tokens: special.map((content, i) => ({
      id: vocab.size + i,
      content,
      special: true,
      normalized: false,
      lstrip: false,
      rstrip: false,
      single_word: false,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: LLAMA_3_PATTERN }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab: Object.fromEntries(vocab),
      merges: list,
    },
  };
}
