// A GGUF file's metadata as the config.json that its model would have on Hugging Face.
//
// llama.cpp's converter is the measure of what a key means. What would change the numbers and has no
// place in such a config.json is refused by the key's name.
import { UserError } from "../../base/error.ts";
import type { GgufMetadata, GgufValue } from "../../formats/gguf.ts";
import type { JsonObject } from "../../formats/json.ts";
import { type MetadataReader, metadataReader, shortestDecimal } from "./gguf-metadata.ts";
import type { GgufArchitecture } from "./gguf-names.ts";

/** What the config needs of the tensors, besides the metadata. */
export interface GgufTensorFacts {
  /** Rows of the embedding. */
  readonly vocab: number;
  readonly hasHead: boolean;
  readonly hasAttentionBias: boolean;
  readonly hasMlpBias: boolean;
  /** Divisors of the frequencies, one for each pair of a head: tensor "rope_freqs.weight". */
  readonly frequencyFactors: Float32Array | undefined;
  /** The same for sequences beyond and within the original length: longrope. */
  readonly longFactors: Float32Array | undefined;
  readonly shortFactors: Float32Array | undefined;
  /** "bfloat16", say, where the matrices are stored so. */
  readonly dtype: string | undefined;
}

export interface GgufSizes {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** Dimensions of a head that are rotated. */
  readonly rotary: number;
}

/** Keys that change what a model computes, in ways that none of the known architectures has. */
const FOREIGN_KEYS = [
  "expert_count",
  "use_parallel_residual",
  "attn_logit_softcapping",
  "logit_scale",
  "residual_scale",
  "embedding_scale",
  "attention.max_alibi_bias",
  "attention.clamp_kqv",
  "attention.scale",
  "attention.output_scale",
  "attention.temperature_scale",
  "attention.key_length_mla",
  "rope.dimension_sections",
];

/** The sizes that the names and layouts of tensors depend on. */
export function ggufSizes(
  metadata: GgufMetadata,
  architecture: GgufArchitecture,
  place: string,
): GgufSizes {
  const read = metadataReader(metadata, architecture.name, place);
  for (const key of FOREIGN_KEYS) {
    const value = read.value(key);
    if (value !== undefined && value !== 0 && value !== false) throw read.unsupported(key);
  }
  if (read.value("attention.causal") === false) throw read.unsupported("attention.causal");

  const hidden = read.size("embedding_length");
  const heads = read.size("attention.head_count");
  const rotated = read.optionalSize("rope.dimension_count");
  // Files without a key length are of models whose heads share out the hidden size.
  const headSize = read.optionalSize("attention.key_length") ?? hidden / heads;
  if (!Number.isInteger(headSize)) throw read.unsupported("attention.head_count");
  if ((read.optionalSize("attention.value_length") ?? headSize) !== headSize) {
    throw read.unsupported("attention.value_length");
  }
  const rotary = rotated ?? headSize;
  if (rotary > headSize || (rotary < headSize && !architecture.mayRotatePartly)) {
    throw read.unsupported("rope.dimension_count");
  }
  return {
    layers: read.size("block_count"),
    hidden,
    heads,
    kvHeads: read.optionalSize("attention.head_count_kv") ?? heads,
    headSize,
    rotary,
  };
}

/** The keys of config.json in the spelling that transformers 4 and 5 both read. */
export function ggufConfig(
  metadata: GgufMetadata,
  architecture: GgufArchitecture,
  sizes: GgufSizes,
  facts: GgufTensorFacts,
  place: string,
): JsonObject {
  const read = metadataReader(metadata, architecture.name, place);
  const window = read.optionalSize("attention.sliding_window") ?? 0;
  // A Llama with a window is a Mistral; llama.cpp's converter calls both "llama".
  const isMistral = architecture.name === "llama" && window > 0;
  const { modelType, className } = isMistral
    ? { modelType: "mistral", className: "MistralForCausalLM" }
    : architecture;

  const config: JsonObject = {
    architectures: [className],
    model_type: modelType,
    vocab_size: facts.vocab,
    hidden_size: sizes.hidden,
    intermediate_size: read.size("feed_forward_length"),
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    ...headSizeKey(modelType, sizes),
    max_position_embeddings: read.size("context_length"),
    rms_norm_eps: read.number("attention.layer_norm_rms_epsilon"),
    rope_theta: read.optionalNumber("rope.freq_base") ?? 10_000,
    tie_word_embeddings: !facts.hasHead,
    ...tokenIds(metadata),
  };
  const scaling = ropeScaling(read, sizes, facts, config);
  if (scaling) config["rope_scaling"] = scaling;
  if (facts.dtype !== undefined) config["torch_dtype"] = facts.dtype;

  if (modelType === "gemma3_text") return { ...config, ...gemma3Keys(read, sizes, window) };
  config["hidden_act"] = "silu";
  if (modelType === "phi3") return { ...config, ...phi3Keys(read, sizes, window) };
  if (isMistral) {
    if (facts.hasAttentionBias) throw read.unsupported("attention.sliding_window");
    return { ...config, sliding_window: window };
  }
  // The window of a Qwen is off in every published model, and llama.cpp knows none for it.
  if (modelType === "qwen2" || modelType === "qwen3") config["use_sliding_window"] = false;
  if (modelType !== "qwen2") config["attention_bias"] = facts.hasAttentionBias;
  if (modelType === "llama") config["mlp_bias"] = facts.hasMlpBias;
  return config;
}

