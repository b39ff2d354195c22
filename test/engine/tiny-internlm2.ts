// A folder as InternLM2-chat-1.8B's is, file by file, with two small layers of random weights and a
// SentencePiece model in which the tutorial's sample has the tokens that it has in the real one.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRandom } from "../../src/base/random.ts";
import { encodeFloats } from "../../src/formats/float.ts";
import { encodeSafetensors } from "../../src/formats/safetensors.ts";

/** Of the tutorial's only sample, as the real tokenizer cuts it, without BOS, EOS and line breaks. */
const SAMPLE_PIECES =
  "< | User >: 请 做 一下 自我介绍 Bot 我是 us ere e 的小 助手 , 内在 是 上海 AI 实验室 书 生 · 浦 语的 1 . 8 B 大 模型 哦".split(
    " ",
  );
const QUESTION_PIECES = ["请你", "介绍一下", "你自己", "你是", "谁", "我的小", "吗"];

const SAMPLE = {
  messages: [
    { role: "user", content: "请做一下自我介绍" },
    {
      role: "assistant",
      content: "我是useree的小助手,内在是上海AI实验室书生·浦语的1.8B大模型哦",
    },
  ],
};

/** The data of the tutorial's script: the same row, so often. */
export function writeTutorialData(path: string, rows: number): void {
  writeFileSync(
    path,
    JSON.stringify(
      Array.from({ length: rows }, () => SAMPLE),
      null,
      4,
    ),
  );
}

/** Writes the folder; `hidden` is the width of all matrices but the vocabulary's. */
export function writeInternlm2(path: string, hidden = 64): void {
  mkdirSync(path, { recursive: true });
  const write = (name: string, content: string | Uint8Array) =>
    writeFileSync(join(path, name), content);
  const json = (name: string, value: unknown) => write(name, JSON.stringify(value, null, 2));
  const pieces = listPieces();
  write("tokenizer.model", sentencePieceModel(pieces));
  json("tokenizer_config.json", {
    added_tokens_decoder: {
      "0": addedToken("<unk>"),
      "1": addedToken("<s>"),
      "2": addedToken("</s>"),
    },
    auto_map: {
      AutoTokenizer: [
        "tokenization_internlm2.InternLM2Tokenizer",
        "tokenization_internlm2_fast.InternLM2TokenizerFast",
      ],
    },
    bos_token: "<s>",
    eos_token: "</s>",
    pad_token: "</s>",
    unk_token: "<unk>",
    tokenizer_class: "InternLM2Tokenizer",
  });
  json("special_tokens_map.json", {
    bos_token: "<s>",
    eos_token: "</s>",
    pad_token: "</s>",
    unk_token: "<unk>",
  });
  json("config.json", configOf(hidden, pieces.length));
  json("generation_config.json", { bos_token_id: 1, eos_token_id: 2, pad_token_id: 2 });
  for (const name of ["configuration", "modeling", "tokenization"]) {
    write(`${name}_internlm2.py`, `"""${name} of InternLM2; nothing here runs it."""\n`);
  }
  write("tokenization_internlm2_fast.py", '"""The fast tokenizer of InternLM2."""\n');
  write("README.md", "# A small model of InternLM2's form\n");
  writeShards(write, hidden, pieces.length);
}

function configOf(hidden: number, vocab: number): object {
  return {
    architectures: ["InternLM2ForCausalLM"],
    auto_map: {
      AutoConfig: "configuration_internlm2.InternLM2Config",
      AutoModelForCausalLM: "modeling_internlm2.InternLM2ForCausalLM",
    },
    bias: false,
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_act: "silu",
    hidden_size: hidden,
    initializer_range: 0.02,
    intermediate_size: hidden,
    max_position_embeddings: 32_768,
    model_type: "internlm2",
    num_attention_heads: 2,
    num_hidden_layers: 2,
    num_key_value_heads: 1,
    pad_token_id: 2,
    rms_norm_eps: 1e-5,
    rope_scaling: { factor: 2.0, type: "dynamic" },
    rope_theta: 1_000_000,
    tie_word_embeddings: false,
    torch_dtype: "bfloat16",
    use_cache: true,
    vocab_size: vocab,
  };
}

