// What is to be exported, and what was.
import { createEffect, createSignal, on, untrack } from "solid-js";
import { createStore, unwrap } from "solid-js/store";
import { messageOf } from "../base/error.ts";
import type { ExportResult, MergeOptions, RunRecord, StoredModel } from "../services/api.ts";
import { formatLossCsv } from "../base/loss-csv.ts";
import { pickFolder } from "./pick-folder.ts";
import { saveFile } from "./save-file.ts";
import type { SliceContext } from "./session.ts";
import { slugOf } from "./snippets.ts";
import { callback } from "./workers.ts";

export type ExportKind = "adapter" | "merged";

export type ExportState =
  | { readonly step: "idle" }
  | { readonly step: "writing"; readonly bytes: number; readonly totalBytes: number }
  | {
      readonly step: "done";
      readonly result: ExportResult;
      /** Of the picked folder that it went to; otherwise it is in the browser's storage. */
      readonly folder: string | undefined;
    }
  | { readonly step: "failed"; readonly problem: string };

export interface ExportSlice {
  /** Chooses the run to export, by default its newest checkpoint, and goes to the screen. */
  choose(runId: string, checkpoint?: string): void;
  /** Runs that have something to export, the newest first. */
  readonly runs: () => readonly RunRecord[];
  readonly run: () => RunRecord | undefined;
  readonly checkpoint: () => string | undefined;
  readonly states: Readonly<Record<ExportKind, ExportState>>;
  readonly merge: MergeOptions;
  setMerge(changes: Partial<MergeOptions>): void;
  /** Bytes that each will take, roughly; undefined while that is not known. */
  readonly sizes: () => Readonly<Partial<Record<ExportKind, number>>>;
  /** Writes and checks the adapter, and hands it over as one ZIP. */
  saveAdapter(): Promise<void>;
  /** Writes and checks the merged weights into the browser's storage. */
  writeMerged(): Promise<void>;
  /** Asks for a folder and writes them there. */
  writeMergedToFolder(): Promise<void>;
  saveZip(kind: ExportKind): Promise<void>;
  saveOne(kind: ExportKind, name: string): Promise<void>;
  /** Frees the storage that it takes. */
  discard(kind: ExportKind): Promise<void>;
  saveConfig(): Promise<void>;
  saveHistory(): Promise<void>;
}

const IDLE: ExportState = { step: "idle" };

// The hub and most file systems take files of this size.
const SHARD_BYTES = 2e9;

export function createExportSlice(context: SliceContext): ExportSlice {
  const { app } = context;
  const chosen = createChosenRun(context);
  const { run, checkpoint } = chosen;
  const [states, setStates] = createStore<Record<ExportKind, ExportState>>({
    adapter: IDLE,
    merged: IDLE,
  });
  const [merge, setMerge] = createStore<MergeOptions>({
    dtype: "own",
    base: "original",
    maxShardBytes: SHARD_BYTES,
  });
  // The whole object: by its path alone a store would write into the one that is there, which both may share.
  const setState = (kind: ExportKind, state: ExportState) => setStates({ [kind]: state });
  const discard = async (kind: ExportKind) => {
    const state = states[kind];
    setState(kind, IDLE);
    if (state.step !== "done" || state.folder !== undefined) return;
    await app.attempt(() => context.workers.engine.deleteExport(state.result.id));
  };
  // What was written of another checkpoint is of no use any more.
  createEffect(
    on(
      () => `${run()?.id} ${checkpoint()}`,
      () => {
        void discard("adapter");
        void discard("merged");
      },
      { defer: true },
    ),
  );
  return {
    ...chosen,
    ...createSaving(context, {
      chosen,
      states,
      setState,
      merge,
    }),
    states,
    merge,
    setMerge: (changes) => setMerge(changes),
    sizes: createSizes(context, chosen, () => merge.dtype),
    discard,
  };
}

type ChosenRun = ReturnType<typeof createChosenRun>;

function createChosenRun({ app, session }: SliceContext) {
  const [runId, setRunId] = createSignal<string>();
  const [name, setName] = createSignal<string>();
  const runs = () =>
    session()
      .runs.list()
      .filter(({ checkpoint }) => checkpoint !== null);
  const run = () => runs().find(({ id }) => id === runId()) ?? runs()[0];
  return {
    runs,
    run,
    checkpoint: (): string | undefined => {
      const chosen = run();
      const isThere = chosen?.checkpoints.includes(name() ?? "") === true;
      return isThere ? name() : (chosen?.checkpoint ?? undefined);
    },
    choose(id: string, checkpoint?: string) {
      setRunId(id);
      setName(checkpoint);
      app.go("export");
    },
  };
}

interface SavingParts {
  readonly chosen: ChosenRun;
  readonly states: Readonly<Record<ExportKind, ExportState>>;
  readonly setState: (kind: ExportKind, state: ExportState) => void;
  readonly merge: MergeOptions;
}

