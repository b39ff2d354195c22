// Models by their shape alone: what their config.json says, so that a machine needs no files to measure on.
import { UserError } from "../src/base/error.ts";
import type { JsonObject } from "../src/formats/json.ts";
import { type Architecture, readArchitecture } from "../src/model/architecture.ts";

const LLAMA = { model_type: "llama", rms_norm_eps: 1e-5 };
const QWEN3 = { model_type: "qwen3", rms_norm_eps: 1e-6, rope_theta: 1e6, head_dim: 128 };

const CONFIGS: Readonly<Record<string, JsonObject>> = {
  "internlm2-1.8b": {
    model_type: "internlm2",
    bias: false,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    vocab_size: 92_544,
    max_position_embeddings: 32_768,
    rms_norm_eps: 1e-5,
    rope_theta: 1e6,
    tie_word_embeddings: false,
  },
  "llama-3.2-1b": {
    ...LLAMA,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: 128_256,
    max_position_embeddings: 131_072,
    rope_theta: 500_000,
    rope_scaling: {
      rope_type: "llama3",
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
    tie_word_embeddings: true,
  },
  "qwen3-0.6b": {
    ...QWEN3,
    hidden_size: 1024,
    intermediate_size: 3072,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    vocab_size: 151_936,
    max_position_embeddings: 40_960,
    tie_word_embeddings: true,
  },
  "qwen3-1.7b": {
    ...QWEN3,
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    vocab_size: 151_936,
    max_position_embeddings: 40_960,
    tie_word_embeddings: true,
  },
  /** Qwen3's block a quarter as wide as its smallest: what `bench:peers` trains on software adapters. */
  "qwen3-narrow": {
    ...QWEN3,
    hidden_size: 256,
    intermediate_size: 768,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 64,
    vocab_size: 2048,
    max_position_embeddings: 40_960,
    tie_word_embeddings: true,
  },
  "qwen2.5-0.5b": {
    model_type: "qwen2",
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    vocab_size: 151_936,
    max_position_embeddings: 32_768,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    tie_word_embeddings: true,
  },
  "smollm2-135m": {
    ...LLAMA,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    vocab_size: 49_152,
    max_position_embeddings: 8192,
    rope_theta: 100_000,
    tie_word_embeddings: true,
  },
  "gemma-3-1b": {
    model_type: "gemma3_text",
    hidden_size: 1152,
    intermediate_size: 6912,
    num_hidden_layers: 26,
    num_attention_heads: 4,
    num_key_value_heads: 1,
    head_dim: 256,
    vocab_size: 262_144,
    max_position_embeddings: 32_768,
    rms_norm_eps: 1e-6,
    sliding_window: 512,
    query_pre_attn_scalar: 256,
    rope_theta: 1e6,
    rope_local_base_freq: 10_000,
    hidden_activation: "gelu_pytorch_tanh",
    tie_word_embeddings: true,
  },
  seedling: {
    ...LLAMA,
    hidden_size: 128,
    intermediate_size: 384,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 32,
    vocab_size: 2304,
    max_position_embeddings: 1024,
    rope_theta: 10_000,
    tie_word_embeddings: true,
  },
};

export const SHAPE_NAMES = Object.keys(CONFIGS);

/** The architecture of a shape, or of its first `layers` layers. */
export function architectureOf(shape: string, layers?: number): Architecture {
  const config = CONFIGS[shape];
  if (!config) {
    throw new UserError(`There is no shape ${shape}.`, `Use one of: ${SHAPE_NAMES.join(", ")}.`);
  }
  const cut = layers === undefined ? {} : { num_hidden_layers: layers };
  return readArchitecture({ ...config, ...cut }, `--shape ${shape}`);
}
