// model=dict(…) and tokenizer=dict(…) → the base, how it is kept, and the adapter.
import { asTexts, lastOf, nameOf, type Section } from "./findings.ts";
import { excerptOf, isDict, isList } from "./python-value.ts";
import type { Settings } from "./settings.ts";

/** What else than supervised fine-tuning XTuner's models do, by a part of their name. */
const OTHER_MODELS: readonly (readonly [RegExp, string])[] = [
  [/llava|internvl|vision/i, "a model that sees images; Hone tunes models of text"],
  [/dpo|orpo|kto/i, "tuning by preferences; Hone tunes by examples of answers"],
  [/reward/i, "a reward model; Hone tunes by examples of answers"],
];

export function mapModel(model: Section, settings: Settings): void {
  const { findings } = model;
  const type = model.name("type") ?? "";
  if (lastOf(type) !== "SupervisedFinetune") {
    const [, what] = OTHER_MODELS.find(([pattern]) => pattern.test(type)) ?? [];
    findings.refuse(
      model.lineOf("type"),
      `model.type is ${type || "not given"}: ${what ?? "Hone knows SupervisedFinetune only"}`,
    );
    return;
  }
  mapBase(model, settings);
  mapAdapter(model, settings);
  const apart = model.flag("use_varlen_attn");
  if (apart !== undefined) settings.set("use_varlen_attn", apart, model.lineOf("use_varlen_attn"));
  const checkpointing = model.flag("use_activation_checkpointing");
  // It changes the memory taken and no number, so what is not asked for is left to Hone.
  if (checkpointing === false) {
    settings.set("gradient_checkpointing", false, model.lineOf("use_activation_checkpointing"));
  }
  if (model.take("max_position_embeddings")?.value) {
    findings.refuse(
      model.lineOf("max_position_embeddings"),
      "model.max_position_embeddings stretches the model's context, which Hone does not do; leave it out",
    );
  }
  const adapter = model.text("peft_model");
  if (adapter !== undefined) settings.set("load_from", adapter, model.lineOf("peft_model"));
  model.close([], "refuse");
}

function mapBase(model: Section, settings: Settings): void {
  const { findings } = model;
  const llm = model.section("llm");
  if (llm === undefined) {
    findings.refuse(model.line, "model.llm is missing");
    return;
  }
  const type = llm.name("type") ?? "";
  if (lastOf(type) !== "from_pretrained") {
    findings.refuse(
      llm.lineOf("type"),
      `model.llm.type is ${type || "not given"}, not AutoModelForCausalLM.from_pretrained`,
    );
  }
  const path = llm.text("pretrained_model_name_or_path");
  const revision = llm.text("revision");
  const name = path !== undefined && revision !== undefined ? `${path}@${revision}` : path;
  settings.set("model", name ?? "", llm.lineOf("pretrained_model_name_or_path"));
  mapQuantization(llm, settings);
  llm.close(
    "trust_remote_code torch_dtype device_map low_cpu_mem_usage attn_implementation use_flash_attention_2 use_safetensors cache_dir local_files_only use_cache".split(
      " ",
    ),
    "refuse",
  );
}

function mapQuantization(llm: Section, settings: Settings): void {
  const { findings } = llm;
  const quantization = llm.section("quantization_config");
  const is8bit = llm.flag("load_in_8bit") === true || quantization?.flag("load_in_8bit") === true;
  if (is8bit) {
    const place = quantization ?? llm;
    findings.refuse(
      place.lineOf("load_in_8bit"),
      "load_in_8bit: Hone keeps a base in 4 bits (load_in_4bit=True, bnb_4bit_quant_type='nf4') or as it is",
    );
    return;
  }
  const is4bit = llm.flag("load_in_4bit") === true || quantization?.flag("load_in_4bit") === true;
  settings.set("quantization", is4bit ? "nf4" : "none", llm.lineOf("quantization_config"));
  if (quantization === undefined) {
    if (is4bit) {
      findings.refuse(
        llm.lineOf("load_in_4bit"),
        "model.llm.load_in_4bit without a quantization_config means fp4; say bnb_4bit_quant_type='nf4' in a BitsAndBytesConfig",
      );
    }
    return;
  }
  // The defaults are transformers': without a word it is fp4, and single.
  const kind = quantization.text("bnb_4bit_quant_type") ?? "fp4";
  if (is4bit && kind !== "nf4") {
    findings.refuse(
      quantization.lineOf("bnb_4bit_quant_type"),
      `${quantization.path}.bnb_4bit_quant_type is ${kind}; Hone has nf4 only`,
    );
  }
  settings.set(
    "double_quant",
    quantization.flag("bnb_4bit_use_double_quant") ?? false,
    quantization.lineOf("bnb_4bit_use_double_quant"),
  );
  quantization.close(
    "type bnb_4bit_compute_dtype bnb_4bit_quant_storage llm_int8_threshold llm_int8_has_fp16_weight llm_int8_skip_modules llm_int8_enable_fp32_cpu_offload".split(
      " ",
    ),
  );
}

