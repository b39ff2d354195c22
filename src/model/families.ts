// What differs between model families: the names of their weights and how they lie in a layer.
//
// A decoder block has four linear maps: to queries, keys and values; out of attention; to gate and up;
// down. A family says which modules make up each, so that one block serves them all.

export interface Family {
  readonly modelType: string;
  /** Tensor names of the whole model. */
  readonly embedding: string;
  readonly finalNorm: string;
  readonly head: string;
  /** "model.layers.3": what stands before a layer's own names. */
  readonly layerPrefix: (layer: number) => string;
  readonly attentionNorm: string;
  readonly mlpNorm: string;
  /** Modules of each fused linear map, in the order of their output rows. */
  readonly qkv: readonly [string, string, string];
  readonly attentionOut: string;
  readonly gateUp: readonly [string, string];
  readonly down: string;
}

const LLAMA: Family = {
  modelType: "llama",
  embedding: "model.embed_tokens",
  finalNorm: "model.norm",
  head: "lm_head",
  layerPrefix: (layer) => `model.layers.${layer}`,
  attentionNorm: "input_layernorm",
  mlpNorm: "post_attention_layernorm",
  qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
  attentionOut: "self_attn.o_proj",
  gateUp: ["mlp.gate_proj", "mlp.up_proj"],
  down: "mlp.down_proj",
};

/** By `model_type` of config.json. */
export const FAMILIES: Readonly<Record<string, Family>> = { llama: LLAMA };
