// Whether a model is of a kind that Hone can compute, by its config.json alone: before its weights have come.
import type { Folder } from "../base/folder.ts";
import { parseJsonObject } from "../formats/json.ts";
import { readArchitecture } from "../model/architecture.ts";

const CONFIG = "config.json";

/** Refuses a kind that cannot be computed. A folder without a config, as one of a GGUF file, is not judged. */
export async function checkModelConfig(folder: Folder): Promise<void> {
  if ((await folder.size(CONFIG)) === undefined) return;
  const place = `${folder.path}/${CONFIG}`;
  readArchitecture(parseJsonObject(await folder.readText(CONFIG), place), place);
}
