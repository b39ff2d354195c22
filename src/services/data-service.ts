// What the page may ask of the data worker: models and adapters, data sets, and data as the model will see it.
import { invariant } from "../base/error.ts";
import type { DataService } from "./api.ts";
import { findReadyConfigs, readReadyConfig, readXtuner } from "./config-files.ts";
import {
  cancelImports,
  importFile,
  importIdentity,
  importRows,
  importSample,
  importText,
} from "./data-import.ts";
import { exampleOf, funnelOf, previewData } from "./data-preview.ts";
import { dataFile, readIssues, tableRows } from "./data-read.ts";
import { cleanData, deleteData, listData, mapData, renameData } from "./data-store.ts";
import { createDataDownloads, type DataDownloads } from "./data-downloads.ts";
import { createModelStore, type ModelStore } from "./model-store.ts";
import { configureStorage } from "./storage.ts";

interface Configured {
  readonly models: ModelStore;
  readonly downloads: DataDownloads;
  readonly pageUrl: string;
}

/** One flat object, since Comlink reaches whatever hangs on what it is given. */
export function createDataService(): Readonly<DataService> {
  let configured: Configured | undefined;
  const places = () => {
    invariant(configured !== undefined, () => "the data worker was asked before it was configured");
    return configured;
  };
  const models = () => places().models;
  return Object.freeze<DataService>({
    async configure({ hubUrl, pageUrl }) {
      configureStorage({ hubUrl });
      configured = {
        models: createModelStore({ hubUrl, pageUrl }),
        downloads: createDataDownloads(hubUrl),
        pageUrl,
      };
      // In nobody's way: what cannot be removed now is removed at another start.
      void cleanData().catch(() => {});
    },

    storage: async () => models().storage(),
    persist: async () => models().persist(),
    listModels: async () => models().listModels(),
    addEmbedded: async (onProgress) => models().addEmbedded(onProgress),
    addLocal: async (name, files, onProgress) => models().addLocal(name, files, onProgress),
    resolveHub: async (text) => models().resolveHub(text),
    download: async (model, onProgress) => models().download(model, onProgress),
    cancelDownload: async (repo) => models().cancelDownload(repo),
    deleteModel: async (id) => models().deleteModel(id),

    resolveHubData: async (text, split) => places().downloads.resolveHubData(text, split),
    downloadData: async (data, onProgress) => places().downloads.downloadData(data, onProgress),
    cancelDataDownload: async (id) => places().downloads.cancelDataDownload(id),
    listDataDownloads: async () => places().downloads.listDataDownloads(),
    deleteDataDownload: async (id) => places().downloads.deleteDataDownload(id),

    readXtuner,
    findReadyConfigs,
    readReadyConfig,

    listData,
    importFile,
    async cancelImport() {
      cancelImports();
    },
    importText,
    importSample: async (name) => importSample(name, places().pageUrl),
    importRows,
    importIdentity,
    mapColumns: mapData,
    renameData,
    deleteData,
    rows: tableRows,
    issues: readIssues,
    dataFile,
    example: exampleOf,
    funnel: funnelOf,
    preview: previewData,
  });
}
