// The adapter that a run begins with, where load_from names one: it must be the one the config describes.
import type { Folder } from "../../base/folder.ts";
import { UserError } from "../../base/error.ts";
import type { AdapterTarget } from "../../formats/peft.ts";
import type { LoraMatrices } from "../../model/adapter.ts";
import { readAdapterFolder } from "../../model/files/adapter-files.ts";
import type { ModelFolder } from "../model-folder.ts";

/** Reads the matrices. Refuses an adapter of other layers, ranks or scales than the config's `targets`. */
export async function firstMatrices(
  folder: Folder,
  opened: ModelFolder,
  targets: readonly AdapterTarget[],
): Promise<ReadonlyMap<string, LoraMatrices>> {
  const found = await readAdapterFolder(folder, opened);
  const differences = compareTargets(found.targets, targets);
  if (differences.length > 0) {
    throw new UserError(
      `load_from: the adapter in ${folder.path} is another one than the config describes: ${differences.join("; ")}.`,
      "Set lora as in its adapter_config.json, or leave load_from empty.",
    );
  }
  return found.matrices;
}

function compareTargets(
  found: readonly AdapterTarget[],
  wanted: readonly AdapterTarget[],
): string[] {
  const byPath = new Map(found.map((target) => [target.path, target]));
  const missing = wanted.filter(({ path }) => !byPath.has(path));
  const paths = new Set(wanted.map(({ path }) => path));
  const extra = found.filter(({ path }) => !paths.has(path));
  const pairs = wanted.flatMap((target) => {
    const other = byPath.get(target.path);
    return other ? [{ path: target.path, found: other, wanted: target }] : [];
  });
  const otherRank = pairs.find((pair) => pair.found.rank !== pair.wanted.rank);
  // Where the rank is another, so is the scale.
  const otherScale = otherRank
    ? undefined
    : pairs.find((pair) => pair.found.scaling !== pair.wanted.scaling);
  return [
    ...(missing.length > 0 ? [`it does not adapt ${listed(missing)}`] : []),
    ...(extra.length > 0 ? [`it adapts ${listed(extra)} too`] : []),
    ...(otherRank
      ? [`its rank is ${otherRank.found.rank}, not ${otherRank.wanted.rank} (${otherRank.path})`]
      : []),
    ...(otherScale
      ? [
          `its scale is ${otherScale.found.scaling}, not ${otherScale.wanted.scaling} (${otherScale.path}; lora_alpha ${otherScale.found.alpha})`,
        ]
      : []),
  ];
}

/** "model.layers.0.mlp.up_proj and 21 more" */
function listed(targets: readonly AdapterTarget[]): string {
  const [first] = targets;
  const others = targets.length - 1;
  return `${first?.path ?? ""}${others > 0 ? ` and ${others} more` : ""}`;
}