/** Settings of PEFT that are the same as none only with these values. */
const NEUTRAL: Readonly<Record<string, boolean>> = {
  use_dora: false,
  fan_in_fan_out: false,
  inference_mode: false,
  init_lora_weights: true,
  lora_bias: false,
};

function mapAdapter(model: Section, settings: Settings): void {
  const { findings } = model;
  const lora = model.section("lora");
  if (lora === undefined) {
    findings.refuse(
      model.line,
      "model has no lora=dict(type=LoraConfig, …): all weights would be trained, and Hone trains adapters. Add one, as in the qlora configs",
    );
    return;
  }
  const type = lora.name("type") ?? "LoraConfig";
  if (lastOf(type) !== "LoraConfig") {
    findings.refuse(lora.lineOf("type"), `model.lora.type is ${type}; Hone has LoraConfig only`);
  }
  // Where a number is absent it is PEFT's default.
  settings.set("lora.r", lora.number("r") ?? 8, lora.lineOf("r"));
  settings.set("lora.lora_alpha", lora.number("lora_alpha") ?? 8, lora.lineOf("lora_alpha"));
  settings.set("lora.lora_dropout", lora.number("lora_dropout") ?? 0, lora.lineOf("lora_dropout"));
  settings.set("lora.use_rslora", lora.flag("use_rslora") ?? false, lora.lineOf("use_rslora"));
  settings.set("lora.bias", lora.text("bias") ?? "none", lora.lineOf("bias"));
  mapTargets(lora, settings);
  for (const [key, neutral] of Object.entries(NEUTRAL)) {
    const entry = lora.take(key);
    if (entry === undefined || entry.value === null) continue;
    if (entry.value !== neutral) {
      findings.refuse(
        entry.line,
        `model.lora.${key} is ${excerptOf(entry.value)}, which Hone lacks`,
      );
    }
  }
  for (const key of ["modules_to_save", "rank_pattern", "alpha_pattern", "layers_to_transform"]) {
    const value = lora.take(key)?.value ?? null;
    const isEmpty =
      value === null ||
      (isList(value) && value.items.length === 0) ||
      (isDict(value) && value.entries.size === 0);
    if (!isEmpty) findings.refuse(lora.lineOf(key), `model.lora.${key}: Hone trains LoRA alone`);
  }
  lora.close(["task_type", "base_model_name_or_path", "revision", "peft_type"], "refuse");
}

function mapTargets(lora: Section, settings: Settings): void {
  const entry = lora.take("target_modules");
  const line = lora.lineOf("target_modules");
  // None: every linear layer, found by XTuner's own rule, which compat follows.
  if (entry === undefined || entry.value === null || entry.value === "all-linear") {
    settings.set("lora.target_modules", "all-linear", line);
    return;
  }
  const names = isList(entry.value) ? asTexts(entry.value) : undefined;
  if (names === undefined || names.length === 0) {
    const what = typeof entry.value === "string" ? "a pattern" : "not a list of names";
    lora.findings.refuse(line, `model.lora.target_modules is ${what}; name the layers in a list`);
    return;
  }
  settings.set("lora.target_modules", names, line);
}

/** tokenizer=dict(…) is always the model's own here; says where that is another one. */
export function checkTokenizer(tokenizer: Section, model: unknown): void {
  const { findings } = tokenizer;
  const path = tokenizer.text("pretrained_model_name_or_path");
  const isOther = typeof model === "string" && model !== "" && path !== model.split("@")[0];
  if (path !== undefined && isOther) {
    findings.warn(
      tokenizer.lineOf("pretrained_model_name_or_path"),
      `the tokenizer is that of ${path}; Hone takes the model's own`,
    );
  }
  const eos = tokenizer.take("eos_token");
  if (eos !== undefined) {
    findings.warn(
      eos.line,
      `tokenizer.eos_token is ${nameOf(eos.value) ?? JSON.stringify(eos.value)}; Hone takes what the model's files say`,
    );
  }
  tokenizer.close(
    "type trust_remote_code padding_side use_fast encode_special_tokens revision cache_dir model_max_length".split(
      " ",
    ),
  );
}