/** Qwen2 and Phi-3 have the key only in configs that differ from the rule. */
function headSizeKey(modelType: string, { headSize, hidden, heads }: GgufSizes): JsonObject {
  const isImplied = modelType === "qwen2" || modelType === "phi3";
  return isImplied && headSize * heads === hidden ? {} : { head_dim: headSize };
}

function gemma3Keys(read: MetadataReader, sizes: GgufSizes, window: number): JsonObject {
  const { layers, hidden, heads, headSize } = sizes;
  const pattern = read.value("attention.sliding_window_pattern") ?? 6;
  const isWindowed = (layer: number): boolean => {
    if (window === 0) return false;
    if (typeof pattern === "number") return (layer + 1) % pattern !== 0;
    if (!Array.isArray(pattern) || pattern.length !== layers) {
      throw read.unsupported("attention.sliding_window_pattern");
    }
    return pattern[layer] === true;
  };
  const softcap = read.optionalNumber("final_logit_softcapping");
  return {
    hidden_activation: "gelu_pytorch_tanh",
    attention_bias: false,
    // The 27B model alone divides by the root of hidden / heads; llama.cpp tells it by its 62 layers too.
    query_pre_attn_scalar: layers === 62 ? hidden / heads : headSize,
    rope_local_base_freq: read.optionalNumber("rope.freq_base_swa") ?? 10_000,
    ...(window > 0 ? { sliding_window: window } : {}),
    layer_types: Array.from({ length: layers }, (_, layer) =>
      isWindowed(layer) ? "sliding_attention" : "full_attention",
    ),
    final_logit_softcapping: softcap ?? null,
  };
}

function phi3Keys(read: MetadataReader, sizes: GgufSizes, window: number): JsonObject {
  const original = read.optionalSize("rope.scaling.original_context_length");
  return {
    ...(original === undefined ? {} : { original_max_position_embeddings: original }),
    ...(sizes.rotary < sizes.headSize
      ? { partial_rotary_factor: sizes.rotary / sizes.headSize }
      : {}),
    // Zero stands for none: Phi-4.
    sliding_window: window > 0 ? window : null,
  };
}

/** `rope_scaling`, or undefined for frequencies as they come. */
function ropeScaling(
  read: MetadataReader,
  { rotary }: GgufSizes,
  facts: GgufTensorFacts,
  config: JsonObject,
): JsonObject | undefined {
  const { longFactors, shortFactors, frequencyFactors } = facts;
  for (const factors of [longFactors, shortFactors, frequencyFactors]) {
    if (factors && factors.length !== rotary / 2) {
      throw new UserError(
        `${read.place}: a tensor of RoPE factors has ${factors.length} numbers for heads that are rotated in ${rotary} dimensions.`,
        "Get the file again from where it was made.",
      );
    }
  }
  if (longFactors || shortFactors) {
    if (!longFactors || !shortFactors) throw read.unsupported("rope.scaling.type");
    return longRope(read, longFactors, shortFactors, config);
  }
  // Files of 2023 have the factor of linear scaling under a key of its own.
  const oldFactor = read.optionalNumber("rope.scale_linear") ?? 1;
  const type = read.value("rope.scaling.type") ?? (oldFactor === 1 ? "none" : "linear");
  const factor = read.optionalNumber("rope.scaling.factor") ?? oldFactor;
  if (type === "yarn" && !frequencyFactors) return yarnScaling(read, factor);
  if ((read.optionalNumber("rope.scaling.attn_factor") ?? 1) !== 1) {
    throw read.unsupported("rope.scaling.attn_factor");
  }
  if (type === "none" && frequencyFactors) {
    return llama3Scaling(frequencyFactors, Number(config["rope_theta"]));
  }
  if (type === "linear" && !frequencyFactors && factor > 0) return { rope_type: type, factor };
  if (type === "none") return undefined;
  throw read.unsupported("rope.scaling.type");
}