/** Two files and their index, as the hub has them. */
function writeShards(
  write: (name: string, content: string | Uint8Array) => void,
  hidden: number,
  vocab: number,
): void {
  const random = createRandom(11);
  const layer = (index: number): [string, number[]][] => {
    const at = (name: string) => `model.layers.${index}.${name}.weight`;
    return [
      [at("attention.wo"), [hidden, hidden]],
      [at("attention.wqkv"), [2 * hidden, hidden]], // two query heads and one of keys, one of values
      [at("attention_norm"), [hidden]],
      [at("feed_forward.w1"), [hidden, hidden]],
      [at("feed_forward.w2"), [hidden, hidden]],
      [at("feed_forward.w3"), [hidden, hidden]],
      [at("ffn_norm"), [hidden]],
    ];
  };
  const shards: [string, number[]][][] = [
    [["model.tok_embeddings.weight", [vocab, hidden]], ...layer(0)],
    [...layer(1), ["model.norm.weight", [hidden]], ["output.weight", [vocab, hidden]]],
  ];
  const weightMap: Record<string, string> = {};
  let totalBytes = 0;
  shards.forEach((shapes, index) => {
    const file = `model-0000${index + 1}-of-00002.safetensors`;
    const tensors = new Map(
      shapes.map(([name, shape]) => {
        const scale = shape.length === 1 ? 0.1 : 1 / Math.sqrt(hidden);
        const offset = shape.length === 1 ? 1 : 0;
        const count = shape.reduce((product, size) => product * size, 1);
        const values = Float32Array.from({ length: count }, () => offset + scale * random.normal());
        weightMap[name] = file;
        totalBytes += 2 * count;
        return [name, { dtype: "BF16" as const, shape, bytes: encodeFloats(values, "BF16") }];
      }),
    );
    write(file, encodeSafetensors(tensors, { format: "pt" }));
  });
  const index = { metadata: { total_size: totalBytes }, weight_map: weightMap };
  write("model.safetensors.index.json", JSON.stringify(index, null, 2));
}

type Piece = readonly [text: string, score: number, type: number];

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const BYTE = 6;

/** Control pieces, bytes, the characters, and each piece with all that it is put together from. */
function listPieces(): Piece[] {
  const words = [...SAMPLE_PIECES, ...QUESTION_PIECES];
  const characters = new Set([...Array.from(words.join("")), "\n"]);
  const merges = new Set(
    words.flatMap((word) => {
      const letters = Array.from(word);
      return letters.slice(1).map((_, i) => letters.slice(0, i + 2).join(""));
    }),
  );
  const texts = [...merges, ...characters];
  return [
    ["<unk>", 0, UNKNOWN],
    ["<s>", 0, CONTROL],
    ["</s>", 0, CONTROL],
    ...Array.from({ length: 256 }, (_, byte): Piece => {
      const digits = byte.toString(16).toUpperCase().padStart(2, "0");
      return [`<0x${digits}>`, 0, BYTE];
    }),
    ...texts.map((text, i): Piece => [text, -i, NORMAL]),
  ];
}

function addedToken(content: string): object {
  return {
    content,
    lstrip: false,
    normalized: false,
    rstrip: false,
    single_word: false,
    special: true,
  };
}

/** The protobuf of a BPE model with bytes for what it does not know, as InternLM2's. */
function sentencePieceModel(pieces: readonly Piece[]): Uint8Array {
  const encodedPieces = pieces.flatMap(([text, score, type]) =>
    message(1, [
      ...message(1, [...new TextEncoder().encode(text)]),
      0x15, // field 2, a float
      ...new Uint8Array(new Float32Array([score]).buffer),
      ...integer(3, type),
    ]),
  );
  const trainer = [...integer(3, 2), ...integer(35, 1)]; // BPE, with byte fallback
  const identity = message(1, [...new TextEncoder().encode("identity")]);
  const normalizer = [...identity, ...integer(3, 0), ...integer(4, 0), ...integer(5, 1)];
  return Uint8Array.from([...encodedPieces, ...message(2, trainer), ...message(3, normalizer)]);
}

function message(field: number, bytes: readonly number[]): number[] {
  return [...varint(field * 8 + 2), ...varint(bytes.length), ...bytes];
}

function integer(field: number, value: number): number[] {
  return [...varint(field * 8), ...varint(value)];
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(Math.floor(value / 128))];
}
