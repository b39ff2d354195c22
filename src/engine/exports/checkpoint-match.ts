// Whether a config is the one that a checkpoint of Hone was trained by, as far as its adapter can tell.
import { UserError } from "../../base/error.ts";
import type { Folder } from "../../base/folder.ts";
import type { TrainConfig } from "../../config.ts";
import { isJsonObject, parseJsonObject } from "../../formats/json.ts";
import { parseAdapterConfig } from "../../formats/peft.ts";
import { ADAPTER_CONFIG } from "../../model/files/adapter-folder.ts";
import { MANIFEST } from "../model-folder.ts";

/** Refuses a config whose rank, alpha, target modules or prompt template are not the checkpoint's. */
export async function refuseOtherConfig(checkpoint: Folder, config: TrainConfig): Promise<void> {
  const place = `${checkpoint.path}/${ADAPTER_CONFIG}`;
  const adapter = parseAdapterConfig(await checkpoint.readText(ADAPTER_CONFIG), place);
  const { r, lora_alpha: alpha, target_modules: wanted } = config.lora;
  const trained = await readTrained(checkpoint);
  refuseOther(place, "r", adapter.rank, r);
  refuseOther(place, "lora_alpha", adapter.alpha, alpha);
  // The adapter's list has "all-linear" spelled out; what the run was asked for stands in its manifest.
  const found = trained.targets ?? adapter.targetModules;
  if (Array.isArray(found) && Array.isArray(wanted)) {
    refuseOther(place, "target_modules", sorted(found), sorted(wanted));
  } else if (trained.targets !== undefined) {
    refuseOther(place, "target_modules", sorted(trained.targets), sorted(wanted));
  }
  const template = config.prompt_template;
  if (trained.templates.length === 0 || trained.templates.includes(template)) return;
  refuseOther(`${checkpoint.path}/${MANIFEST}`, "prompt_template", trained.templates[0], template);
}

function refuseOther(
  place: string,
  name: string,
  found: string | number | undefined,
  wanted: string | number,
): void {
  if (found === undefined || found === wanted) return;
  throw new UserError(
    `${place} has ${name} ${found}, and the config says ${wanted}.`,
    "Name the config that the run had, or leave it out: a checkpoint of Hone needs none.",
  );
}

interface Trained {
  readonly targets: readonly string[] | string | undefined;
  /** As the config had it, and as it was chosen for "auto". */
  readonly templates: readonly string[];
}

async function readTrained(checkpoint: Folder): Promise<Trained> {
  if ((await checkpoint.size(MANIFEST)) === undefined) return { targets: undefined, templates: [] };
  const json = parseJsonObject(
    await checkpoint.readText(MANIFEST),
    `${checkpoint.path}/${MANIFEST}`,
  );
  const config = isJsonObject(json["config"]) ? json["config"] : {};
  const lora = isJsonObject(config["lora"]) ? config["lora"] : {};
  const templates = [config["prompt_template"], json["prompt_template"]];
  return {
    targets: namesOf(lora["target_modules"]),
    templates: templates.filter((name) => typeof name === "string"),
  };
}

function namesOf(value: unknown): readonly string[] | string | undefined {
  if (typeof value === "string") return value;
  const isList = Array.isArray(value) && value.every((name) => typeof name === "string");
  return isList ? value : undefined;
}

function sorted(names: readonly string[] | string): string {
  return [...new Set([names].flat())].toSorted().join(", ");
}
