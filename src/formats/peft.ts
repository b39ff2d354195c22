// PEFT's LoRA adapters: adapter_config.json, which modules it targets, and the names of its tensors.
// Written configs have exactly the keys of PEFT 0.10.0: releases up to 0.13 fail on any they do not know.
import { UserError } from "../base/error.ts";
import { describeJson, isJsonObject, type JsonObject, parseJsonObject } from "./json.ts";

/** What of adapter_config.json says how the adapter acts. Absent keys take PEFT's defaults. */
export interface AdapterConfig {
  /** Folder or hub name of the base model, for people and tools; nothing is loaded from it. */
  baseModel: string | null;
  rank: number;
  alpha: number;
  dropout: number;
  /** Scale by α/√r instead of α/r. */
  useRslora: boolean;
  /** Module names, or a regular expression over whole paths, or "all-linear". */
  targetModules: readonly string[] | string;
  excludeModules: readonly string[] | string | null;
  /** Layer numbers that alone are adapted; null is all. */
  layersToTransform: readonly number[] | null;
  /** Name of the list of layers, such as "layers"; null is any. */
  layersPattern: readonly string[] | null;
  /** Rank by module pattern; the first that matches counts. */
  rankPattern: Readonly<Record<string, number>>;
  alphaPattern: Readonly<Record<string, number>>;
  revision: string | null;
  taskType: string | null;
}

export const ADAPTER_DEFAULTS: Omit<AdapterConfig, "targetModules"> = {
  baseModel: null,
  rank: 8,
  alpha: 8,
  dropout: 0,
  useRslora: false,
  excludeModules: null,
  layersToTransform: null,
  layersPattern: null,
  rankPattern: {},
  alphaPattern: {},
  revision: null,
  taskType: "CAUSAL_LM",
};

/** Keys that change what an adapter computes in ways not supported here, with their harmless values. */
const UNSUPPORTED: Record<string, { name: string; harmless: readonly unknown[] }> = {
  use_dora: { name: "DoRA", harmless: [false] },
  use_qalora: { name: "QALoRA", harmless: [false] },
  use_bdlora: { name: "BD-LoRA", harmless: [false] },
  lora_bias: { name: "biases on the adapter (lora_bias)", harmless: [false] },
  bias: { name: "trained biases (bias)", harmless: ["none"] },
  fan_in_fan_out: { name: "transposed weights (fan_in_fan_out)", harmless: [false] },
  modules_to_save: { name: "fully trained modules (modules_to_save)", harmless: [] },
  layer_replication: { name: "layer replication", harmless: [] },
  target_parameters: { name: "adapted parameters (target_parameters)", harmless: [] },
  trainable_token_indices: { name: "trained tokens (trainable_token_indices)", harmless: [] },
  alora_invocation_tokens: { name: "activated LoRA", harmless: [] },
  arrow_config: { name: "Arrow", harmless: [] },
  kasa_config: { name: "KaSA", harmless: [] },
  velora_config: { name: "VeLoRA", harmless: [] },
  megatron_config: { name: "Megatron layers", harmless: [] },
};

/** Ways to initialize that also change the base weights, so that the adapter fits no other base. */
const CHANGES_BASE = /^(pissa.*|olora|corda|loftq|lora_ga)$/;

const USE_PLAIN = "Use a plain LoRA adapter, or convert this one with PEFT.";

/** Reads the text of adapter_config.json. `place` names the file in errors. */
export function parseAdapterConfig(text: string, place: string): AdapterConfig {
  const json = parseJsonObject(text, place);
  const type = json["peft_type"];
  if (type !== "LORA") {
    throw new UserError(
      `${place} has peft_type ${describeJson(type)}; only "LORA" is read.`,
      USE_PLAIN,
    );
  }
  refuseUnsupported(json, place);
  const fields = createFieldReader(json, place);
  const targetModules = fields.names("target_modules");
  if (targetModules === null || targetModules.length === 0) {
    throw new UserError(
      `${place} names no target_modules.`,
      "Add the list of module names that the adapter was trained on.",
    );
  }
  return {
    baseModel: fields.text("base_model_name_or_path"),
    rank: fields.positive("r", ADAPTER_DEFAULTS.rank, Number.isSafeInteger),
    alpha: fields.positive("lora_alpha", ADAPTER_DEFAULTS.alpha, Number.isFinite),
    dropout: fields.fraction("lora_dropout"),
    useRslora: json["use_rslora"] === true,
    targetModules,
    excludeModules: fields.names("exclude_modules"),
    layersToTransform: fields.layers("layers_to_transform"),
    layersPattern: asList(fields.names("layers_pattern")),
    rankPattern: fields.pattern("rank_pattern"),
    alphaPattern: fields.pattern("alpha_pattern"),
    revision: fields.text("revision"),
    taskType: fields.text("task_type"),
  };
}

