// Ready-made configs: every model by every data set by the ways of keeping the base, written when asked for.
//
// Names are XTuner's, MODEL_METHOD_DATA_eEPOCHS, and so are the settings; the runs are Hone's own, without
// XTuner's accidents, unless `compat` is set.
import type { TrainConfig } from "../config.ts";
import { ZOO_DATA, type ZooData, type ZooSettings } from "./zoo-data.ts";
import { ZOO_MODELS, type ZooModel } from "./zoo-models.ts";

/** A way of keeping the base. */
interface Method {
  readonly name: string;
  readonly label: string;
  readonly settings: Partial<TrainConfig>;
  /** The largest base in billions of parameters that it is offered for: about 24 GB of weights. */
  readonly most: number;
}

const QLORA: Method = {
  name: "qlora",
  label: "QLoRA",
  settings: { quantization: "nf4", double_quant: true },
  most: Number.POSITIVE_INFINITY,
};

const METHODS: readonly Method[] = [
  QLORA,
  { name: "lora", label: "LoRA", settings: { quantization: "none" }, most: 12 },
  {
    name: "fp32_lora",
    label: "LoRA in full precision",
    settings: { quantization: "none", compute_dtype: "f32" },
    most: 6,
  },
];

/** XTuner's settings, whatever the model and the data. */
const SHARED: Partial<TrainConfig> = {
  max_length: 2048,
  pack_to_max_length: true,
  batch_size: 1,
  accumulative_counts: 16,
  lr: 2e-4,
  lr_scheduler: "cosine",
  warmup_ratio: 0.03,
  betas: [0.9, 0.999],
  weight_decay: 0,
  max_norm: 1,
  save_steps: 500,
  save_total_limit: 2,
  evaluation_freq: 500,
  evaluation_max_new_tokens: 600,
};

const LORA = { r: 64, lora_alpha: 16, lora_dropout: 0.1 };

export interface ZooEntry {
  readonly name: string;
  readonly about: string;
}

interface Choice {
  readonly model: ZooModel;
  readonly method: Method;
  readonly data: ZooData;
}

/** All of them, models in the order of their table. */
export function zooEntries(): readonly ZooEntry[] {
  return [...choices()].map(([name, choice]) => ({ name, about: aboutOf(choice) }));
}

/** The YAML of the ready-made config of that name; undefined where there is none. */
export function zooText(name: string): string | undefined {
  const choice = choices().get(name);
  return choice && write(choice);
}

/** What the names are made of. */
export function zooParts(): { models: string[]; methods: string[]; data: string[] } {
  return {
    models: ZOO_MODELS.map(({ name }) => name),
    methods: METHODS.map(({ name }) => name),
    data: ZOO_DATA.map(({ name }) => name),
  };
}

let known: ReadonlyMap<string, Choice> | undefined;

function choices(): ReadonlyMap<string, Choice> {
  known ??= new Map(
    ZOO_MODELS.flatMap((model) =>
      METHODS.filter(({ most }) => model.billions <= most).flatMap((method) =>
        ZOO_DATA.filter(({ isRare }) => method === QLORA || isRare !== true).map(
          (data): [string, Choice] => [
            `${model.name}_${method.name}_${data.name}`,
            { model, method, data },
          ],
        ),
      ),
    ),
  );
  return known;
}

function aboutOf({ model, method, data }: Choice): string {
  return `${model.label} on ${data.label}: ${method.label}`;
}

/** The keys of the file in their order, with an empty line before each group. */
const GROUPS: readonly (readonly (keyof ZooSettings)[])[] = [
  ["model", "quantization", "double_quant", "compute_dtype"],
  ["data", "dataset_format", "prompt_template", "max_length", "pack_to_max_length"],
  ["batch_size", "accumulative_counts", "max_epochs", "lr", "lr_scheduler", "warmup_ratio", "betas", "weight_decay", "max_norm"],
  ["lora"],
  ["save_steps", "save_total_limit", "test_data"],
  ["evaluation_freq", "evaluation_inputs", "evaluation_system", "evaluation_max_new_tokens"],
]; // prettier-ignore

function write(choice: Choice): string {
  const { model, method, data } = choice;
  const settings: Partial<Record<string, unknown>> = {
    ...SHARED,
    model: model.id,
    ...method.settings,
    prompt_template: model.template,
    ...data.settings,
    lora: { ...LORA, ...data.settings.lora },
  };
  const groups = GROUPS.map((keys) =>
    keys.flatMap((key) => writeSetting(key, settings[key], noteOf(key, choice))).join("\n"),
  );
  const head = `# ${aboutOf(choice)}
# With XTuner's settings. "compat: xtuner-0.1.17" makes it count, pack and log as XTuner does as well.`;
  return `${head}\n${groups.join("\n\n")}\n`;
}

function noteOf(key: string, { data }: Choice): string {
  switch (key) {
    case "model":
      return "on the hub; or a folder with its files";
    case "data":
      return data.source;
    case "prompt_template":
      return data.settings.prompt_template === undefined ? "" : "the texts as they are";
    case "evaluation_system":
      return "of the questions alone";
    default:
      return "";
  }
}

function writeSetting(key: string, value: unknown, note: string): string[] {
  const comment = note === "" ? "" : ` # ${note}`;
  if (value === undefined) return [];
  if (key === "lora") {
    const inner = Object.entries(value as object).map(([name, own]) => `  ${name}: ${String(own)}`);
    return ["lora:", ...inner];
  }
  const isTexts = Array.isArray(value) && typeof value[0] === "string";
  if (isTexts && value.length === 1) return [`${key}: ${scalar(value[0])}${comment}`];
  if (isTexts) return [`${key}:${comment}`, ...value.map((item) => `  - ${scalar(item)}`)];
  return [`${key}: ${Array.isArray(value) ? `[${value.join(", ")}]` : scalar(value)}${comment}`];
}

/** A text as it stands where YAML reads it back, else in JSON's quotes, which are YAML's too. */
function scalar(value: unknown): string {
  if (typeof value !== "string") return String(value);
  const isPlain =
    /^[\p{L}./][\p{L}\p{N} ./_，。？、,?-]*$/u.test(value) &&
    !/^(true|false|null|yes|no)$/i.test(value);
  return isPlain && value.trim() === value ? value : JSON.stringify(value);
}
