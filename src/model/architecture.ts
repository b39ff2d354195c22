// config.json to the sizes and choices the engine works with, or a refusal that names the key.
import { UserError } from "../base/error.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "../formats/json.ts";
import { ALWAYS, FAMILIES, type Family, type LinearName } from "./families.ts";
import { parseRope, type Rope, ropeOptionsOf } from "./rope-scaling.ts";

export interface Architecture {
  readonly family: Family;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly intermediate: number;
  readonly vocab: number;
  /** Added to the mean square in every norm. */
  readonly epsilon: number;
  readonly hasTiedEmbeddings: boolean;
  /** The longest sequence the model was made for, in tokens. */
  readonly maxPositions: number;
  /** Of the gate in the feed-forward part. */
  readonly activation: "silu" | "gelu_tanh";
  /** Multiplies the embeddings of the input. */
  readonly embeddingScale: number;
  /** Multiplies the products of queries and keys. */
  readonly attentionScale: number;
  /** Maps that have a bias. */
  readonly biased: readonly LinearName[];
  /** One, or two where sliding layers turn differently. */
  readonly ropes: readonly Rope[];
  /** For every layer. */
  readonly layerKinds: readonly LayerKind[];
}

export interface LayerKind {
  /** Tokens that a query sees, itself included; undefined: all before it. */
  readonly window: number | undefined;
  /** Index into `ropes`. */
  readonly rope: number;
}

/** Reads config.json. `place` names the file in errors. */
export function parseArchitecture(text: string, place: string): Architecture {
  return readArchitecture(parseJsonObject(text, place), place);
}

export function readArchitecture(given: JsonObject, place: string): Architecture {
  const modelType = reader(given, place).text("model_type");
  const family = FAMILIES[modelType];
  if (!family) {
    throw new UserError(
      `${place}: model_type is "${modelType}", which Hone does not know.`,
      `Choose a model of one of these types: ${Object.keys(FAMILIES).join(", ")}.`,
    );
  }
  const config: JsonObject = { ...family.defaults, ...given };
  const read = reader(config, place);
  refuseUnsupported(config, family, place);

  const hidden = read.size("hidden_size");
  const heads = read.size("num_attention_heads");
  const headSize = read.size("head_dim", hidden / heads);
  const layers = read.size("num_hidden_layers");
  const scalar = read.number("query_pre_attn_scalar", headSize);
  const architecture: Architecture = {
    family,
    hidden,
    layers,
    heads,
    kvHeads: read.size("num_key_value_heads", heads),
    headSize,
    intermediate: read.size("intermediate_size"),
    vocab: read.size("vocab_size"),
    epsilon: read.number("rms_norm_eps"),
    hasTiedEmbeddings: config["tie_word_embeddings"] === true,
    maxPositions: read.size("max_position_embeddings"),
    activation: activationOf(config, place),
    embeddingScale: family.scalesEmbeddings ? Math.sqrt(hidden) : 1,
    attentionScale: 1 / Math.sqrt(scalar),
    biased: biasedMaps(family, config),
    ropes: ropesOf(config, family, { headSize, place }),
    layerKinds: Array.from({ length: layers }, (_, layer) =>
      layerKind(config, family, layer, place),
    ),
  };
  checkSizes(architecture, place);
  return architecture;
}

function biasedMaps({ biases }: Family, config: JsonObject): LinearName[] {
  return Object.entries(biases).flatMap(([key, maps]) =>
    key === ALWAYS || config[key] === true ? maps : [],
  );
}

function ropesOf(
  config: JsonObject,
  { localRopeTheta }: Family,
  shared: { headSize: number; place: string },
): Rope[] {
  const maxPositions = Number(config["max_position_embeddings"]);
  const rope = (localTheta?: string) =>
    parseRope({ ...ropeOptionsOf(config, localTheta), ...shared, maxPositions });
  return localRopeTheta === undefined ? [rope()] : [rope(), rope(localRopeTheta)];
}

function layerKind(
  config: JsonObject,
  { slidingLayers, localRopeTheta }: Family,
  layer: number,
  place: string,
): LayerKind {
  const isSliding =
    typeof slidingLayers === "function"
      ? (isSlidingLayer(config, layer, place) ?? slidingLayers(config, layer))
      : slidingLayers === "all";
  const size = config["use_sliding_window"] === false ? undefined : config["sliding_window"];
  const window = isSliding && typeof size === "number" && size > 0 ? size : undefined;
  return { window, rope: isSliding && localRopeTheta !== undefined ? 1 : 0 };
}

