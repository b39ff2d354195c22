// The models and adapters in the browser's storage, the one chosen, and what is being looked up or fetched.
import { createMemo, createSignal, onCleanup } from "solid-js";
import { createStore, reconcile } from "solid-js/store";
import { messageOf } from "../base/error.ts";
import type { LocalFile, StoredModel } from "../services/api.ts";
import { listenForChanges, oneAtATime } from "./changes.ts";
import { isTrainable } from "./model-library.ts";
import { createEstimates, type Estimated } from "./model-estimates.ts";
import { createHubFinder, type HubFinder } from "./model-finder.ts";
import { createTransfers, type Transfer } from "./model-transfers.ts";
import type { SliceContext } from "./session.ts";
import { readSetting, writeSetting } from "./settings.ts";

export interface ModelSlice extends HubFinder {
  /** Models and adapters, the last used first. */
  readonly list: () => readonly StoredModel[];
  /** Whether the list was read once. */
  readonly isListed: () => boolean;
  /** The base model chosen for the next run; complete. Kept over visits. */
  readonly selected: () => StoredModel | undefined;
  select(id: string): void;
  /** The model that comes with the page, put into storage if it is not there. Selects nothing. */
  ensureEmbedded(): Promise<StoredModel>;
  refresh(): Promise<void>;
  /** Copies picked or dropped files; a model among them is chosen. A refusal is in `addProblem`. */
  addFiles(name: string, files: readonly LocalFile[]): Promise<void>;
  readonly addProblem: () => string | undefined;
  /** Refused by the worker while the model is read. */
  remove(id: string): Promise<void>;
  /** What is being copied or downloaded. */
  readonly transfers: () => readonly Transfer[];
  /** What a run of the recipe of the moment takes on that model; undefined until it is known. */
  estimateOf(modelId: string): Estimated | undefined;
  /** Has it worked out, unless it is known. */
  wantEstimate(modelId: string): void;
}

export function createModelSlice(context: SliceContext): ModelSlice {
  const { workers, app } = context;
  const [store, setStore] = createStore<{ list: readonly StoredModel[] }>({ list: [] });
  const [isListed, setIsListed] = createSignal(false);
  const [chosenId, setChosenId] = createSignal(
    readSetting("model", (value) => (typeof value === "string" ? value : undefined)),
  );
  const [addProblem, setAddProblem] = createSignal<string>();

  const refresh = oneAtATime(async () => {
    const list = await workers.data.listModels();
    setStore("list", reconcile([...list], { key: "id" }));
    setIsListed(true);
    await context.session().check.refreshStorage();
  });
  onCleanup(
    listenForChanges((message) => {
      if (message.type === "changed" && message.what === "models") void app.attempt(refresh);
    }),
  );

  const select = (id: string) => {
    setChosenId(id);
    writeSetting("model", id);
  };
  const list = () => store.list;
  const selected = createMemo(() =>
    store.list.find((model) => model.id === chosenId() && isTrainable(model)),
  );
  const transfers = createTransfers();
  const ensureEmbedded = oncePerTime(async () => {
    // Asked for though it may be there: a newer page may come with a newer one.
    const added = await transfers.follow({ key: "embedded", kind: "embedded", name: "" }, (tell) =>
      workers.data.addEmbedded(tell),
    );
    await refresh();
    return added;
  });

  return {
    ...createHubFinder(context, transfers, { selected, select, refresh }),
    ...createEstimates(context),
    list,
    isListed,
    selected,
    select,
    ensureEmbedded,
    refresh,
    async addFiles(name, files) {
      setAddProblem(undefined);
      try {
        const added = await transfers.follow({ key: `file:${name}`, kind: "copy", name }, (tell) =>
          workers.data.addLocal(name, files, tell),
        );
        await refresh();
        if (isTrainable(added)) select(added.id);
      } catch (error) {
        setAddProblem(messageOf(error));
      }
    },
    addProblem,
    async remove(id) {
      await workers.data.deleteModel(id);
      await refresh();
    },
    transfers: transfers.list,
  };
}

/** Whoever asks while it is under way gets the same result. */
function oncePerTime<T>(action: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= action().finally(() => {
      running = undefined;
    });
    return running;
  };
}