function createSaving({ workers, app }: SliceContext, parts: SavingParts) {
  const { chosen, states, setState, merge } = parts;
  /** Does it for the run and checkpoint of the moment; a failure is the export's state. */
  const write = async (
    kind: ExportKind,
    folder: string | undefined,
    action: (runId: string, checkpoint: string) => Promise<ExportResult>,
  ): Promise<ExportResult | undefined> => {
    const [run, checkpoint] = [chosen.run(), chosen.checkpoint()];
    if (!run || checkpoint === undefined) return undefined;
    setState(kind, { step: "writing", bytes: 0, totalBytes: 0 });
    try {
      const result = await action(run.id, checkpoint);
      if (chosen.run()?.id !== run.id || chosen.checkpoint() !== checkpoint) {
        // Another one was chosen meanwhile.
        if (folder === undefined) await workers.engine.deleteExport(result.id);
        return undefined;
      }
      setState(kind, { step: "done", result, folder });
      return result;
    } catch (error) {
      setState(kind, { step: "failed", problem: messageOf(error) });
      return undefined;
    }
  };
  const fileName = (what: string) => `${slugOf(chosen.run()?.name ?? "")}-${what}`;
  const saveZip = async (kind: ExportKind) => {
    const state = states[kind];
    if (state.step !== "done") return;
    const name = `${fileName(kind)}.zip`;
    await app.attempt(async () =>
      saveFile(await workers.engine.zipExport(state.result.id, name), name),
    );
  };
  const writeMerged = (target: FileSystemDirectoryHandle | undefined) =>
    write("merged", target?.name, (runId, checkpoint) =>
      workers.engine.exportMerged(
        runId,
        checkpoint,
        { ...unwrap(merge) },
        target,
        callback((bytes, totalBytes) => setState("merged", { step: "writing", bytes, totalBytes })),
      ),
    );
  return {
    saveZip,
    async saveAdapter() {
      const written = await write("adapter", undefined, (runId, checkpoint) =>
        workers.engine.exportAdapter(runId, checkpoint),
      );
      if (written) await saveZip("adapter");
    },
    async writeMerged() {
      await writeMerged(undefined);
    },
    async writeMergedToFolder() {
      const folder = await app.attempt(pickFolder);
      if (folder) await writeMerged(folder);
    },
    async saveOne(kind: ExportKind, name: string) {
      const state = states[kind];
      if (state.step !== "done") return;
      await app.attempt(async () =>
        saveFile(await workers.engine.exportedFile(state.result.id, name), name),
      );
    },
    async saveConfig() {
      const run = chosen.run();
      if (!run) return;
      await app.attempt(async () => {
        const text = await workers.engine.readRunFile(run.id, "config.yaml");
        saveFile(new Blob([text], { type: "application/yaml" }), `${fileName("config")}.yaml`);
      });
    },
    async saveHistory() {
      const run = chosen.run();
      if (!run) return;
      await app.attempt(async () => {
        const text = formatLossCsv(await workers.engine.readHistory(run.id));
        saveFile(new Blob([text], { type: "text/csv" }), `${fileName("history")}.csv`);
      });
    },
  };
}

const BYTES_PER_NUMBER = { float32: 4, float16: 2, bfloat16: 2 } as const;

/** The adapter's numbers are 32 bits each; the merged weights are the base's, in the type chosen. */
function createSizes(
  { workers, app, session }: SliceContext,
  { run }: ChosenRun,
  dtype: () => MergeOptions["dtype"],
) {
  const [counted, setCounted] = createSignal<{ readonly runId: string; readonly bytes: number }>();
  const count = async ({ id, modelId, config }: RunRecord) => {
    try {
      const { trainableParameters } = await workers.engine.estimate(
        modelId,
        unwrap(config),
        Number.MAX_SAFE_INTEGER,
        false,
      );
      setCounted({ runId: id, bytes: 4 * trainableParameters });
    } catch {
      // A size that is not told before is told after.
    }
  };
  createEffect(() => {
    const known = app.route().name === "export" ? run() : undefined;
    if (known && untrack(counted)?.runId !== known.id) void count(known);
  });
  return () => {
    const known = counted();
    const adapter = known?.runId === run()?.id ? known?.bytes : undefined;
    const merged = mergedBytes(
      session()
        .models.list()
        .find(({ id }) => id === run()?.modelId),
      dtype(),
    );
    return {
      ...(adapter !== undefined && { adapter }),
      ...(merged !== undefined && { merged }),
    };
  };
}

function mergedBytes(
  base: StoredModel | undefined,
  dtype: MergeOptions["dtype"],
): number | undefined {
  const { parameters } = base?.facts ?? {};
  return dtype === "own" || parameters === undefined
    ? base?.bytes
    : BYTES_PER_NUMBER[dtype] * parameters;
}