function refuseUnsupported(json: JsonObject, place: string): void {
  for (const [key, { name, harmless }] of Object.entries(UNSUPPORTED)) {
    const value = json[key];
    const isEmpty =
      value === undefined || value === null || (Array.isArray(value) && !value.length);
    if (!isEmpty && !harmless.includes(value)) {
      throw new UserError(
        `${place} uses ${name}: "${key}" is ${describeJson(value)}. Hone does not read that.`,
        USE_PLAIN,
      );
    }
  }
  const init = json["init_lora_weights"];
  if (typeof init === "string" && CHANGES_BASE.test(init)) {
    throw new UserError(
      `${place} was initialized by "${init}", which also changes the base weights.`,
      "Convert the adapter to plain LoRA with PEFT's path_initial_model_for_weight_conversion.",
    );
  }
}

function createFieldReader(json: JsonObject, place: string) {
  const refuse = (key: string, wanted: string) =>
    new UserError(
      `${place}: "${key}" is ${describeJson(json[key])}, where ${wanted} is needed.`,
      "Correct that key, or export the adapter again.",
    );
  const absent = (key: string) => json[key] === undefined || json[key] === null;
  return {
    text(key: string): string | null {
      if (absent(key)) return null;
      const value = json[key];
      if (typeof value !== "string") throw refuse(key, "a text");
      return value;
    },
    positive(key: string, fallback: number, check: (value: unknown) => boolean): number {
      if (json[key] === undefined) return fallback;
      const value = json[key] as number;
      if (!check(value) || value <= 0) throw refuse(key, "a number above zero");
      return value;
    },
    fraction(key: string): number {
      if (json[key] === undefined) return 0;
      const value = json[key];
      if (typeof value !== "number" || !(value >= 0 && value < 1)) {
        throw refuse(key, "a number from 0 up to 1");
      }
      return value;
    },
    names(key: string): string[] | string | null {
      if (absent(key)) return null;
      const value = json[key];
      if (typeof value === "string") return value;
      const isList = Array.isArray(value) && value.every((name) => typeof name === "string");
      if (!isList) throw refuse(key, "a text or a list of texts");
      return value;
    },
    layers(key: string): number[] | null {
      if (absent(key)) return null;
      const value = json[key];
      const list = Array.isArray(value) ? value : [value];
      if (!list.every((n) => Number.isSafeInteger(n))) throw refuse(key, "a list of layer numbers");
      return list as number[];
    },
    pattern(key: string): Record<string, number> {
      if (absent(key)) return {};
      const value = json[key];
      const isPattern =
        isJsonObject(value) &&
        Object.values(value).every((n) => typeof n === "number" && Number.isFinite(n) && n > 0);
      if (!isPattern) throw refuse(key, "an object of numbers above zero");
      return value as Record<string, number>;
    },
  };
}

function asList(names: string[] | string | null): string[] | null {
  return typeof names === "string" ? [names] : names;
}

