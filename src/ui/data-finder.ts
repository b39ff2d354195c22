// The hub's data sets: what a text names there, and the download of it into the rows of this page.
import { createSignal } from "solid-js";
import type { DataDownload, HubData, StoredData } from "../services/api.ts";
import { createLookups, type Lookup } from "./lookup.ts";
import { createTransfers, type Transfer } from "./model-transfers.ts";
import type { SliceContext } from "./session.ts";

export interface DataFinder {
  readonly lookup: () => Lookup<HubData>;
  /** Finds what an id or a pasted address names; the result is in `lookup`. */
  lookUp(text: string, split: string): Promise<void>;
  /** Looks up once more what failed. */
  retry(text: string): Promise<void>;
  clearLookup(): void;
  /** Downloads what is missing and takes the rows in. What is broken off or stopped keeps what came. */
  download(data: HubData): Promise<void>;
  /** Those that were begun and are not complete. */
  readonly begun: () => readonly DataDownload[];
  goOn(begun: DataDownload): Promise<void>;
  stop(id: string): Promise<void>;
  deleteBegun(id: string): Promise<void>;
  /** By the id of a download. */
  readonly transfers: () => readonly Transfer[];
  refreshBegun(): Promise<void>;
}

export function createDataFinder(
  { workers, app, session }: SliceContext,
  take: (added: readonly StoredData[]) => Promise<void>,
): DataFinder {
  const lookups = createLookups<HubData>();
  let lastSplit = "";
  const [begun, setBegun] = createSignal<readonly DataDownload[]>([]);
  const transfers = createTransfers();

  const refreshBegun = async () => {
    setBegun(await workers.data.listDataDownloads());
    await session().check.refreshStorage();
  };
  const download = async (data: HubData, name = data.repo) => {
    const what = { key: data.id, kind: "download", name } as const;
    try {
      const stored = await transfers.follow(what, (tell) => workers.data.downloadData(data, tell));
      lookups.clearIf(({ id }) => id === data.id);
      app.tell("good", app.text().data.hub.arrived(stored.name));
      await take([stored]);
    } catch (error) {
      if (!(error instanceof Error && error.name === "AbortedError")) throw error;
    } finally {
      await refreshBegun(); // what came is listed
    }
  };
  const lookUp = async (text: string, split: string) => {
    lastSplit = split;
    await lookups.follow(text, workers.data.resolveHubData(text, split));
  };
  return {
    lookup: lookups.shown,
    lookUp,
    retry: (text) => lookUp(text, lastSplit),
    clearLookup: lookups.clear,
    download: (data) => download(data),
    begun,
    async goOn({ id, name }) {
      // By its id it is found at the commit that it was begun at.
      const found = await workers.data.resolveHubData(id, "");
      if (found.refusal !== undefined) throw new Error(found.refusal);
      await download(found, name);
    },
    async stop(id) {
      transfers.markEnding(id);
      await workers.data.cancelDataDownload(id);
    },
    async deleteBegun(id) {
      await workers.data.deleteDataDownload(id);
      await refreshBegun();
    },
    transfers: transfers.list,
    refreshBegun,
  };
}
