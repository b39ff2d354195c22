// What follows from the list of models alone: which are complete, which base an adapter needs, what fits on disk.
import type { HubModel, LocalFile, StorageReport, StoredModel } from "../services/api.ts";

export function isComplete(model: StoredModel): boolean {
  return model.partialBytes === undefined;
}

/** A complete base model: what a run can train. */
export function isTrainable(model: StoredModel): boolean {
  return model.kind === "model" && isComplete(model);
}

/**
 * The complete base model of an adapter: of the same hub repo if there is one, else one of the same name.
 * The adapter's config names a repo, or a folder of the machine it was trained on.
 */
export function baseOf(
  adapter: Pick<StoredModel, "baseModel">,
  models: readonly StoredModel[],
): StoredModel | undefined {
  const wanted = adapter.baseModel;
  if (wanted === undefined || wanted === "") return undefined;
  const bases = models.filter(isTrainable);
  return (
    bases.find(({ origin }) => origin.kind === "hub" && sameName(origin.repo, wanted)) ??
    bases.find(({ name, id }) =>
      [name, id].some((known) => sameName(lastPart(known), lastPart(wanted))),
    )
  );
}

/** Whether a text can be looked up as a repo: "org/name". */
export function isRepoName(text: string): boolean {
  return /^[\w][\w.-]*\/[\w][\w.-]*$/.test(text);
}

/** Whether what was found on the hub is stored already: the same commit, and the same folder of it. */
export function isStoredAs(found: HubModel, stored: StoredModel): boolean {
  const { origin } = stored;
  if (origin.kind !== "hub" || !isComplete(stored)) return false;
  if (origin.repo !== found.repo || origin.commit !== found.commit) return false;
  // "hub:org/name@commit/folder" is stored under the name "org/name/folder".
  const folder = found.estimateId.split(`@${found.commit}`)[1] ?? "";
  return stored.name === found.repo + folder;
}

/** Bytes by which a download passes what the browser allows, 0 where it fits. */
export function missingBytes(model: HubModel, storage: StorageReport | undefined): number {
  if (!storage || storage.quotaBytes === 0) return 0;
  const free = storage.quotaBytes - storage.usedBytes;
  return Math.max(0, model.totalBytes - model.partialBytes - free);
}

/** The name to give a folder or a file that was picked: the folder's, or the file's without its ending. */
export function nameOfFiles(files: readonly LocalFile[]): string {
  const [first] = files;
  if (!first) return "";
  const [folder = "", inside] = first.path.split("/", 2);
  return inside === undefined && files.length === 1 ? folder.replace(/\.[^.]+$/, "") : folder;
}

const REMEMBERED = 5;

/** The texts looked up last, the newest first, each once. */
export function remember(recent: readonly string[], text: string): string[] {
  return [text, ...recent.filter((known) => known !== text)].slice(0, REMEMBERED);
}

/** 134515008 → "134.5 M", 1543714304 → "1.54 B". */
export function formatParameters(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)} B`;
  if (count >= 1e6) return `${(count / 1e6).toFixed(1)} M`;
  if (count >= 1e3) return `${(count / 1e3).toFixed(0)} K`;
  return String(count);
}

function sameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

function lastPart(path: string): string {
  return (
    path
      .replace(/[/\\]+$/, "")
      .split(/[/\\]/)
      .at(-1) ?? ""
  );
}
