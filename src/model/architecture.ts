// config.json to the sizes the engine works with, or a refusal that names the key.
import { UserError } from "../base/error.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "../formats/json.ts";
import { FAMILIES, type Family } from "./families.ts";
import { inverseFrequencies } from "./rope-scaling.ts";

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
  /** Radians per position for each pair of a head, scaling applied: [headSize / 2]. */
  readonly inverseFrequencies: readonly number[];
}

/** Reads config.json. `place` names the file in errors. */
export function parseArchitecture(text: string, place: string): Architecture {
  const config = parseJsonObject(text, place);
  const read = reader(config, place);
  const modelType = read.text("model_type");
  const family = FAMILIES[modelType];
  if (!family) {
    throw new UserError(
      `${place}: model_type is "${modelType}", which Hone does not know.`,
      `Choose a model of one of these types: ${Object.keys(FAMILIES).join(", ")}.`,
    );
  }
  refuseUnsupported(config, place);

  const hidden = read.size("hidden_size");
  const heads = read.size("num_attention_heads");
  const headSize = read.size("head_dim", hidden / heads);
  const architecture: Architecture = {
    family,
    hidden,
    layers: read.size("num_hidden_layers"),
    heads,
    kvHeads: read.size("num_key_value_heads", heads),
    headSize,
    intermediate: read.size("intermediate_size"),
    vocab: read.size("vocab_size"),
    epsilon: read.number("rms_norm_eps", 1e-6),
    hasTiedEmbeddings: config["tie_word_embeddings"] === true,
    maxPositions: read.size("max_position_embeddings", 2048),
    inverseFrequencies: inverseFrequencies(config, headSize, place),
  };
  checkSizes(architecture, place);
  return architecture;
}

/** Features of a config that would change the numbers if they were passed over. */
function refuseUnsupported(config: JsonObject, place: string): void {
  const refuse = (key: string) => {
    throw new UserError(
      `${place}: ${key} is ${JSON.stringify(config[key])}, which Hone does not support.`,
      "Choose a model without it.",
    );
  };
  for (const key of ["attention_bias", "mlp_bias"]) if (config[key] === true) refuse(key);
  if (!["silu", "swish", undefined].includes(config["hidden_act"] as string | undefined)) {
    refuse("hidden_act");
  }
  if (config["quantization_config"] !== undefined && config["quantization_config"] !== null) {
    refuse("quantization_config");
  }
  if (Number(config["pretraining_tp"] ?? 1) !== 1) refuse("pretraining_tp");
}

function checkSizes(architecture: Architecture, place: string): void {
  const { heads, kvHeads, headSize, hidden, intermediate } = architecture;
  const faults = [
    heads % kvHeads === 0 || `num_attention_heads ${heads} is no multiple of ${kvHeads} key heads`,
    headSize % 4 === 0 || `head_dim ${headSize} is no multiple of 4`,
    headSize <= 256 || `head_dim ${headSize} is above 256`,
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