/** The text of adapter_config.json, as `save_pretrained` writes it: sorted keys, two spaces. */
export function serializeAdapterConfig(config: AdapterConfig): string {
  const { targetModules } = config;
  const json: JsonObject = {
    alpha_pattern: config.alphaPattern,
    auto_mapping: null,
    base_model_name_or_path: config.baseModel,
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layer_replication: null,
    layers_pattern: config.layersPattern,
    layers_to_transform: config.layersToTransform,
    loftq_config: {},
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    megatron_config: null,
    megatron_core: "megatron.core",
    modules_to_save: null,
    peft_type: "LORA",
    r: config.rank,
    rank_pattern: config.rankPattern,
    revision: config.revision,
    target_modules:
      typeof targetModules === "string" ? targetModules : [...targetModules].toSorted(),
    task_type: config.taskType,
    use_dora: false,
    use_rslora: config.useRslora,
  };
  // Newer than 0.10.0, so only where it says something.
  if (config.excludeModules !== null) json["exclude_modules"] = config.excludeModules;
  const sorted = Object.fromEntries(Object.entries(json).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify(sorted, null, 2);
}

/** The factor on B·A·x. */
export function loraScaling(alpha: number, rank: number, useRslora: boolean): number {
  return alpha / (useRslora ? Math.sqrt(rank) : rank);
}

export interface LinearModule {
  /** The path in the Hugging Face model, such as `model.layers.0.self_attn.q_proj`. */
  path: string;
  /** The output head, which "all-linear" leaves out. */
  isHead: boolean;
}

export interface AdapterTarget {
  path: string;
  rank: number;
  alpha: number;
  scaling: number;
}

/**
 * The modules that an adapter acts on, by the rules of PEFT's `check_target_module_exists`, each with
 * its own rank and scaling. Refuses a config that matches nothing.
 */
export function selectTargets(
  config: AdapterConfig,
  modules: readonly LinearModule[],
  place: string,
): AdapterTarget[] {
  const targets = modules.filter((module) => isTarget(config, module, place));
  if (targets.length === 0) {
    const wanted = [config.targetModules].flat().join(", ");
    throw new UserError(
      `${place}: target_modules ${wanted} match none of the model's linear layers (${lastNames(modules)}).`,
      'Name layers that the model has, or use "all-linear".',
    );
  }
  return targets.map(({ path }) => {
    const rank = firstMatch(config.rankPattern, path, place) ?? config.rank;
    const alpha = firstMatch(config.alphaPattern, path, place) ?? config.alpha;
    return { path, rank, alpha, scaling: loraScaling(alpha, rank, config.useRslora) };
  });
}

/** Refuses a name in a list of targets that no module answers to. */
export function refuseUnknownTargets(
  targets: AdapterConfig["targetModules"],
  modules: readonly LinearModule[],
  place: string,
): void {
  if (typeof targets === "string") return;
  const unknown = targets.filter((name) =>
    modules.every(({ path }) => !matchesNames([name], path, place)),
  );
  if (unknown.length === 0) return;
  throw new UserError(
    `${place}: the model has no linear layer ${unknown.join(", ")}; it has ${lastNames(modules)}.`,
    'Name layers that the model has, or use "all-linear".',
  );
}

function lastNames(modules: readonly LinearModule[]): string {
  return [...new Set(modules.map(({ path }) => lastName(path)))].toSorted().join(", ");
}

function isTarget(config: AdapterConfig, module: LinearModule, place: string): boolean {
  const { path, isHead } = module;
  const { targetModules, excludeModules, layersToTransform } = config;
  if (excludeModules !== null && matchesNames(excludeModules, path, place)) return false;
  if (targetModules === "all-linear") return !isHead;
  if (!matchesNames(targetModules, path, place)) return false;
  // PEFT looks at layer numbers only where targets are a list and the name is not a whole path.
  if (typeof targetModules === "string" || targetModules.includes(path)) return true;
  if (layersToTransform === null || layersToTransform.length === 0) return true;
  const layer = layerOf(path, config.layersPattern, place);
  return layer !== undefined && layersToTransform.includes(layer);
}

function matchesNames(names: readonly string[] | string, path: string, place: string): boolean {
  if (typeof names === "string") return pythonPattern(`^(?:${names})$`, place).test(path);
  return names.some((name) => path === name || path.endsWith(`.${name}`));
}

function layerOf(
  path: string,
  patterns: readonly string[] | null,
  place: string,
): number | undefined {
  const lists = patterns === null || patterns.length === 0 ? ["[^.]*"] : patterns;
  for (const list of lists) {
    const layer = pythonPattern(`^.*\\.(?:${list})\\.(?<layer>\\d+)\\.`, place).exec(path)
      ?.groups?.["layer"];
    if (layer !== undefined) return Number(layer);
  }
  return undefined;
}

function firstMatch(
  byPattern: Readonly<Record<string, number>>,
  path: string,
  place: string,
): number | undefined {
  for (const [pattern, value] of Object.entries(byPattern)) {
    if (pythonPattern(`^(?:.*\\.)?(?:${pattern})$`, place).test(path)) return value;
  }
  return undefined;
}

/** A Python regular expression. The two dialects differ, for these, only in how groups are named. */
function pythonPattern(source: string, place: string): RegExp {
  try {
    return new RegExp(source.replaceAll("(?P<", "(?<"));
  } catch (error) {
    throw new UserError(
      `${place}: "${source}" is no regular expression that can be read.`,
      "Write target_modules as a list of names.",
      { cause: error },
    );
  }
}

function lastName(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}
