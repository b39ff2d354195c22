// What differs between model families: names of weights, what a block is made of, and what
// transformers assumes where a config.json is silent. One block (block.ts) serves them all.
//
// A decoder block has four linear maps: to queries, keys and values; out of attention; to gate and up;
// down. A family says which modules make up each.
import type { JsonObject } from "../formats/json.ts";

export type LinearName = "qkv" | "attentionOut" | "gateUp" | "down";

export interface Family {
  readonly modelType: string;
  /** Tensor names of the whole model. */
  readonly embedding: string;
  readonly finalNorm: string;
  readonly head: string;
  /** "model.layers.3": what stands before a layer's own names. */
  readonly layerPrefix: (layer: number) => string;
  readonly norms: NormNames;
  /** Modules of each map, in the order of their output rows: fused already, or one by one. */
  readonly qkv: readonly [string] | readonly [string, string, string];
  readonly attentionOut: string;
  readonly gateUp: readonly [string] | readonly [string, string];
  readonly down: string;
  /**
   * How heads lie in the rows of qkv: all queries, keys, values; or, group by group, the queries that
   * share a key head, that key head and its value head.
   */
  readonly headOrder: "split" | "grouped";
  /** Maps with a bias: always, or where a key of config.json is true. */
  readonly biases: Readonly<Record<string, readonly LinearName[]>>;
  /** Layers that see only a window of tokens, where config.json has a sliding_window. */
  readonly slidingLayers: "none" | "all" | ((config: JsonObject, layer: number) => boolean);
  /** What a norm multiplies by, less the file's weight: Gemma's files hold w − 1. */
  readonly normOffset: 0 | 1;
  /** Whether embeddings are multiplied by √hidden. */
  readonly scalesEmbeddings: boolean;
  /** Key of the rotary base of sliding layers, where it is not that of the others. */
  readonly localRopeTheta?: string;
  /** Values of absent keys, as in the configuration class of transformers. */
  readonly defaults: JsonObject;
}

/** Names inside a layer. */
export interface NormNames {
  readonly attention: string;
  readonly mlp: string;
  /** Of what attention and feed-forward hand to the residual stream. */
  readonly postAttention?: string;
  readonly postMlp?: string;
  /** Of every query and key head, before the rotary turn. */
  readonly query?: string;
  readonly key?: string;
}

/** Stands for "always" among the keys of `biases`. */
export const ALWAYS = "";

const LLAMA: Family = {
  modelType: "llama",
  embedding: "model.embed_tokens",
  finalNorm: "model.norm",
  head: "lm_head",
  layerPrefix: (layer) => `model.layers.${layer}`,
  norms: { attention: "input_layernorm", mlp: "post_attention_layernorm" },
  qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
  attentionOut: "self_attn.o_proj",
  gateUp: ["mlp.gate_proj", "mlp.up_proj"],
  down: "mlp.down_proj",
  headOrder: "split",
  biases: { attention_bias: ["qkv", "attentionOut"], mlp_bias: ["gateUp", "down"] },
  slidingLayers: "none",
  normOffset: 0,
  scalesEmbeddings: false,
  defaults: { max_position_embeddings: 2048, rms_norm_eps: 1e-6 },
};

const MISTRAL: Family = {
  ...LLAMA,
  modelType: "mistral",
  biases: {},
  slidingLayers: "all",
  defaults: {
    max_position_embeddings: 131_072,
    num_key_value_heads: 8,
    rms_norm_eps: 1e-6,
    sliding_window: 4096,
  },
};

const INTERNLM2: Family = {
  ...LLAMA,
  modelType: "internlm2",
  embedding: "model.tok_embeddings",
  head: "output",
  norms: { attention: "attention_norm", mlp: "ffn_norm" },
  qkv: ["attention.wqkv"],
  attentionOut: "attention.wo",
  gateUp: ["feed_forward.w1", "feed_forward.w3"],
  down: "feed_forward.w2",
  headOrder: "grouped",
  biases: { bias: ["qkv", "attentionOut"] },
  defaults: { bias: true, max_position_embeddings: 2048, rms_norm_eps: 1e-6 },
};

const QWEN2: Family = {
  ...LLAMA,
  modelType: "qwen2",
  biases: { [ALWAYS]: ["qkv"] },
  slidingLayers: (config, layer) => layer >= Number(config["max_window_layers"]),
  defaults: {
    max_position_embeddings: 32_768,
    max_window_layers: 28,
    num_key_value_heads: 32,
    rms_norm_eps: 1e-6,
    sliding_window: 4096,
    use_sliding_window: false,
  },
};

const QWEN3: Family = {
  ...QWEN2,
  modelType: "qwen3",
  norms: { ...LLAMA.norms, query: "self_attn.q_norm", key: "self_attn.k_norm" },
  biases: { attention_bias: ["qkv", "attentionOut"] },
  defaults: { ...QWEN2.defaults, head_dim: 128 },
};

const GEMMA3: Family = {
  ...LLAMA,
  modelType: "gemma3_text",
  norms: {
    attention: "input_layernorm",
    postAttention: "post_attention_layernorm",
    mlp: "pre_feedforward_layernorm",
    postMlp: "post_feedforward_layernorm",
    query: "self_attn.q_norm",
    key: "self_attn.k_norm",
  },
  biases: { attention_bias: ["qkv", "attentionOut"] },
  slidingLayers: (config, layer) => (layer + 1) % Number(config["sliding_window_pattern"]) !== 0,
  normOffset: 1,
  scalesEmbeddings: true,
  localRopeTheta: "rope_local_base_freq",
  defaults: {
    head_dim: 256,
    hidden_activation: "gelu_pytorch_tanh",
    max_position_embeddings: 131_072,
    num_key_value_heads: 4,
    query_pre_attn_scalar: 256,
    rms_norm_eps: 1e-6,
    rope_local_base_freq: 10_000,
    rope_theta: 1_000_000,
    sliding_window: 4096,
    sliding_window_pattern: 6,
    tie_word_embeddings: true,
  },
};

const PHI3: Family = {
  ...LLAMA,
  modelType: "phi3",
  qkv: ["self_attn.qkv_proj"],
  gateUp: ["mlp.gate_up_proj"],
  biases: {},
  slidingLayers: "all",
  defaults: {
    max_position_embeddings: 4096,
    original_max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
  },
};

/** By `model_type` of config.json. */
export const FAMILIES: Readonly<Record<string, Family>> = Object.fromEntries(
  [LLAMA, MISTRAL, INTERNLM2, QWEN2, QWEN3, GEMMA3, PHI3].map((family) => [
    family.modelType,
    family,
  ]),
);
