// The models and adapters in the browser's storage: adding, downloading, listing and removing them.
//
// Whoever adds or removes one holds its lock; nothing is kept that the engine's own reader refuses.
import { AbortedError, UserError } from "../base/error.ts";
import type { DataService, ServiceOptions } from "./api.ts";
import { broadcast } from "./broadcast.ts";
import { addEmbeddedModel } from "./embedded-model.ts";
import { downloadHubModel, resolveHubModel } from "./hub-store.ts";
import { addLocalModel } from "./local-model.ts";
import { listModelRecords, readModelRecord, removeIfFree } from "./model-records.ts";
import { seldom } from "./page-callback.ts";
import { persistStorage, reportStorage } from "./storage-report.ts";

export type ModelStore = Pick<
  DataService,
  | "storage"
  | "persist"
  | "listModels"
  | "addEmbedded"
  | "addLocal"
  | "resolveHub"
  | "download"
  | "cancelDownload"
  | "deleteModel"
>;

export function createModelStore({ hubUrl, pageUrl }: ServiceOptions): ModelStore {
  const downloads = new Map<string, AbortController>();
  return {
    storage: reportStorage,
    persist: persistStorage,
    listModels: listModelRecords,
    addEmbedded: (onProgress) => changing(() => addEmbeddedModel(pageUrl, seldom(onProgress))),
    addLocal: (name, files, onProgress) =>
      changing(() => addLocalModel(name, files, seldom(onProgress))),
    resolveHub: (text) => resolveHubModel(text, hubUrl),
    download: (model, onProgress) =>
      changing(async () => {
        const controller = new AbortController();
        if (!downloads.has(model.repo)) downloads.set(model.repo, controller);
        try {
          const options = { signal: controller.signal, onProgress: seldom(onProgress) };
          return await downloadHubModel(model, hubUrl, options);
        } finally {
          // A second one, which is refused, must not take the first one's place.
          if (downloads.get(model.repo) === controller) downloads.delete(model.repo);
        }
      }),
    async cancelDownload(repo) {
      downloads
        .get(repo)
        ?.abort(
          new AbortedError(
            `The download of ${repo} was stopped; what came so far is kept.`,
            "Start it again to go on where it stopped.",
          ),
        );
    },
    deleteModel: (id) =>
      changing(async () => {
        const name = (await readModelRecord(id))?.name ?? id;
        if (await removeIfFree(id)) return;
        throw new UserError(
          `${name} is in use: a run, a chat, an export or a download in one of Hone's tabs has it open.`,
          "Stop that first, then delete the model.",
        );
      }),
  };
}

/** Tells all tabs that the list may be another one, also where a failure leaves a part of a download. */
async function changing<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } finally {
    broadcast({ type: "changed", what: "models" });
  }
}
