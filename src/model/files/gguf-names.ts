// The architectures that Hone reads from GGUF: what llama.cpp calls their tensors, and what it did to them.
// Adding one is an entry here, and in gguf-config.ts whatever keys of config.json it has of its own.

export interface GgufArchitecture {
  /** `general.architecture`, and what its keys of metadata start with. */
  readonly name: string;
  /** `model_type` and the class of config.json. */
  readonly modelType: string;
  readonly className: string;
  /** Names inside a layer, llama.cpp's to Hugging Face's, both without ".weight". */
  readonly layer: Readonly<Record<string, string>>;
  /** The converter reordered the rows of queries and keys, head by head, for ggml's other RoPE. */
  readonly isPermuted: boolean;
  /** The converter added one to the weights of norms, as Gemma's own code does when it runs. */
  readonly hasShiftedNorms: boolean;
  /** Only a part of a head's dimensions may be rotated. */
  readonly mayRotatePartly: boolean;
}

const OUTSIDE_LAYERS: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};

const LLAMA_LAYER = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

const QWEN3_LAYER = {
  ...LLAMA_LAYER,
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
};

const LLAMA: GgufArchitecture = {
  name: "llama",
  modelType: "llama",
  className: "LlamaForCausalLM",
  layer: LLAMA_LAYER,
  isPermuted: true,
  hasShiftedNorms: false,
  mayRotatePartly: false,
};

/** By `general.architecture`. */
export const GGUF_ARCHITECTURES: ReadonlyMap<string, GgufArchitecture> = new Map(
  [
    LLAMA,
    // The converter takes wqkv apart, and what is left is a Llama.
    { ...LLAMA, name: "internlm2" },
    {
      ...LLAMA,
      name: "qwen2",
      modelType: "qwen2",
      className: "Qwen2ForCausalLM",
      isPermuted: false,
    },
    {
      ...LLAMA,
      name: "qwen3",
      modelType: "qwen3",
      className: "Qwen3ForCausalLM",
      layer: QWEN3_LAYER,
      isPermuted: false,
    },
    {
      ...LLAMA,
      name: "gemma3",
      modelType: "gemma3_text",
      className: "Gemma3ForCausalLM",
      layer: {
        ...QWEN3_LAYER,
        post_attention_norm: "post_attention_layernorm",
        ffn_norm: "pre_feedforward_layernorm",
        post_ffw_norm: "post_feedforward_layernorm",
      },
      isPermuted: false,
      hasShiftedNorms: true,
    },
    {
      ...LLAMA,
      name: "phi3",
      modelType: "phi3",
      className: "Phi3ForCausalLM",
      layer: {
        attn_norm: "input_layernorm",
        attn_qkv: "self_attn.qkv_proj",
        attn_output: "self_attn.o_proj",
        ffn_norm: "post_attention_layernorm",
        ffn_up: "mlp.gate_up_proj",
        ffn_down: "mlp.down_proj",
      },
      isPermuted: false,
      mayRotatePartly: true,
    },
  ].map((architecture) => [architecture.name, architecture]),
);

/** "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; undefined for a name not known. */
export function huggingFaceName(
  name: string,
  { layer }: GgufArchitecture,
  layers: number,
): string | undefined {
  const [, index, module = "", kind] =
    /^(?:blk\.(0|[1-9]\d*)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
  const names = index === undefined ? OUTSIDE_LAYERS : layer;
  if (!Object.hasOwn(names, module) || Number(index ?? -1) >= layers) return undefined;
  const prefix = index === undefined ? "" : `model.layers.${index}.`;
  return `${prefix}${names[module]}.${kind}`;
}