function yarnScaling(read: MetadataReader, factor: number): JsonObject {
  const original = read.optionalSize("rope.scaling.original_context_length");
  const extrapolation = read.optionalNumber("rope.scaling.yarn_ext_factor") ?? 1;
  if (!(factor > 0) || original === undefined || extrapolation !== 1) {
    throw read.unsupported("rope.scaling.type");
  }
  const optional: JsonObject = {
    attention_factor:
      read.optionalNumber("rope.scaling.yarn_attn_factor") ??
      read.optionalNumber("rope.scaling.attn_factor"),
    beta_fast: read.optionalNumber("rope.scaling.yarn_beta_fast"),
    beta_slow: read.optionalNumber("rope.scaling.yarn_beta_slow"),
  };
  const given = Object.entries(optional).filter(([, value]) => value !== undefined);
  return {
    rope_type: "yarn",
    factor,
    original_max_position_embeddings: original,
    ...Object.fromEntries(given),
  };
}

/** Three keys alone, of which transformers 4 makes a condition; a fourth where the model differs. */
function longRope(
  read: MetadataReader,
  longFactors: Float32Array,
  shortFactors: Float32Array,
  config: JsonObject,
): JsonObject {
  const original = read.size("rope.scaling.original_context_length");
  const stretch = Number(config["max_position_embeddings"]) / original;
  const usual = stretch > 1 ? Math.sqrt(1 + Math.log(stretch) / Math.log(original)) : 1;
  const attention = read.optionalNumber("rope.scaling.attn_factor") ?? usual;
  return {
    type: "longrope",
    short_factor: Array.from(shortFactors, shortestDecimal),
    long_factor: Array.from(longFactors, shortestDecimal),
    ...(Math.abs(attention / usual - 1) > 1e-5 ? { attention_factor: attention } : {}),
  };
}

/**
 * The converter writes Llama 3's scaling as the divisor of each frequency. Its options are found again
 * by their effect; divisors of another origin go into a longrope that is the same for all lengths.
 */
function llama3Scaling(factors: Float32Array, theta: number): JsonObject | undefined {
  if (factors.every((factor) => factor === 1)) return undefined;
  const options = {
    factor: shortestDecimal(Math.max(...factors)),
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  const pairs = factors.length;
  const isLlama3 = factors.every((divisor, i) => {
    const turns =
      (options.original_max_position_embeddings / (2 * Math.PI)) * theta ** (-i / pairs);
    const smooth = Math.min(Math.max((turns - options.low_freq_factor) / 3, 0), 1);
    const expected = 1 / ((1 - smooth) / options.factor + smooth);
    // The converter works in f32, on angles of up to some thousands.
    return Math.abs(divisor / expected - 1) < 1e-4;
  });
  if (isLlama3) return { rope_type: "llama3", ...options };
  const explicit = Array.from(factors, shortestDecimal);
  return {
    rope_type: "longrope",
    short_factor: explicit,
    long_factor: explicit,
    attention_factor: 1,
    original_max_position_embeddings: 8192,
  };
}

/** Tokens that end an answer, whatever the metadata calls the end. */
const TURN_ENDS = new Set(["<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>"]);
/** The types of special tokens in "tokenizer.ggml.token_type": control, and defined by the user. */
const SPECIAL_TYPES = [3, 4];

function tokenIds(metadata: GgufMetadata): JsonObject {
  const id = (name: string): number | undefined => {
    const value = metadata.get(`tokenizer.ggml.${name}_token_id`);
    return typeof value === "number" ? value : undefined;
  };
  const ends = new Set(["eos", "eot", "eom"].map(id).filter((end) => end !== undefined));
  const tokens = metadata.get("tokenizer.ggml.tokens");
  const types = metadata.get("tokenizer.ggml.token_type");
  if (Array.isArray(tokens) && types instanceof Int32Array) {
    tokens.forEach((token: GgufValue, index) => {
      if (TURN_ENDS.has(token as string) && SPECIAL_TYPES.includes(types[index] ?? 0)) {
        ends.add(index);
      }
    });
  }
  const [first, ...others] = ends;
  const ids = {
    bos_token_id: id("bos"),
    eos_token_id: others.length > 0 ? [...ends] : first,
    pad_token_id: id("padding"),
  };
  return Object.fromEntries(Object.entries(ids).filter(([, value]) => value !== undefined));
}
