// Downloads of data sets that this worker has under way, so that each can be stopped.
import { AbortedError } from "../base/error.ts";
import type { DataService } from "./api.ts";
import {
  deleteDataDownload,
  downloadHubData,
  listDataDownloads,
  resolveHubData,
} from "./hub-data.ts";
import { seldom } from "./page-callback.ts";

export type DataDownloads = Pick<
  DataService,
  | "resolveHubData"
  | "downloadData"
  | "cancelDataDownload"
  | "listDataDownloads"
  | "deleteDataDownload"
>;

export function createDataDownloads(hubUrl: string): DataDownloads {
  const running = new Map<string, AbortController>();
  return {
    resolveHubData: (text, split) => resolveHubData(text, split, hubUrl),
    async downloadData(data, onProgress) {
      const controller = new AbortController();
      if (!running.has(data.id)) running.set(data.id, controller);
      try {
        const { signal } = controller;
        return await downloadHubData(data, { hubUrl, signal, onProgress: seldom(onProgress) });
      } finally {
        // A second one, which is refused, must not take the first one's place.
        if (running.get(data.id) === controller) running.delete(data.id);
      }
    },
    async cancelDataDownload(id) {
      running
        .get(id)
        ?.abort(
          new AbortedError(
            "The download was stopped; what came so far is kept.",
            "Start it again to go on where it stopped.",
          ),
        );
    },
    listDataDownloads,
    deleteDataDownload,
  };
}
