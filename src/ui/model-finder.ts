// The hub: what a text names there, and the download of it.
import { createSignal, onCleanup } from "solid-js";
import type { HubModel, StoredModel } from "../services/api.ts";
import { createLookups, type Lookup } from "./lookup.ts";
import { isTrainable, remember } from "./model-library.ts";
import type { Transfers } from "./model-transfers.ts";
import type { SliceContext } from "./session.ts";
import { readSetting, writeSetting } from "./settings.ts";

export interface HubFinder {
  readonly isOnline: () => boolean;
  readonly lookup: () => Lookup<HubModel>;
  /** Finds what an id or a pasted address names; the result is in `lookup`. */
  lookUp(text: string): Promise<void>;
  clearLookup(): void;
  /** What was found before, the newest first; kept over visits. */
  readonly recent: () => readonly string[];
  /** Downloads what is missing of it. What is broken off or canceled keeps what came. */
  download(model: HubModel): Promise<void>;
  /** Goes on with a download that broke off. */
  goOn(model: StoredModel): Promise<void>;
  cancel(repo: string): Promise<void>;
}

interface Library {
  readonly selected: () => StoredModel | undefined;
  select(id: string): void;
  refresh(): Promise<void>;
}

export function createHubFinder(
  { workers, app }: SliceContext,
  transfers: Transfers,
  library: Library,
): HubFinder {
  const lookups = createLookups<HubModel>();
  const [recent, setRecent] = createSignal(readSetting("recent-models", readTexts));

  const lookUp = async (text: string) => {
    if (!(await lookups.follow(text, workers.data.resolveHub(text)))) return;
    setRecent(remember(recent(), text));
    writeSetting("recent-models", recent());
  };

  const download = async (model: HubModel) => {
    const what = { key: model.repo, kind: "download", name: model.repo } as const;
    try {
      const stored = await transfers.follow(what, (tell) => workers.data.download(model, tell));
      lookups.clearIf(({ repo }) => repo === model.repo);
      app.tell("good", app.text().library.model.hub.arrived(stored.name));
      await library.refresh();
      if (isTrainable(stored) && !library.selected()) library.select(stored.id);
    } catch (error) {
      await library.refresh(); // what came is listed
      if (!(error instanceof Error && error.name === "AbortedError")) throw error;
    }
  };

  return {
    isOnline: createOnline(),
    lookup: lookups.shown,
    lookUp,
    clearLookup: lookups.clear,
    recent,
    download,
    async goOn(model) {
      // By its id it is found at the commit that it was begun at: files of two would not fit together.
      const found = await workers.data.resolveHub(model.id);
      if (found.refusal !== undefined) throw new Error(found.refusal);
      await download(found);
    },
    async cancel(repo) {
      transfers.markEnding(repo);
      await workers.data.cancelDownload(repo);
    },
  };
}

/** As far as the browser knows: it may be online and the hub out of reach. */
function createOnline(): () => boolean {
  const [isOnline, setIsOnline] = createSignal(navigator.onLine);
  const look = () => setIsOnline(navigator.onLine);
  addEventListener("online", look);
  addEventListener("offline", look);
  onCleanup(() => {
    removeEventListener("online", look);
    removeEventListener("offline", look);
  });
  return isOnline;
}

function readTexts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((text) => typeof text === "string") : [];
}
