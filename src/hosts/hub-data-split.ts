// Finds the files of a data set's split, wherever they are on the hub: on the branch that was named, or on that of
// the hub's own conversion. How a branch is listed and its README read differs between a disk's cache and a page.
import type { DataConfig } from "../base/data-config.ts";
import { ServerRefusal } from "./http.ts";
import {
  chooseConverted,
  chooseDataFiles,
  CONVERTED,
  type DataChoice,
  nothingToRead,
} from "./hub-data-files.ts";
import type { HubReference } from "./hub-reference.ts";
import type { HubFile, HubRepo } from "./hub.ts";

/** A branch of a repo, as its user holds it. */
interface Branch {
  readonly repo: Pick<HubRepo, "repo" | "files">;
}

export interface SplitHub<Held extends Branch> {
  /** What the repo has at a revision. Throws a ServerRefusal of status 404 where it has no such revision. */
  readonly list: (reference: HubReference) => Promise<Held>;
  /** The configs that the README's head declares. Asked for only where they have a say. */
  readonly readCard: (held: Held, card: HubFile) => Promise<readonly DataConfig[]>;
}

export interface FoundSplit<Held extends Branch> {
  /** What the reference itself leads to. */
  readonly named: Held;
  /** Where the files are: the same, or the branch of converted files. */
  readonly held: Held;
  readonly choice: DataChoice<HubFile>;
}

/** The split's files. A split that the reference names, as links to a viewer do, comes before `split`. */
export async function findSplit<Held extends Branch>(
  reference: HubReference,
  split: string,
  { list, readCard }: SplitHub<Held>,
): Promise<FoundSplit<Held>> {
  const named = await list(reference);
  const { repo: place, files } = named.repo;
  const { path } = reference;
  const wanted = { place, path, split: reference.split ?? split };
  if (reference.revision === CONVERTED) {
    return { named, held: named, choice: chooseConverted(files, { ...wanted, configs: [] }) };
  }
  const isFile = files.some(({ name }) => name === path);
  const card = isFile ? undefined : files.find(({ name }) => name === "README.md");
  const request = { ...wanted, configs: card ? await readCard(named, card) : [] };
  const choice = chooseDataFiles(files, request);
  if (choice) return { named, held: named, choice };
  const held = await listConverted(reference, list);
  if (!held) throw nothingToRead(files, request);
  return { named, held, choice: chooseConverted(held.repo.files, request) };
}

/** The branch of converted files; undefined where the hub has none. */
async function listConverted<Held extends Branch>(
  reference: HubReference,
  list: SplitHub<Held>["list"],
): Promise<Held | undefined> {
  try {
    return await list({ ...reference, revision: CONVERTED });
  } catch (error) {
    if (error instanceof ServerRefusal && error.status === 404) return undefined;
    throw error;
  }
}