/** What `layer_types` says of a layer; undefined where a config has no such list. */
function isSlidingLayer(config: JsonObject, layer: number, place: string): boolean | undefined {
  const types = config["layer_types"];
  if (!Array.isArray(types)) return undefined;
  const type: unknown = types[layer];
  if (type === "sliding_attention") return true;
  if (type === "full_attention") return false;
  throw new UserError(
    `${place}: layer_types has ${JSON.stringify(type) ?? "nothing"} for layer ${layer}, where Hone knows full_attention and sliding_attention.`,
    "Choose a model that has layers of these two kinds only.",
  );
}

const ACTIVATIONS: Readonly<Record<string, Architecture["activation"]>> = {
  silu: "silu",
  swish: "silu",
  gelu_pytorch_tanh: "gelu_tanh",
};

function activationOf(config: JsonObject, place: string): Architecture["activation"] {
  const key = "hidden_activation" in config ? "hidden_activation" : "hidden_act";
  const name = config[key] ?? "silu";
  const activation = typeof name === "string" ? ACTIVATIONS[name] : undefined;
  return activation ?? refuse(config, key, place);
}

/** Features of a config that would change the numbers if they were passed over. */
function refuseUnsupported(config: JsonObject, { biases }: Family, place: string): void {
  for (const key of ["attention_bias", "mlp_bias"]) {
    if (config[key] === true && !(key in biases)) refuse(config, key, place);
  }
  const { quantization_config: quantization } = config;
  const method = isJsonObject(quantization) ? quantization["quant_method"] : undefined;
  // bitsandbytes' first versions did not name themselves; bnb-files.ts looks closer.
  if (method !== undefined && method !== "bitsandbytes")
    refuse(config, "quantization_config", place);
  const nulls = ["attn_logit_softcapping", "final_logit_softcapping", "num_local_experts"];
  for (const key of nulls) if ((config[key] ?? null) !== null) refuse(config, key, place);
  if (config["use_bidirectional_attention"] === true) {
    refuse(config, "use_bidirectional_attention", place);
  }
  if (Number(config["pretraining_tp"] ?? 1) !== 1) refuse(config, "pretraining_tp", place);
}

function refuse(config: JsonObject, key: string, place: string): never {
  throw new UserError(
    `${place}: ${key} is ${JSON.stringify(config[key])}, which Hone does not support.`,
    "Choose a model without it.",
  );
}

function checkSizes(architecture: Architecture, place: string): void {
  const { heads, kvHeads, headSize, hidden, intermediate, ropes } = architecture;
  const rotary = ropes[0]?.rotaryDims ?? headSize;
  const faults = [
    heads % kvHeads === 0 || `num_attention_heads ${heads} is no multiple of ${kvHeads} key heads`,
    headSize % 4 === 0 || `head_dim ${headSize} is no multiple of 4`,
    headSize <= 256 || `head_dim ${headSize} is above 256`,
    rotary >= 4 || `${rotary} dimensions of a head turn, fewer than 4`,
    // Vectors of four along a row, and blocks of 64 that do not span the matrices fused into one.
    hidden % 64 === 0 || `hidden_size ${hidden} is no multiple of 64`,
    intermediate % 64 === 0 || `intermediate_size ${intermediate} is no multiple of 64`,
    (heads * headSize) % 64 === 0 || `${heads} heads of ${headSize} are no multiple of 64`,
  ].filter((fault) => fault !== true);
  if (faults.length > 0) {
    throw new UserError(`${place}: ${faults.join("; ")}.`, "Choose a model of other sizes.");
  }
}

interface Reader {
  text(key: string): string;
  number(key: string, fallback?: number): number;
  /** A positive whole number. */
  size(key: string, fallback?: number): number;
}

function reader(config: JsonObject, place: string): Reader {
  const number = (key: string, fallback?: number): number => {
    const value = config[key] ?? fallback;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw new UserError(
      `${place}: ${key} is ${JSON.stringify(value) ?? "missing"}, where a number is needed.`,
      "Download the model's config.json again.",
    );
  };
  return {
    number,
    text(key) {
      const value = config[key];
      if (typeof value === "string") return value;
      throw new UserError(
        `${place}: ${key} is ${JSON.stringify(value) ?? "missing"}, where a text is needed.`,
        "Download the model's config.json again.",
      );
    },
    size(key, fallback) {
      const value = number(key, fallback);
      if (Number.isSafeInteger(value) && value > 0) return value;
      throw new UserError(
        `${place}: ${key} is ${value}, where a positive whole number is needed.`,
        "Download the model's config.json again.",
      );
    },
  };
}

/** End-of-sequence ids of generation_config.json or config.json: one number or a list. */
export function endIds(value: unknown): number[] {
  if (typeof value === "number") return [value];
  if (Array.isArray(value)) return value.filter((id) => typeof id === "number");
  return isJsonObject(value) ? endIds(value["eos_token_id"]) : [];
}
