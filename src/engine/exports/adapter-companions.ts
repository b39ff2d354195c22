// The small files that make a folder of adapter weights a PEFT adapter others can use.
import type { TrainConfig } from "../../config.ts";
import {
  type AdapterConfig,
  type AdapterTarget,
  serializeAdapterConfig,
} from "../../formats/peft.ts";
import { modulesOf } from "../../model/files/adapter-files.ts";
import { ADAPTER_CONFIG } from "../../model/files/adapter-folder.ts";
import { allLinears } from "../../model/linears.ts";
import { type ChosenTemplate, MANIFEST, type ModelFolder } from "../model-folder.ts";

export interface CompanionParts {
  readonly config: TrainConfig;
  readonly chosen: Pick<ChosenTemplate, "name">;
  readonly opened: CompanionModel;
  readonly adapterConfig: AdapterConfig;
  readonly targets: readonly AdapterTarget[];
}

/** What of a model stands in these files. */
type CompanionModel = Pick<ModelFolder, "architecture"> & {
  readonly tokenizer: { readonly chatTemplate?: string | undefined };
};

export const CHAT_TEMPLATE = "chat_template.jinja";

/** Name to text: the adapter's config, the manifest, the chat template and a model card. */
export function adapterCompanions(parts: CompanionParts): Map<string, string> {
  const { config, chosen, opened, adapterConfig, targets } = parts;
  // Names instead of "all-linear": every release of PEFT reads those alike.
  const names = targetNames(opened, targets);
  const files = new Map<string, string>();
  files.set(ADAPTER_CONFIG, serializeAdapterConfig({ ...adapterConfig, targetModules: names }));
  const manifest = {
    generator: "hone",
    prompt_template: chosen.name,
    system: config.system,
    config,
  };
  files.set(MANIFEST, `${JSON.stringify(manifest, null, 2)}\n`);
  const { chatTemplate } = opened.tokenizer;
  if (chatTemplate !== undefined) files.set(CHAT_TEMPLATE, chatTemplate);
  files.set("README.md", modelCard(parts, names));
  return files;
}

/** The modules' own names, or their whole paths where other modules of those names are not adapted. */
function targetNames(
  { architecture }: CompanionModel,
  targets: readonly AdapterTarget[],
): string[] {
  const names = new Set(targets.map(({ path }) => nameOf(path)));
  const named = modulesOf(allLinears(architecture)).filter(({ path }) => names.has(nameOf(path)));
  const isExact = named.length === targets.length;
  return isExact ? [...names].toSorted() : targets.map(({ path }) => path).toSorted();
}

function nameOf(path: string): string {
  return path.split(".").at(-1) ?? path;
}

/** README.md, as Hugging Face shows it. */
export function modelCard(
  { config, chosen, adapterConfig }: Pick<CompanionParts, "config" | "chosen" | "adapterConfig">,
  names: readonly string[],
  trainedWith = "Trained with Hone (QLoRA on WebGPU).",
): string {
  const { r, lora_alpha: alpha, lora_dropout: dropout } = config.lora;
  const { baseModel, revision } = adapterConfig;
  const base = baseModel ?? config.model;
  // In YAML's quotes, which are JSON's: a path may hold ": " or " #".
  return `---
base_model: ${JSON.stringify(base)}
base_model_relation: adapter
library_name: peft
pipeline_tag: text-generation
tags:
  - ${JSON.stringify(`base_model:adapter:${base}`)}
  - lora
  - transformers
---

# LoRA adapter for ${base}

${trainedWith}

| | |
|---|---|
| Base model | ${base}${revision === null ? "" : `, revision ${revision}`} |
| Quantization of the base in training | ${config.quantization} |
| Rank, alpha, dropout | ${r}, ${alpha}, ${dropout} |
| Adapted layers | ${names.join(", ")} |
| Learning rate, schedule | ${config.lr}, ${config.lr_scheduler} |
| Prompt template | ${chosen.name === "auto" ? "the model's own chat template" : chosen.name} |
| Seed | ${config.seed} |
`;
}
