// A model of the hub before its download: which of its files are wanted, and its headers over the network.
import type { Folder } from "../base/folder.ts";
import { httpFolder } from "../hosts/http-folder.ts";
import type { HttpOptions } from "../hosts/http.ts";
import { filesUrl, type HubFile, type HubRepo, listRepo } from "../hosts/hub.ts";
import { type HubReference, parseHubReference } from "../hosts/hub-reference.ts";
import { type Choice, chooseFiles } from "../hosts/hub-model-files.ts";

/** Nobody waits a minute to be told that the network is down. */
const LOOK: HttpOptions = { tries: 4 };

export interface FoundModel {
  readonly repo: HubRepo;
  readonly path: string;
}

export async function findModel(
  hubUrl: string,
  reference: HubReference,
  options: HttpOptions = {},
): Promise<FoundModel> {
  const repo = await listRepo(hubUrl, reference, { ...LOOK, ...options });
  return { repo, path: reference.path };
}

/** The files to take. Refuses a repo that holds no model, or more than one. */
export function chooseHubFiles({ repo, path }: FoundModel): Choice<HubFile> {
  return chooseFiles(repo.files, path, repo.repo);
}

/** Where the chosen files are, with "/" at the end. */
export function chosenUrl(
  hubUrl: string,
  { repo }: FoundModel,
  { folder }: Choice<HubFile>,
): string {
  return filesUrl(hubUrl, repo) + folder.split("/").map(encodeURIComponent).join("/");
}

/** The chosen files under the names they are stored with. */
export function storedNames({ files, folder }: Choice<HubFile>): HubFile[] {
  return files.map((file) => ({ ...file, name: file.name.slice(folder.length) }));
}

/** The chosen files as a folder whose headers can be read. */
export function remoteFolder(
  hubUrl: string,
  found: FoundModel,
  choice: Choice<HubFile>,
  options: HttpOptions = {},
): Folder {
  const path = [found.repo.repo, choice.folder.replace(/\/$/, "")].filter(Boolean).join("/");
  return httpFolder(chosenUrl(hubUrl, found, choice), storedNames(choice), {
    ...LOOK,
    ...reaching(hubUrl, found, options),
    path,
  });
}

/** Options for files of the hub: where nothing comes of them, its list tells whether it can be reached. */
export function reaching<Options extends HttpOptions>(
  hubUrl: string,
  found: FoundModel,
  options: Options,
): Options {
  return { ...options, answers: () => hubAnswers(hubUrl, found, options.signal) };
}

async function hubAnswers(
  hubUrl: string,
  { repo }: FoundModel,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  return listRepo(hubUrl, { ...repo, revision: repo.commit }, { tries: 1, signal }).then(
    () => true,
    () => false,
  );
}

/** Folders keep the headers they have read, and several questions are asked about one model. */
const MOST_KEPT = 4;
const kept = new Map<string, Promise<Folder>>();

/** The folder of "org/name@commit/path". */
export function openRemoteModel(reference: string, hubUrl: string): Promise<Folder> {
  const key = `${hubUrl} ${reference}`;
  const opening = kept.get(key) ?? open(reference, hubUrl);
  kept.delete(key);
  kept.set(key, opening);
  opening.catch(() => kept.delete(key));
  const [oldest] = kept.keys();
  if (kept.size > MOST_KEPT && oldest !== undefined) kept.delete(oldest);
  return opening;
}

async function open(reference: string, hubUrl: string): Promise<Folder> {
  const found = await findModel(hubUrl, parseHubReference(reference, hubUrl));
  return remoteFolder(hubUrl, found, chooseHubFiles(found));
}
