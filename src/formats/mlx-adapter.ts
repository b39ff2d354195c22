// Adapters that mlx-lm trained: adapter_config.json is its own, and the matrices lie transposed.
// Where PEFT computes α/r·B·A·x, mlx-lm computes scale·x·a·b, with a [inputs, rank] and b [rank, outputs].
import { UserError } from "../base/error.ts";
import { describeJson, isJsonObject, type JsonObject, parseJsonObject } from "./json.ts";
import { ADAPTER_DEFAULTS, type AdapterConfig } from "./peft.ts";
import { adapterTensorName } from "./peft-tensors.ts";

const USE_PLAIN = "Use a plain LoRA adapter of linear layers.";

/** Whether an adapter_config.json is mlx-lm's: it has no peft_type, and the settings under a name of their own. */
export function isMlxAdapter(config: JsonObject): boolean {
  return config["peft_type"] === undefined && isJsonObject(config["lora_parameters"]);
}

/** PEFT's name for a tensor called `model.layers.0.self_attn.q_proj.lora_a`. */
export function mlxTensorName(name: string, place: string): string {
  const { path, part } = /^(?<path>.+)\.lora_(?<part>[ab])$/.exec(name)?.groups ?? {};
  if (path === undefined) {
    throw new UserError(
      `${place}: tensor "${name}" is no LoRA matrix, which alone Hone reads of mlx-lm.`,
      USE_PLAIN,
    );
  }
  return adapterTensorName(path, part === "a" ? "lora_A" : "lora_B");
}

/** What PEFT's config would say. `tensors` are under PEFT's names; the modules they are of are the targets. */
export function mlxAdapterConfig(
  text: string,
  place: string,
  tensors: readonly { readonly name: string }[],
): AdapterConfig {
  const json = parseJsonObject(text, place);
  const kind = json["fine_tune_type"];
  if (kind !== undefined && kind !== "lora") {
    throw new UserError(
      `${place} has fine_tune_type ${describeJson(kind)}; only "lora" is read.`,
      USE_PLAIN,
    );
  }
  const parameters = json["lora_parameters"];
  const settings = isJsonObject(parameters) ? parameters : {};
  const positive = (key: string, value: unknown): number => {
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    throw new UserError(
      `${place}: "${key}" of lora_parameters is ${describeJson(value)}, where a number above zero is needed.`,
      "Correct that key, or save the adapter again.",
    );
  };
  const rank = positive("rank", settings["rank"]);
  const scale = positive("scale", settings["scale"]);
  // Releases before 0.19 had an alpha beside it, as one more factor.
  const { alpha: given } = settings;
  const alpha = given === undefined ? scale * rank : scale * positive("alpha", given);
  const dropout = settings["dropout"];
  const model = json["model"];
  return {
    ...ADAPTER_DEFAULTS,
    baseModel: typeof model === "string" ? model : null,
    rank,
    alpha,
    dropout: typeof dropout === "number" && dropout > 0 && dropout < 1 ? dropout : 0,
    targetModules: [...new Set(tensors.map(({ name }) => modulePath(name)))],
  };
}

function modulePath(name: string): string {
  return name.replace(/^base_model\.model\./, "").replace(/\.lora_[AB]\.weight$/, "");
}
