// The data sets in the browser's storage, those chosen for the next run, and the one that is looked into.
import { createMemo, createSignal, onCleanup } from "solid-js";
import { createStore, reconcile } from "solid-js/store";
import { messageOf } from "../base/error.ts";
import type {
  ColumnMapping,
  DataExample,
  DataIssue,
  FunnelReport,
  LocalFile,
  Message,
  SampleName,
  StoredData,
  TableRow,
  TrainConfig,
} from "../services/api.ts";
import { listenForChanges, oneAtATime } from "./changes.ts";
import { createDataFinder, type DataFinder } from "./data-finder.ts";
import type { SliceContext } from "./session.ts";
import { readSetting, writeSetting } from "./settings.ts";
import { callback } from "./workers.ts";

/** A file on its way in. */
export interface Adding {
  readonly name: string;
  readonly bytes: number;
  /** 0 where it is not known. */
  readonly totalBytes: number;
}

export interface DataSlice {
  /** The newest first. */
  readonly list: () => readonly StoredData[];
  /** Whether the list was read once. */
  readonly isListed: () => boolean;
  /** Those chosen, all ready to train on. Kept over visits. */
  readonly selected: () => readonly StoredData[];
  select(ids: readonly string[]): void;
  /** The one whose rows are looked at. */
  readonly shown: () => StoredData | undefined;
  show(id: string): void;
  /** A sample, imported if it is not there. Selects nothing. */
  ensureSample(name: SampleName): Promise<StoredData>;
  refresh(): Promise<void>;

  /** Each of these puts data in, chooses what is ready of it, and shows it. A refusal is in `addProblem`. */
  addFiles(files: readonly LocalFile[]): Promise<void>;
  addText(name: string, text: string): Promise<void>;
  addRows(name: string, rows: readonly (readonly Message[])[]): Promise<void>;
  addIdentity(owner: string, assistant: string, language: "en" | "zh"): Promise<void>;
  addSample(name: SampleName): Promise<void>;
  cancelAdding(): Promise<void>;
  /** The ways in from the hub. */
  readonly hub: DataFinder;
  readonly adding: () => Adding | undefined;
  readonly addProblem: () => string | undefined;

  /** Chooses the set too. */
  mapColumns(id: string, mapping: ColumnMapping): Promise<void>;
  rename(id: string, name: string): Promise<void>;
  remove(id: string): Promise<void>;

  rows(id: string, start: number, count: number): Promise<readonly TableRow[]>;
  issues(id: string, start: number, count: number): Promise<readonly DataIssue[]>;
  file(id: string): Promise<File>;
  example(id: string, modelId: string, config: TrainConfig, row: number): Promise<DataExample>;
  funnel(ids: readonly string[], modelId: string, config: TrainConfig): Promise<FunnelReport>;
}

export function createDataSlice(context: SliceContext): DataSlice {
  const { workers, app } = context;
  const [store, setStore] = createStore<{ list: readonly StoredData[] }>({ list: [] });
  const [isListed, setIsListed] = createSignal(false);
  const [chosen, setChosen] = createSignal(readSetting("data", readIds));
  const [shownId, setShownId] = createSignal<string>();

  const refresh = oneAtATime(async () => {
    const list = await workers.data.listData();
    setStore("list", reconcile([...list], { key: "id" }));
    setIsListed(true);
    await hub.refreshBegun();
  });
  onCleanup(
    listenForChanges((message) => {
      if (message.type === "changed" && message.what === "data") void app.attempt(refresh);
    }),
  );
  const select = (ids: readonly string[]) => {
    setChosen(ids);
    writeSetting("data", ids);
  };
  const selected = createMemo(() =>
    store.list.filter(({ id, format }) => format !== null && chosen().includes(id)),
  );
  const shown = createMemo(
    () => store.list.find(({ id }) => id === shownId()) ?? selected()[0] ?? store.list[0],
  );
  const take = async (added: readonly StoredData[]) => {
    await refresh();
    const ready = added.filter(({ format }) => format !== null).map(({ id }) => id);
    if (ready.length > 0) select(ready);
    const [first] = added;
    if (first) setShownId(first.id);
  };
  const hub = createDataFinder(context, take);
  return {
    hub,
    list: () => store.list,
    isListed,
    selected,
    select,
    shown,
    show: setShownId,
    async ensureSample(name) {
      const sample = await workers.data.importSample(name);
      await refresh();
      return sample;
    },
    refresh,
    ...createAdding(context, take),
    async mapColumns(id, mapping) {
      const mapped = await app.attempt(() => workers.data.mapColumns(id, mapping));
      if (mapped) await take([mapped]);
    },
    async rename(id, name) {
      await app.attempt(() => workers.data.renameData(id, name));
      await refresh();
    },
    async remove(id) {
      await app.attempt(() => workers.data.deleteData(id));
      await refresh();
    },
    rows: (id, start, count) => workers.data.rows(id, start, count),
    issues: (id, start, count) => workers.data.issues(id, start, count),
    file: (id) => workers.data.dataFile(id),
    example: (id, modelId, config, row) => workers.data.example([id], modelId, config, row),
    funnel: (ids, modelId, config) => workers.data.funnel(ids, modelId, config),
  };
}

type Adder = Pick<
  DataSlice,
  | "addFiles"
  | "addText"
  | "addRows"
  | "addIdentity"
  | "addSample"
  | "cancelAdding"
  | "adding"
  | "addProblem"
>;

/** The ways in. One at a time: the next waits for the one before. */
function createAdding(
  { workers }: SliceContext,
  take: (added: readonly StoredData[]) => Promise<void>,
): Adder {
  const [adding, setAdding] = createSignal<Adding>();
  const [addProblem, setAddProblem] = createSignal<string>();
  let last: Promise<void> = Promise.resolve();

  const run = async (name: string, action: () => Promise<StoredData>) => {
    setAddProblem(undefined);
    setAdding({ name, bytes: 0, totalBytes: 0 });
    try {
      return await action();
    } catch (error) {
      // Who cancels knows.
      const isCanceled = error instanceof Error && error.name === "AbortedError";
      if (!isCanceled) setAddProblem(messageOf(error));
      return undefined;
    } finally {
      setAdding(undefined);
    }
  };
  const add = (name: string, action: () => Promise<StoredData>) => {
    last = last.then(async () => {
      const added = await run(name, action);
      if (added) await take([added]);
    });
    return last;
  };
  const tell = (name: string) =>
    callback((bytes: number, totalBytes: number) => {
      if (adding()?.name === name) setAdding({ name, bytes, totalBytes });
    });
  return {
    adding,
    addProblem,
    async addFiles(files) {
      const all: StoredData[] = [];
      for (const { path, file } of files) {
        const added = await run(path, () => workers.data.importFile(file, tell(path)));
        if (added) all.push(added);
        else break;
      }
      if (all.length > 0) await take(all);
    },
    addText: (name, text) => add(name, () => workers.data.importText(name, text)),
    addRows: (name, rows) => add(name, () => workers.data.importRows(name, rows)),
    addIdentity: (owner, assistant, language) =>
      add(assistant, () => workers.data.importIdentity(owner, assistant, language)),
    addSample: (name) => add(name, () => workers.data.importSample(name)),
    cancelAdding: () => workers.data.cancelImport(),
  };
}

function readIds(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((id): id is string => typeof id === "string") : [];
}
