// All runs of this browser, their histories as they are asked for, and those chosen to be compared.
import { createSignal, onCleanup } from "solid-js";
import { createStore, reconcile, unwrap } from "solid-js/store";
import type { RunHistory, RunRecord } from "../services/api.ts";
import type { Broadcast } from "../services/broadcast.ts";
import { listenForChanges, oneAtATime } from "./changes.ts";
import { isUnderWay, resultOf, type RunResult } from "./run-library.ts";
import type { SliceContext } from "./session.ts";

/** As many as have a color of their own. */
export const MOST_COMPARED = 4;

export interface RunsSlice {
  /** The newest first. */
  readonly list: () => readonly RunRecord[];
  /** Whether the list was read once. */
  readonly isListed: () => boolean;
  refresh(): Promise<void>;
  rename(id: string, name: string): Promise<void>;
  setNotes(id: string, notes: string): Promise<void>;
  /** Refused by the worker for the run under way. */
  remove(id: string): Promise<void>;
  /** All steps of a run, read once for each state it is in. */
  history(run: RunRecord): Promise<RunHistory>;
  /** The numbers that a run came to; undefined until they were read. */
  resultOf(id: string): RunResult | undefined;
  /** Has them read, unless they are known. */
  wantResult(run: RunRecord): void;
  /** Ids of the runs chosen to be compared, in the order chosen. */
  readonly compared: () => readonly string[];
  setCompared(id: string, isCompared: boolean): void;
  clearCompared(): void;
  /** A new recipe from that run's: fresh, or from its adapter at a checkpoint. Goes to the Recipe screen. */
  fork(run: RunRecord, checkpoint: string | undefined): void;
}

export function createRunsSlice(context: SliceContext): RunsSlice {
  const { workers, app } = context;
  const [store, setStore] = createStore<{ list: readonly RunRecord[] }>({ list: [] });
  const [isListed, setIsListed] = createSignal(false);
  const [compared, setCompared] = createSignal<readonly string[]>([]);

  const refresh = oneAtATime(async () => {
    const records = await workers.engine.listRuns();
    const list = records.toSorted((a, b) => b.createdAt.localeCompare(a.createdAt));
    setStore("list", reconcile(list, { key: "id" }));
    setCompared((ids) => ids.filter((id) => list.some((run) => run.id === id)));
    setIsListed(true);
  });
  const hear = (message: Broadcast) => {
    if (message.type === "changed") {
      if (message.what === "runs") void app.attempt(refresh);
      return;
    }
    const { id, status, step, steps } = message;
    setStore("list", (run) => run.id === id, { status, step, steps });
    // Its last numbers are in the record that the worker writes then.
    if (!isUnderWay(status)) void app.attempt(refresh);
  };
  onCleanup(listenForChanges(hear));

  const update = async (
    id: string,
    change: { readonly name?: string; readonly notes?: string },
  ) => {
    const record = await workers.engine.updateRun(id, change);
    setStore("list", (run) => run.id === id, record);
  };
  return {
    ...createHistories(context),
    list: () => store.list,
    isListed,
    refresh,
    rename: (id, name) => update(id, { name }),
    setNotes: (id, notes) => update(id, { notes }),
    async remove(id) {
      await workers.engine.deleteRun(id);
      await refresh();
    },
    compared,
    setCompared: (id, isCompared) =>
      setCompared((ids) => {
        const others = ids.filter((other) => other !== id);
        return isCompared && others.length < MOST_COMPARED ? [...others, id] : others;
      }),
    clearCompared: () => setCompared([]),
    fork: (run, checkpoint) => fork(context, run, checkpoint),
  };
}

function createHistories({ workers }: SliceContext) {
  const [results, setResults] = createStore<Record<string, RunResult>>({});
  /** By run: the state that was read. A few are kept whole, for they are large. */
  const histories = new Map<
    string,
    { readonly state: string; readonly read: Promise<RunHistory> }
  >();
  const wanted = new Map<string, string>();
  let queue = Promise.resolve();

  const history = (run: RunRecord) => {
    const state = stateOf(run);
    const kept = histories.get(run.id);
    if (kept?.state === state) return kept.read;
    const read = workers.engine.readHistory(run.id);
    histories.delete(run.id);
    histories.set(run.id, { state, read });
    read.catch(() => histories.delete(run.id)); // told to who asked; the next one tries again
    const [oldest] = histories.keys();
    if (oldest !== undefined && histories.size > 2 * MOST_COMPARED) histories.delete(oldest);
    return read;
  };
  return {
    history,
    resultOf: (id: string): RunResult | undefined => results[id],
    wantResult(run: RunRecord) {
      if (run.step === 0 || isUnderWay(run.status)) return;
      const state = stateOf(run);
      if (wanted.get(run.id) === state) return;
      wanted.set(run.id, state);
      // One after the other: a page of runs must not hold up what the person asks for next.
      queue = queue
        .then(() => history(run))
        .then(
          (read) => setResults(run.id, resultOf(read)),
          () => wanted.delete(run.id),
        )
        .then(() => {});
    },
  };
}

/** Steps and status: a history changes with nothing else. */
function stateOf({ status, step }: RunRecord): string {
  return `${status} ${step}`;
}

function fork(context: SliceContext, run: RunRecord, checkpoint: string | undefined): void {
  const { models, data, recipe } = context.session();
  const { app } = context;
  if (models.list().some(({ id }) => id === run.modelId)) models.select(run.modelId);
  else app.tell("info", app.text().library.runs.fork.modelIsGone(run.modelName));
  const kept = run.dataIds.filter((id) => data.list().some((set) => set.id === id));
  if (kept.length > 0) data.select(kept);
  if (kept.length < run.dataIds.length) {
    app.tell("info", app.text().library.runs.fork.dataIsGone(run.dataName));
  }
  // A copy: the list goes on with its own.
  recipe.load(structuredClone(unwrap(run.config)));
  recipe.setParent(checkpoint === undefined ? undefined : { runId: run.id, checkpoint });
  app.go("recipe");
}
