// Makes a Qwen3 model of any size with random weights, as a GGUF file of type Q8_0. Its vocabulary is
// the 256 bytes and unused tokens, so a text of ASCII letters has as many tokens as letters.
import { createRandom } from "../../src/base/random.ts";
import { encodeF16 } from "../../src/formats/float.ts";
import {
  assemble,
  described,
  entry,
  f32,
  join,
  KIND,
  type MetadataValue,
  text,
  u32,
  VALUE,
} from "../../test/formats/gguf-file.ts";

export interface Qwen3Sizes {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly intermediate: number;
  /** At least 258; the last token ends a text. */
  readonly vocab: number;
  readonly context: number;
}

const BYTES = 256;
const BLOCK = 32;
const ALIGNMENT = 32;
// llama.cpp's kinds of tokens.
const NORMAL = 1;
const CONTROL = 3;
const UNUSED = 5;

export function makeQwen3(sizes: Qwen3Sizes, seed: number): Uint8Array<ArrayBuffer> {
  const descriptions: Uint8Array[] = [];
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const { name, shape, isNorm } of tensorsOf(sizes)) {
    const count = shape.reduce((product, size) => product * size, 1);
    const random = createRandom(seed, descriptions.length);
    const inputs = shape.at(-1) ?? 1;
    const bytes = isNorm
      ? f32(...Array.from({ length: count }, () => 0.8 + 0.4 * random.next()))
      : quantizeQ8(Float32Array.from({ length: count }, () => random.normal() / Math.sqrt(inputs)));
    const kind = isNorm ? KIND.F32 : KIND.Q8_0;
    descriptions.push(described(name, shape.toReversed(), kind, offset));
    data.push(bytes, new Uint8Array((ALIGNMENT - (bytes.length % ALIGNMENT)) % ALIGNMENT));
    offset += Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT;
  }
  return assemble({
    entries: metadataOf(sizes),
    tensors: descriptions,
    data: join(...data),
    alignment: ALIGNMENT,
  });
}

interface Tensor {
  readonly name: string;
  /** Row-major: [outputs, inputs]. */
  readonly shape: readonly number[];
  readonly isNorm: boolean;
}

const norm = (name: string, size: number): Tensor => ({ name, shape: [size], isNorm: true });
const matrix = (name: string, outputs: number, inputs: number): Tensor => ({
  name,
  shape: [outputs, inputs],
  isNorm: false,
});

function tensorsOf(sizes: Qwen3Sizes): Tensor[] {
  const { layers, hidden, heads, kvHeads, headSize, intermediate, vocab } = sizes;
  const blocks = Array.from({ length: layers }, (_, layer) => {
    const at = (name: string) => `blk.${layer}.${name}.weight`;
    return [
      norm(at("attn_norm"), hidden),
      matrix(at("attn_q"), heads * headSize, hidden),
      matrix(at("attn_k"), kvHeads * headSize, hidden),
      matrix(at("attn_v"), kvHeads * headSize, hidden),
      norm(at("attn_q_norm"), headSize),
      norm(at("attn_k_norm"), headSize),
      matrix(at("attn_output"), hidden, heads * headSize),
      norm(at("ffn_norm"), hidden),
      matrix(at("ffn_gate"), intermediate, hidden),
      matrix(at("ffn_up"), intermediate, hidden),
      matrix(at("ffn_down"), hidden, intermediate),
    ];
  });
  return [
    matrix("token_embd.weight", vocab, hidden),
    ...blocks.flat(),
    norm("output_norm.weight", hidden),
    matrix("output.weight", vocab, hidden),
  ];
}

function metadataOf(sizes: Qwen3Sizes): Uint8Array[] {
  const last = sizes.vocab - 1;
  const tokens = Array.from({ length: sizes.vocab }, (_, id) =>
    id < BYTES ? letterOfByte(id) : id === last ? "<|endoftext|>" : `<|unused_${id}|>`,
  );
  // llama.cpp wants a list of merges: that of the bytes 0 and 1, which no text has.
  const merge = [letterOfByte(0), letterOfByte(1)] as const;
  tokens[BYTES] = merge.join("");
  const kinds = tokens.map((_, id) => (id <= BYTES ? NORMAL : id === last ? CONTROL : UNUSED));
  const whole: Record<string, MetadataValue> = {
    "general.architecture": "qwen3",
    "general.name": "random Qwen3",
    "general.file_type": 7, // mostly Q8_0
    "qwen3.block_count": sizes.layers,
    "qwen3.context_length": sizes.context,
    "qwen3.embedding_length": sizes.hidden,
    "qwen3.feed_forward_length": sizes.intermediate,
    "qwen3.attention.head_count": sizes.heads,
    "qwen3.attention.head_count_kv": sizes.kvHeads,
    "qwen3.attention.key_length": sizes.headSize,
    "qwen3.attention.value_length": sizes.headSize,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": Int32Array.from(kinds),
    "tokenizer.ggml.merges": [merge.join(" ")],
    "tokenizer.ggml.eos_token_id": last,
    "tokenizer.ggml.padding_token_id": last,
    "tokenizer.ggml.add_bos_token": false,
  };
  return [
    ...Object.entries(whole).map(([key, value]) => entry(key, value)),
    // A whole number would be taken for a u32, and llama.cpp takes these as f32 alone.
    float("qwen3.rope.freq_base", 1_000_000),
    float("qwen3.attention.layer_norm_rms_epsilon", 1e-6),
  ];
}

function float(key: string, value: number): Uint8Array {
  return join(text(key), u32(VALUE.f32), f32(value));
}

const isPrintable = (code: number) =>
  (code >= 33 && code <= 126) || (code >= 161 && code <= 172) || (code >= 174 && code <= 255);

/** How byte-level vocabularies write a byte: printable ones as they are, the others from U+0100 on. */
function letterOfByte(byte: number): string {
  if (isPrintable(byte)) return String.fromCharCode(byte);
  let before = 0;
  for (let code = 0; code < byte; code++) if (!isPrintable(code)) before++;
  return String.fromCharCode(256 + before);
}

/** ggml's Q8_0: an f16 scale and 32 whole numbers a block. */
function quantizeQ8(values: Float32Array): Uint8Array<ArrayBuffer> {
  const blocks = values.length / BLOCK;
  const bytes = new Uint8Array(blocks * (2 + BLOCK));
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < blocks; block++) {
    const part = values.subarray(block * BLOCK, (block + 1) * BLOCK);
    const scale = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
    const at = block * (2 + BLOCK);
    view.setUint16(at, encodeF16(Float32Array.of(scale))[0] ?? 0, true);
    part.forEach((value, i) => view.setInt8(at + 2 + i, scale > 0 ? Math.round(value / scale) : 0));
  }
  return bytes;
}
